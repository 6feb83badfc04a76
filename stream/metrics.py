"""What a worker tells Prometheus: verdicts from the partition records, ages, lag, and the work it did."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

#: Seconds from ingest to index: a quiet embedded pipeline needs ~20 ms, a worker that catches up minutes.
AGE_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
#: Seconds of one write: 1 ms of Redis for some hundred drivers, seconds while it is away.
WRITE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 10.0)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What can only be said at the moment of a scrape."""

    #: Pings by verdict (and rejected records) over the worker's partitions, since their records began.
    totals: dict[str, int] = field(default_factory=dict)
    #: Drivers in the index by freshness, as far as this worker's partitions go.
    drivers: dict[str, int] = field(default_factory=dict)
    #: Kafka records not applied yet, by partition.
    lag: dict[int, int] = field(default_factory=dict)
    #: Trips of this worker that have not ended.
    trips: int = 0
    #: Records that Kafka had deleted before they were read.
    deleted_records: int = 0


class StreamMetrics(Collector):
    """Counters are plain attributes, because a Prometheus one costs a microsecond and a frame is few of those."""

    def __init__(self, topic: str, registry: CollectorRegistry) -> None:
        self._topic = topic
        self.gauges: Callable[[], Gauges] = Gauges
        self.frames = self.frames_repeated = self.rewrites = self.evicted = 0
        self.trip_events: Counter[str] = Counter()
        self.zone_events: Counter[str] = Counter()
        #: (received_at_ms of its first ping, pings) of each frame that is folded and not yet written.
        self.unwritten: list[tuple[int, int]] = []
        self._age_counts = [0] * (len(AGE_BUCKETS_S) + 1)
        self._age_sum_s = 0.0
        self.redis_write = Histogram(
            "ride_redis_write_seconds", "One write of regions and records.", buckets=WRITE_BUCKETS_S, registry=registry
        )
        registry.register(self)

    def take_unwritten(self) -> list[tuple[int, int]]:
        """The frames that the next write covers."""
        taken, self.unwritten = self.unwritten, []
        return taken

    def indexed(self, frames: Iterable[tuple[int, int]], wall_ms: int) -> None:
        """These frames are in the index at this wall time."""
        for received_ms, pings in frames:
            age_s = max(0, wall_ms - received_ms) / 1000
            self._age_counts[bisect_left(AGE_BUCKETS_S, age_s)] += pings
            self._age_sum_s += age_s * pings

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        gauges = self.gauges()
        folded = CounterMetricFamily(
            "ride_pings_folded", "Pings folded, by verdict; survives restarts.", labels=["verdict"]
        )
        rejected = CounterMetricFamily("ride_records_rejected", "Kafka records that held no frame; survives restarts.")
        for name, count in gauges.totals.items():
            if name == "rejected_records":
                rejected.add_metric([], count)
            else:
                folded.add_metric([name], count)
        yield folded
        yield rejected
        drivers = GaugeMetricFamily("ride_drivers", "Drivers of this worker, by freshness.", labels=["state"])
        for state, count in gauges.drivers.items():
            drivers.add_metric([state], count)
        yield drivers
        lag = GaugeMetricFamily("kafka_consumer_lag_records", "Records not applied yet.", labels=["topic", "partition"])
        for partition, records in gauges.lag.items():
            lag.add_metric([self._topic, str(partition)], records)
        yield lag
        for name, text, count in (
            ("ride_frames", "Frames folded.", self.frames),
            ("ride_frames_repeated", "Frames skipped, having been applied before.", self.frames_repeated),
            ("ride_records_deleted", "Records that Kafka deleted before they were read.", gauges.deleted_records),
            ("ride_index_rewrites", "Partitions written anew because Redis had lost them.", self.rewrites),
            ("ride_drivers_evicted", "Drivers removed from the index because they were gone.", self.evicted),
        ):
            yield CounterMetricFamily(name, text, value=count)
        yield GaugeMetricFamily("ride_trips", "Trips of this worker that have not ended.", value=gauges.trips)
        for name, text, counts in (
            ("ride_trip_events", "Trip events published to Kafka, by type.", self.trip_events),
            ("geofence_events", "Zones entered, left and stayed in, by type.", self.zone_events),
        ):
            events = CounterMetricFamily(name, text, labels=["type"])
            for type_, count in counts.items():
                events.add_metric([type_], count)
            yield events
        cumulative, buckets = 0, []
        for bound, count in zip((*map(str, AGE_BUCKETS_S), "+Inf"), self._age_counts, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        age = HistogramMetricFamily(
            "ride_ping_age_seconds", "Wall time since ingest received a ping.", labels=["stage"]
        )
        age.add_metric(["indexed"], buckets, self._age_sum_s)
        yield age
