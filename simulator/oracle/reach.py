"""How near to a rider, and how far, each car may rightly be shown just now, and which cars must be on the screen. Pure.

Between the newest fix that is *settled* (accepted so long ago that everybody must know it) and the *newest* that was
sent, any fix may be the one that a rider is shown: news takes time. So a car has no one place but a reach:

```
        rider o                     a shown fix p lies on the way from s to n, and no car drives
             / \\                    farther than its speed allows:   |sp| + |pn| <= span
       |os| /   \\ |on|              By the triangle inequality, twice:
           /  p  \\                      (|os| + |on| - span) / 2  <=  |op|  <=  (|os| + |on| + span) / 2
  settled s .....  n newest                      near_m                                 far_m
```

A car that sent nothing newer has a span of 0 and one distance. A car whose phone flushes a minute of fixes has a span
of a mile, and is nobody's fault until it has settled. With a limit of k cars, a car must be shown when its `far_m` is
below the (k+1)th smallest `near_m` of all, its own among them: then at most k cars, itself included, can be so near.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.oracle.sphere import EARTH_RADIUS_M, Floats, apart_m, unit_vectors
from simulator.oracle.truth import Fixes

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: So many seats are held against all cars at once: for 2,000 cars that is 1 MB, which a processor's cache holds.
SEATS_AT_ONCE = 64


class Circles(NamedTuple):
    """What the seats asked for, one row for each."""

    vectors: Floats
    radius_m: Floats
    limit: Ints


class Reach(NamedTuple):
    """Pairs of a seat and a driver who may be within its radius, by number; and how near and far that car may be."""

    seat: Ints
    driver: Ints
    near_m: Floats
    far_m: Floats

    def only(self, which: Bools) -> Reach:
        """Some of the pairs."""
        return Reach(self.seat[which], self.driver[which], self.near_m[which], self.far_m[which])


class Fleet:
    """Where the cars may be shown at `now_ms`."""

    def __init__(self, settled: Fixes, newest: Fixes, max_speed_mps: float) -> None:
        self.settled, self.newest = settled, newest
        self.settled_vectors = unit_vectors(settled.lat, settled.lon)
        self.newest_vectors = unit_vectors(newest.lat, newest.lon)
        # A phone that was stuck, or whose clock was set, leaps farther than a car drives.
        driven_m = np.maximum(0, newest.fix_time_ms - settled.fix_time_ms) * (max_speed_mps / 1_000)
        self.span_m = np.fmax(driven_m, apart_m(self.settled_vectors, self.newest_vectors))

    def from_places(self, places: Floats, driver: Ints) -> tuple[Floats, Floats]:
        """(near_m, far_m) of each driver from the place in the same row."""
        to_settled_m = apart_m(places, self.settled_vectors[driver])
        both_m = to_settled_m + apart_m(places, self.newest_vectors[driver])
        span_m = self.span_m[driver]
        return np.maximum(0.0, both_m - span_m) / 2, (both_m + span_m) / 2

    def around(self, circles: Circles, present: Bools) -> Reach:
        """All pairs of a seat and a `present` driver who may be shown to it."""
        all_span = self.span_m / EARTH_RADIUS_M
        radius = circles.radius_m / EARTH_RADIUS_M
        seats_found, drivers_found = [], []
        for first in range(0, len(radius), SEATS_AT_ONCE):
            chunk = slice(first, first + SEATS_AT_ONCE)
            # |os| <= radius + span, or p is outside. No two places are farther apart along the axis than that: of seats
            # that lie together this leaves few cars to look at.
            north = circles.vectors[chunk, 2]
            most = radius[chunk].max() + all_span
            beside = np.abs(self.settled_vectors[:, 2] - (north.max() + north.min()) / 2)
            drivers = np.flatnonzero(present & (beside <= (north.max() - north.min()) / 2 + most))
            vectors, span = self.settled_vectors[drivers].T, all_span[drivers]
            # Squared, as 2 - 2cos is the square of the chord.
            squared = circles.vectors[chunk] @ vectors
            squared *= -2
            squared += 2
            most = radius[chunk, None] + span
            most *= most
            seat, column = np.nonzero(squared <= most)
            seats_found.append(seat + first)
            drivers_found.append(drivers[column])
        seat = np.concatenate(seats_found) if seats_found else np.zeros(0, dtype=np.int64)
        driver = np.concatenate(drivers_found) if drivers_found else np.zeros(0, dtype=np.int64)
        near_m, far_m = self.from_places(circles.vectors[seat], driver)
        inside = near_m <= circles.radius_m[seat]
        return Reach(seat, driver, near_m, far_m).only(inside)


def rank_cutoff_m(reach: Reach, circles: Circles, unplaced: Ints) -> Floats:
    """For each seat the distance up to which a car is certainly among the nearest `limit`; inf where the limit is idle.

    `unplaced` cars of each seat may be anywhere, and count as nearer.
    """
    # One sort of one column, seat after seat, is four times as fast as a sort by two.
    stride_m = np.ceil(reach.near_m.max(initial=0.0)) + 1
    sorted_near_m = np.sort(reach.seat * stride_m + reach.near_m)
    counts = np.bincount(reach.seat, minlength=len(circles.limit))
    starts = np.cumsum(counts) - counts
    rank = circles.limit - unplaced
    cutoff_m = np.full(len(circles.limit), np.inf)
    cutoff_m[rank < 0] = -np.inf
    full = np.flatnonzero((rank >= 0) & (counts > rank))
    cutoff_m[full] = sorted_near_m[starts[full] + rank[full]] - full * stride_m
    return cutoff_m
