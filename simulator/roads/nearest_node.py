"""Which node of a road network is nearest to a place. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Of the sphere that H3 measures on, km -> m.
EARTH_RADIUS_M = 6_371_007.180918475


class NearestNode:
    """Answers for the nodes at `positions` (lat, lon). A scan: 20 µs for the 4,197 nodes of Manhattan."""

    def __init__(self, positions: Sequence[tuple[float, float]]) -> None:
        points = [_on_sphere(lat, lon) for lat, lon in positions]
        # A column each: contiguous, and three times as fast to scan as rows of three.
        self._x, self._y, self._z = (np.array(column) for column in zip(*points, strict=True))

    def find(self, lat: float, lon: float) -> tuple[int, float]:
        """(node, great-circle distance in metres); of nodes that are equally near the first."""
        chord2 = self._chords2(lat, lon)
        node = int(chord2.argmin())
        return node, 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(float(chord2[node])) / 2))

    def between(self, lat: float, lon: float, least_m: float, most_m: float) -> list[int]:
        """All nodes at such a distance, by number."""
        chord2 = self._chords2(lat, lon)
        return [int(node) for node in np.flatnonzero((chord2 >= _chord2(least_m)) & (chord2 <= _chord2(most_m)))]

    def _chords2(self, lat: float, lon: float) -> np.ndarray:
        """Of each node the square of the straight way through a sphere of radius 1: grows as the distance does."""
        x, y, z = _on_sphere(lat, lon)
        squares: np.ndarray = np.square(self._x - x) + np.square(self._y - y) + np.square(self._z - z)
        return squares


def _on_sphere(lat: float, lon: float) -> tuple[float, float, float]:
    phi, lam = math.radians(lat), math.radians(lon)
    return math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)


def _chord2(distance_m: float) -> float:
    return (2 * math.sin(min(math.pi, distance_m / EARTH_RADIUS_M) / 2)) ** 2
