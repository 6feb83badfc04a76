"""Count latencies in buckets one percent wide, so that a percentile of any run costs a few kilobytes. Pure."""

from __future__ import annotations

import math

#: Each bucket is this much wider than the one below: a percentile is at most 1 % above the true one.
_GROWTH = 1.01
_LOG_GROWTH = math.log(_GROWTH)
#: Everything below a hundredth of a millisecond is one bucket.
_SMALLEST_MS = 0.01


class Latencies:
    """A histogram of durations in milliseconds."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.max_ms = 0.0

    def add(self, duration_ms: float, times: int = 1) -> None:
        bucket = max(0, math.ceil(math.log(max(duration_ms, _SMALLEST_MS) / _SMALLEST_MS) / _LOG_GROWTH))
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += times
        self.max_ms = max(self.max_ms, duration_ms)

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
