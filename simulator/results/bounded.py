"""Count durations in the buckets of a Prometheus histogram, as a service gives them, and read percentiles off. Pure.

A percentile is read by going straight through its bucket, so it is as exact as the bucket is narrow, and no more. What
lies beyond the last bound is read as the last bound: at least so much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise


class Bounded:
    """Durations in ms by upper bound."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self.count = 0

    def add(self, cumulative: Mapping[float, float]) -> None:
        """Count the growth of a histogram: upper bound in ms (the last is infinite) -> how many did not exceed it."""
        below = 0
        for bound in sorted(cumulative):
            here = round(cumulative[bound]) - below
            self._counts[bound] = self._counts.get(bound, 0) + here
            below += here
        self.count += below

    def merge(self, other: Bounded) -> None:
        """Count all that `other` has counted, too."""
        for bound, count in other._counts.items():
            self._counts[bound] = self._counts.get(bound, 0) + count
        self.count += other.count

    def percentile(self, percent: float) -> float | None:
        """The duration in ms that `percent` of all do not exceed, as far as the buckets tell. None: there is none."""
        if self.count <= 0:
            return None
        wanted, seen = self.count * percent / 100.0, 0
        for lower, upper in pairwise([0.0, *sorted(self._counts)]):
            here = self._counts[upper]
            if here and seen + here >= wanted:
                return lower if math.isinf(upper) else lower + (upper - lower) * max(0.0, wanted - seen) / here
            seen += here
        return None

    @property
    def max_ms(self) -> float | None:
        """The bound that none exceeded; the last finite one when some did. None when there is none."""
        filled = [bound for bound, count in self._counts.items() if count]
        finite = [bound for bound in self._counts if math.isfinite(bound)]
        return min(max(filled), max(finite, default=0.0)) if filled else None
