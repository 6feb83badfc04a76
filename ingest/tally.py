"""Count what happened to pings, exactly, and show it to Prometheus.

Plain integers that only the event loop touches: a labelled prometheus_client counter costs ~1 µs and a lock for each
ping. Once no request is in flight: received == accepted + rejected + unacknowledged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ingest.admission import REASONS

#: Seconds. Linger is 5 ms and an embedded broker acknowledges in 2; the last ones are timeouts.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Durations:
    """A histogram of seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> Sequence[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        rows: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], self.counts, strict=True):
            so_far += count
            rows.append((bound, so_far))
        return rows


class Tally(Collector):
    """The counters of one ingest process. `unacked` tells how many pings wait for Kafka now."""

    def __init__(self, unacked: Callable[[], int] = lambda: 0) -> None:
        self.received = 0
        self.accepted = 0
        self.rejected = dict.fromkeys(REASONS, 0)
        #: Pings of requests that were answered 503 (or 500) after their pings had been counted as received. Their
        #: senders were told no verdict and will send them again; some may be in Kafka already.
        self.unacknowledged = 0
        self.requests: dict[int, int] = {}
        #: Answers of the trip API, by operation and status.
        self.trip_requests: dict[tuple[str, int], int] = {}
        #: Rejections that nobody will be told of: there were too many, or Redis was away.
        self.rejections_lost = 0
        self.answered = Durations()
        self.kafka_ack = Durations()
        self.unacked = unacked

    def lose_rejections(self, count: int) -> None:
        self.rejections_lost += count

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("ride_pings_received", "Pings decoded from request bodies.", value=self.received)
        verdicts = CounterMetricFamily("ride_pings", "Pings by what became of them.", labels=["verdict", "reason"])
        verdicts.add_metric(["accepted", ""], self.accepted)
        for reason, count in self.rejected.items():
            verdicts.add_metric(["rejected", reason], count)
        verdicts.add_metric(["unacknowledged", ""], self.unacknowledged)
        yield verdicts
        requests = CounterMetricFamily("ride_ingest_requests", "Answers of POST /v1/pings.", labels=["status"])
        for status, count in sorted(self.requests.items()):
            requests.add_metric([str(status)], count)
        yield requests
        trips = CounterMetricFamily("ride_trip_requests", "Answers of the trip API.", labels=["operation", "status"])
        for (operation, status), count in sorted(self.trip_requests.items()):
            trips.add_metric([operation, str(status)], count)
        yield trips
        yield CounterMetricFamily(
            "ride_rejections_lost", "Rejected pings that could not be remembered.", value=self.rejections_lost
        )
        stages = HistogramMetricFamily(
            "ride_stage_duration_seconds", "Time from a request's first byte to its verdicts.", labels=["stage"]
        )
        stages.add_metric(["ingest"], self.answered.buckets(), self.answered.total_s)
        yield stages
        yield HistogramMetricFamily(
            "ride_kafka_ack_duration_seconds",
            "Time from handing a frame to the Kafka client to its acknowledgement.",
            self.kafka_ack.buckets(),
            self.kafka_ack.total_s,
        )
        yield GaugeMetricFamily("ride_pings_unacked", "Pings that wait for Kafka now.", value=self.unacked())
