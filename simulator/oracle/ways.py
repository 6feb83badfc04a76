"""The way that dispatch gave a trip, as a line on the ground: its length, its places, and what is beside it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import cos, hypot, radians

from simulator.oracle.sphere import EARTH_RADIUS_M, distance_m
from simulator.roads.polylines import decode_polyline

METRES_PER_DEGREE = radians(EARTH_RADIUS_M)


class Way:
    """A line of (lat, lon), two or more. Lengths are great-circle metres along it."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._points, self._along_m = list(points), [0.0]
        for here, there in pairwise(points):
            self._along_m.append(self._along_m[-1] + distance_m(*here, *there))

    @property
    def length_m(self) -> float:
        return self._along_m[-1]

    def place(self, at_m: float) -> tuple[float, float]:
        """What lies so far along the line; before its beginning is its beginning, and beyond its end its end."""
        after = min(max(bisect_right(self._along_m, at_m), 1), len(self._points) - 1)
        begin_m, end_m = self._along_m[after - 1], self._along_m[after]
        share = min(max((at_m - begin_m) / (end_m - begin_m), 0.0), 1.0) if end_m > begin_m else 0.0
        (lat, lon), (next_lat, next_lon) = self._points[after - 1], self._points[after]
        return lat + (next_lat - lat) * share, lon + (next_lon - lon) * share

    def off_m(self, lat: float, lon: float) -> float:
        """Metres from a place to the nearest point of the line; good to a thousandth within a city."""
        narrow = cos(radians(lat))
        flat = [((y - lat) * METRES_PER_DEGREE, (x - lon) * METRES_PER_DEGREE * narrow) for y, x in self._points]
        return min(_from_origin_m(*here, *there) for here, there in pairwise(flat))


def way_of(polyline: str) -> Way | None:
    """The line of an encoded polyline; None when it is none: nothing, or one place."""
    points = decode_polyline(polyline)
    return Way(points) if len(set(points)) > 1 else None


def _from_origin_m(y: float, x: float, next_y: float, next_x: float) -> float:
    """From (0, 0) to a segment."""
    dy, dx = next_y - y, next_x - x
    squared = dy * dy + dx * dx
    share = min(max(-(y * dy + x * dx) / squared, 0.0), 1.0) if squared > 0.0 else 0.0
    return hypot(y + share * dy, x + share * dx)
