"""The nearest N of many cars, kept up to date car by car with memory for a few more than N. Pure.

Everything up to `_reach` (distance, driver id) is known, nothing beyond it is. When so many leave that fewer than N
are known, the cells are scanned again, nearest first, until the next cell can hold nothing nearer.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping

from push.cover import Cover
from push.mirror import Marker
from stream.channels import Car

#: Sorts behind every driver id of the same distance.
_LAST = "\U0010ffff"


class Nearest:
    """`limit` nearest drivers by (distance, driver id) among those that match."""

    __slots__ = ("_cover", "_distance_m", "_distances", "_limit", "_ranked", "_reach", "_types")

    def __init__(
        self, limit: int, cover: Cover, distance_m: Callable[[Car], float], types: frozenset[str] | None
    ) -> None:
        self._limit, self._cover, self._distance_m, self._types = limit, cover, distance_m, types
        self._ranked: list[tuple[float, str]] = []
        self._distances: dict[str, float] = {}
        self._reach = (math.inf, _LAST)

    def view(self) -> dict[str, None]:
        """The nearest, nearest first."""
        return {driver_id: None for _, driver_id in self._ranked[: self._limit]}

    def edge(self) -> tuple[float, str]:
        """The rank of the last of the nearest."""
        return self._ranked[self._limit - 1] if len(self._ranked) >= self._limit else (math.inf, _LAST)

    def is_within(self, edge: tuple[float, str], driver_id: str) -> bool:
        """Whether the driver is one of the nearest, given their `edge`."""
        distance_m = self._distances.get(driver_id)
        return distance_m is not None and (distance_m, driver_id) <= edge

    @property
    def reach_m(self) -> float:
        """No car that comes, goes or moves beyond this concerns what is known."""
        return min(self._reach[0], self._cover.reach_m)

    def holds_all(self) -> bool:
        """Whether no match is unknown."""
        return self._reach[0] == math.inf

    def fill(self, cells: Mapping[int, Mapping[str, Marker]]) -> None:
        """Start over from what is in the cells."""
        wanted = self._spare()
        found: list[tuple[float, str]] = []
        for cell, far_m in self._cover.cells.items():
            near_m = far_m - self._cover.spread_m
            if len(found) > wanted and sum(1 for distance_m, _ in found if distance_m < near_m) >= wanted:
                found.sort()
                self._keep(found[:wanted], found[wanted - 1])
                return
            bucket = cells.get(cell)
            if bucket:
                inside = far_m <= self._cover.inside_m
                for marker in bucket.values():
                    if self._types is None or marker.car.vehicle_type in self._types:
                        distance_m = self._distance_m(marker.car)
                        if inside or distance_m <= self._cover.inside_m:
                            found.append((distance_m, marker.driver_id))
        found.sort()
        if len(found) <= 2 * wanted:
            self._keep(found, (math.inf, _LAST))
        else:
            self._keep(found[:wanted], found[wanted - 1])

    def _keep(self, ranked: list[tuple[float, str]], reach: tuple[float, str]) -> None:
        self._ranked, self._reach = ranked, reach
        self._distances = {driver_id: distance_m for distance_m, driver_id in ranked}

    def settle(self, cells: Mapping[int, Mapping[str, Marker]]) -> None:
        """Make sure, after all changes, that the nearest `limit` are known, and not many more."""
        if len(self._ranked) < self._limit and not self.holds_all():
            self.fill(cells)
        elif len(self._ranked) > 2 * self._spare():
            self._keep(self._ranked[: self._spare()], self._ranked[self._spare() - 1])

    def _spare(self) -> int:
        return self._limit + self._limit // 4 + 4

    def move(self, driver_id: str, marker: Marker | None) -> None:
        """The car is here now, None if nowhere; it is not kept when it does not match, or is beyond what is known."""
        known_m = self._distances.pop(driver_id, None)
        if known_m is not None:
            del self._ranked[bisect_left(self._ranked, (known_m, driver_id))]
        if marker is None:
            return
        car, cover = marker.car, self._cover
        far_m = cover.cells.get(car.cell)
        if far_m is None or (self._types is not None and car.vehicle_type not in self._types):
            return
        distance_m = self._distance_m(car)
        ranked = (distance_m, driver_id)
        if ranked <= self._reach and (far_m <= cover.inside_m or distance_m <= cover.inside_m):
            self._distances[driver_id] = distance_m
            insort(self._ranked, ranked)
