"""Count latencies in buckets one percent wide, so that a percentile of any run costs a few kilobytes. Pure.

A percentile is never below the true one and at most 1 % above it, from 0.01 to any size. What is counted is the
caller's; throughout the simulator a latency counts from the moment a ping was *due*, not from when a connection was
free to take it, so that a stall of the system counts against every ping that fell due meanwhile (coordinated omission):
also against those that no rider was ever shown, because a newer one took their place (simulator/posting/departures.py).

Metres are counted the same way: a histogram does not care for the unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Each bucket is this much wider than the one below: a percentile is at most 1 % above the true one.
_GROWTH = 1.01
_PER_LOG = 1 / math.log(_GROWTH)
#: Everything below a hundredth of a millisecond (or of a metre) is one bucket.
_SMALLEST_MS = 0.01
_LOG_SMALLEST = math.log(_SMALLEST_MS)


class Latencies:
    """A histogram of durations in milliseconds, or of distances in metres."""

    __slots__ = ("_buckets", "count", "max_ms")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.max_ms = 0.0

    def add(self, duration_ms: float, times: int = 1) -> None:
        bucket = 0
        if duration_ms > _SMALLEST_MS:
            bucket = math.ceil((math.log(duration_ms) - _LOG_SMALLEST) * _PER_LOG)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += times
        if duration_ms > self.max_ms:
            self.max_ms = duration_ms

    def add_all(self, durations_ms: Sequence[float]) -> None:
        """Count many at once: a tenth of the cost of one after the other."""
        if not durations_ms:
            return
        durations = np.asarray(durations_ms, dtype=np.float64)
        logs = np.log(np.maximum(durations, _SMALLEST_MS)) - _LOG_SMALLEST
        buckets, times = np.unique(np.ceil(logs * _PER_LOG).astype(np.int64), return_counts=True)
        for bucket, many in zip(buckets.tolist(), times.tolist(), strict=True):
            self._buckets[bucket] = self._buckets.get(bucket, 0) + many
        self.count += len(durations)
        self.max_ms = max(self.max_ms, float(durations.max()))

    def merge(self, other: Latencies) -> None:
        """Count all that `other` has counted, too. As exact as if each had been added here."""
        for bucket, times in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += other.count
        self.max_ms = max(self.max_ms, other.max_ms)

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent` of all do not exceed, in ms; None when nothing was counted."""
        wanted, seen = self.count * percent / 100.0, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self.max_ms, _SMALLEST_MS * _GROWTH**bucket)
        return None

    def summary(self) -> dict[str, float | int | None]:
        """`count`, `p50`, `p90`, `p99` and `max`, in ms."""
        return {
            "count": self.count,
            **{f"p{percent}": _rounded(self.percentile(percent)) for percent in (50, 90, 99)},
            "max": _rounded(self.max_ms if self.count else None),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
