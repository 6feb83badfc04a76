"""Turn two readings of a service's metrics into what happened between them: CPU, memory, queues, ages of pings. Pure.

Counters are of one process and begin at 0 with it, so one that fell was restarted and its value is what happened since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from simulator.results.recorder import INDEXED, PUSHED, Recorder

#: Inside ingest only: from a request's first byte to its verdicts. What a phone waits is the hop `ingest`.
INGEST_INSIDE = "ingest_inside"
#: Told as they stand, under this name and the service's; several of one name (partitions, states) are added up.
_GAUGES = {
    "process_resident_memory_bytes": "memory_mib",
    "kafka_consumer_lag_records": "lag_records",
    "ride_pings_unacked": "unacked_pings",
    "ride_trips": "trips",
    "ride_drivers": "drivers",
    "ws_connections": "connections",
    "ws_subscriptions": "subscriptions",
    "ws_trip_subscriptions": "trip_subscriptions",
    "push_mirrored_drivers": "mirrored_drivers",
}
_IN_MIB = 1 / (1024 * 1024)
_CPU = "process_cpu_seconds_total"
#: Metric and stage -> the name of the hop.
_HOPS = {
    ("ride_ping_age_seconds_bucket", "indexed"): INDEXED,
    ("ride_ping_age_seconds_bucket", "pushed"): PUSHED,
    ("ride_stage_duration_seconds_bucket", "ingest"): INGEST_INSIDE,
}
_BUILD = "build_info"
#: A line of a service's metrics matters when it begins so.
WANTED = (*_GAUGES, _CPU, "ride_ping_age_seconds_bucket", "ride_stage_duration_seconds_bucket", _BUILD)


class Sample(NamedTuple):
    """One line of what a service tells Prometheus."""

    name: str
    labels: Mapping[str, str]
    value: float


class Readings:
    """The readings of one service, one after the other."""

    def __init__(self, service: str, recorder: Recorder) -> None:
        self._service, self._recorder = service, recorder
        self._cpu_s: float | None = None
        self._read_at_s = 0.0
        self._buckets: dict[str, dict[float, float]] = {}

    def take(self, samples: Iterable[Sample], at_ms: int, now_s: float) -> None:
        """Record what happened since the last reading. `now_s` is monotonic."""
        levels: dict[str, float] = defaultdict(float)
        buckets: dict[str, dict[float, float]] = defaultdict(dict)
        cpu_s: float | None = None
        for name, labels, value in samples:
            if name in _GAUGES:
                levels[_GAUGES[name]] += value * _IN_MIB if name == "process_resident_memory_bytes" else value
            elif name == _CPU:
                cpu_s = value
            elif name == _BUILD:
                self._recorder.builds[self._service] = labels.get("version", "")
            elif (hop := _HOPS.get((name, labels.get("stage", "")))) is not None:
                bound_ms = float(labels["le"]) * 1_000
                buckets[hop][bound_ms] = buckets[hop].get(bound_ms, 0.0) + value
        self._cpu(cpu_s, at_ms, now_s)
        for level, value in levels.items():
            self._recorder.gauge(f"{level}/{self._service}", value, at_ms)
        for hop, cumulative in buckets.items():
            self._hop(hop, cumulative, at_ms)

    def _cpu(self, cpu_s: float | None, at_ms: int, now_s: float) -> None:
        before_s, since_s = self._cpu_s, now_s - self._read_at_s
        if cpu_s is not None and before_s is not None and since_s > 0:
            used_s = cpu_s - before_s if cpu_s >= before_s else cpu_s
            self._recorder.gauge(f"cpu_cores/{self._service}", used_s / since_s, at_ms)
        self._cpu_s, self._read_at_s = cpu_s, now_s

    def _hop(self, hop: str, cumulative: dict[float, float], at_ms: int) -> None:
        before = self._buckets.get(hop)
        self._buckets[hop] = cumulative
        if before is None:
            return
        if max(cumulative.values()) < max(before.values()):
            before = {}
        growth = {bound: count - before.get(bound, 0.0) for bound, count in cumulative.items()}
        if max(growth.values()) > 0:
            self._recorder.growth(hop, growth, at_ms)
