"""Which standing queries that are full of cars a tick's changes can concern: one matrix product a region. Pure.

A query that knows more matches than it may show cares only for cars within its reach, and that is a small part of what
moves in its cells. So nobody looks through cells for it. Places are points of the unit sphere and reaches are cosines:
a change concerns a query when the car was, or is now, at a point p with centre · p >= cos(reach / R).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from push.mirror import Change
from push.nearby import Standing
from stream.channels import region_of

#: The Earth's mean radius that H3 measures with (WGS 84 authalic, IUGG).
EARTH_RADIUS_M: Final = 6_371_007.180918475
#: Added to each reach, so that no rounding leaves a change out: cosines near 1 tell ~0.2 m apart, sqrt(2 * 2^-52) rad.
SLACK_M: Final = 1.0
#: Products at once: 8 MB.
MAX_PRODUCTS: Final = 1 << 20

Floats = NDArray[np.float64]


def points_of(places: Sequence[tuple[float, float]]) -> Floats:
    """(lat, lon) in degrees as points of the unit sphere, one a column: shape (3, n)."""
    lat, lon = np.radians(np.array(places, dtype=np.float64).reshape(-1, 2)).T
    return np.stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


class Region:
    """The queries that look at one region: row i of `_centres` and `_cosines` is `_standings[i]`."""

    def __init__(self) -> None:
        self._standings: list[Standing] = []
        self._rows: dict[Standing, int] = {}
        self._centres = np.empty((8, 3))
        self._cosines = np.empty(8)

    def __len__(self) -> int:
        return len(self._standings)

    def add(self, standing: Standing, centre: Floats, cosine: float) -> None:
        row = self._rows[standing] = len(self._standings)
        self._standings.append(standing)
        if row == len(self._cosines):
            self._centres = np.concatenate((self._centres, np.empty_like(self._centres)))
            self._cosines = np.concatenate((self._cosines, np.empty_like(self._cosines)))
        self._centres[row], self._cosines[row] = centre, cosine

    def reach(self, standing: Standing, cosine: float) -> None:
        self._cosines[self._rows[standing]] = cosine

    def remove(self, standing: Standing) -> None:
        """The last row takes the place of the one that goes."""
        row, last = self._rows.pop(standing), self._standings.pop()
        if last is not standing:
            self._standings[row], self._rows[last] = last, row
            end = len(self._standings)
            self._centres[row], self._cosines[row] = self._centres[end], self._cosines[end]

    def near(self, points: Floats) -> Iterable[tuple[Standing, list[int]]]:
        """Each query that one of the points is near to, with the numbers of those points."""
        size = len(self._standings)
        cosines = self._cosines[:size, None]
        step = max(1, MAX_PRODUCTS // size)
        for start in range(0, points.shape[1], step):
            # Not `@`: BLAS would start threads for it, and three products a cell are no work for them.
            products = np.einsum("ij,jk->ik", self._centres[:size], points[:, start : start + step])
            rows, columns = np.nonzero(products >= cosines)
            if not len(rows):
                continue
            ends = [*(np.flatnonzero(rows[1:] != rows[:-1]) + 1).tolist(), len(rows)]
            numbers = (columns + start).tolist()
            begin = 0
            for end in ends:
                yield self._standings[rows[begin]], numbers[begin:end]
                begin = end


class Crowds:
    """Queries come and go (`add`, `remove`), their reach changes (`reach`), and `near` says whom changes concern."""

    def __init__(self) -> None:
        self._regions: dict[int, Region] = {}
        self._reach_m: dict[Standing, float] = {}

    def __contains__(self, standing: Standing) -> bool:
        return standing in self._reach_m

    def add(self, standing: Standing) -> None:
        reach_m = self._reach_m[standing] = standing.reach_m
        centre = points_of([(standing.query.lat, standing.query.lon)])[:, 0]
        for region in standing.cover.regions:
            self._regions.setdefault(region, Region()).add(standing, centre, _cosine(reach_m))

    def remove(self, standing: Standing) -> None:
        del self._reach_m[standing]
        for region in standing.cover.regions:
            group = self._regions[region]
            group.remove(standing)
            if not len(group):
                del self._regions[region]

    def reach(self, standing: Standing) -> None:
        """Look again how far the query cares."""
        reach_m = standing.reach_m
        if reach_m != self._reach_m[standing]:
            self._reach_m[standing] = reach_m
            for region in standing.cover.regions:
                self._regions[region].reach(standing, _cosine(reach_m))

    def near(self, changes: Sequence[Change]) -> dict[Standing, list[Change]]:
        """The queries that one of the changes can concern, with those changes, each once. Some do not after all."""
        found: dict[Standing, list[Change]] = {}
        if not self._regions:
            return found
        places: dict[int, tuple[list[tuple[float, float]], list[int]]] = {region: ([], []) for region in self._regions}
        for number, change in enumerate(changes):
            for marker in (change.before, change.after):
                if marker is not None:
                    there = places.get(region_of(marker.car.cell))
                    if there is not None:
                        there[0].append((marker.car.lat, marker.car.lon))
                        there[1].append(number)
        concerned: dict[Standing, list[int]] = {}
        for region, (where, whose) in places.items():
            if where:
                for standing, columns in self._regions[region].near(points_of(where)):
                    concerned.setdefault(standing, []).extend([whose[column] for column in columns])
        return {
            standing: [changes[number] for number in dict.fromkeys(numbers)] for standing, numbers in concerned.items()
        }


def _cosine(reach_m: float) -> float:
    return math.cos(min(math.pi, (reach_m + SLACK_M) / EARTH_RADIUS_M))
