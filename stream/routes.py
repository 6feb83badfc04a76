"""Where a car is along a trip's polyline, and how far it has to go to its next stop. Pure.

A route may cross or double itself, so the nearest point is not always the right one. A car that was `at_m` along it and
has moved by `moved_m` is looked for around there first, by how far off the line it is and how far that is from where it
should be, as in Newson and Krumm, "Hidden Markov Map Matching Through Noise and Sparseness", 2009; and on the whole
line only when it is not there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, inf, radians

import h3.api.basic_int as h3
from shapely import LineString, Point

from ingest.polylines import decode_polyline
from ingest.trips import DROPOFF, PICKUP, WAYPOINT_PREFIX, Place, Trip
from stream.positions import METRES_PER_DEGREE

#: A car further than this from its polyline (plus what its fix is accurate to) drives another way: half a city block,
#: and more than a wide road with the polyline on its other side.
OFF_ROUTE_M = 50.0
#: GPS along a street is off by about so much (Newson and Krumm measured 4.07 m; phones are worse).
_NOISE_M = 10.0
#: How far around the expected place a car is looked for: it may have been further back, and roads wind.
_BACK_M, _AHEAD_M, _WINDING = 100.0, 200.0, 2.0
#: A metre backwards is as unlikely as so many too far or too few: where the line turns round, the car has turned too.
_BACKWARDS = 4.0
#: Sums of lengths are exact to so much.
_HAIR_M = 1e-6
#: Of two passes of a stop that are about equally near, the first is meant.
_STOP_TOLERANCE_M = 20.0


@dataclass(frozen=True, slots=True)
class Match:
    """A place on a polyline: metres from its beginning, and how far off the line the car is."""

    at_m: float
    offset_m: float


class Route:
    """A polyline to be driven from its beginning. Lengths are great-circle metres along it."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        """`points` are (lat, lon), two or more."""
        self._origin_lat, self._origin_lon = points[len(points) // 2]
        # One scale for the whole line: over 100 km the nearest point still is; lengths are taken from the sphere.
        self._metres_per_lon = METRES_PER_DEGREE * max(cos(radians(self._origin_lat)), 1e-6)
        self._points = [self._plane(lat, lon) for lat, lon in points]
        self._line = LineString(self._points)
        self._planar_m, self._true_m = [0.0], [0.0]
        for (ax, ay), (bx, by) in pairwise(self._points):
            self._planar_m.append(self._planar_m[-1] + hypot(bx - ax, by - ay))
        for before, after in pairwise(points):
            self._true_m.append(self._true_m[-1] + h3.great_circle_distance(before, after, unit="m"))

    @property
    def length_m(self) -> float:
        return self._true_m[-1]

    def find(self, lat: float, lon: float, at_m: float, moved_m: float, reach_m: float = OFF_ROUTE_M) -> Match | None:
        """Where the car is that was `at_m` along and has moved by `moved_m`; None when it is off the route."""
        x, y = self._plane(lat, lon)
        best, best_cost = None, inf
        segments = self._segments(at_m - _BACK_M, at_m + _AHEAD_M + _WINDING * moved_m)
        begin_m = self._true_m[segments.start] + _HAIR_M if segments.start > 0 else -inf
        end_m = self._true_m[segments.stop] - _HAIR_M if segments.stop + 1 < len(self._true_m) else inf
        for segment in segments:
            match = self._nearest(segment, x, y)
            if not begin_m < match.at_m < end_m:
                continue  # It may be nearer to what lies beyond.
            astray_m = abs(match.at_m - at_m - moved_m) + (_BACKWARDS - 1) * max(at_m - match.at_m, 0.0)
            cost = (match.offset_m / _NOISE_M) ** 2 / 2 + astray_m / _BACK_M
            if match.offset_m <= reach_m and cost < best_cost:
                best, best_cost = match, cost
        if best is not None:
            return best
        point = Point(x, y)
        match = Match(self._true(self._line.project(point)), self._line.distance(point))
        return match if match.offset_m <= reach_m else None

    def stop_at(self, lat: float, lon: float, from_m: float) -> Match:
        """Where the route first passes a stop, not before `from_m`: a later pass must be nearer by far to be meant."""
        x, y = self._plane(lat, lon)
        passes = [self._nearest(segment, x, y, from_m) for segment in self._segments(from_m, inf)]
        near_m = min(match.offset_m for match in passes) + _STOP_TOLERANCE_M
        first = next(match for match in passes if match.offset_m <= near_m)
        # It may still be coming nearer, on the segments after that one.
        return min((match for match in passes if 0 <= match.at_m - first.at_m <= 2 * near_m), key=_offset)

    def _segments(self, from_m: float, to_m: float) -> range:
        """The segments that have a part between two places; one at least."""
        first = max(min(bisect_right(self._true_m, from_m), len(self._true_m) - 1) - 1, 0)
        return range(first, max(bisect_left(self._true_m, to_m, hi=len(self._true_m) - 1), first + 1))

    def _nearest(self, segment: int, x: float, y: float, not_before_m: float = 0.0) -> Match:
        """The place on a segment that is nearest."""
        (ax, ay), (bx, by) = self._points[segment : segment + 2]
        dx, dy, begin_m = bx - ax, by - ay, self._true_m[segment]
        squared, length_m = dx * dx + dy * dy, self._true_m[segment + 1] - begin_m
        share = ((x - ax) * dx + (y - ay) * dy) / squared if squared > 0 else 0.0
        if length_m > 0:
            share = max(share, (not_before_m - begin_m) / length_m)
        share = min(max(share, 0.0), 1.0)
        return Match(begin_m + share * length_m, hypot(ax + share * dx - x, ay + share * dy - y))

    def _plane(self, lat: float, lon: float) -> tuple[float, float]:
        """Metres east and north of the origin; over the antimeridian the short way."""
        east = (lon - self._origin_lon + 180.0) % 360.0 - 180.0
        return east * self._metres_per_lon, (lat - self._origin_lat) * METRES_PER_DEGREE

    def _true(self, planar_m: float) -> float:
        at = min(bisect_right(self._planar_m, planar_m), len(self._planar_m) - 1) - 1
        planar, true = self._planar_m[at + 1] - self._planar_m[at], self._true_m[at + 1] - self._true_m[at]
        share = min((planar_m - self._planar_m[at]) / planar, 1.0) if planar > 0 else 0.0
        return self._true_m[at] + share * true


def _offset(match: Match) -> float:
    return match.offset_m


@dataclass(frozen=True, slots=True)
class Leg:
    """The way to one stop: on `route` from `begin_m` to `end_m`, `beyond_m` from there; straight where it is None."""

    name: str
    stop: Place
    route: Route | None = None
    begin_m: float = 0.0
    end_m: float = 0.0
    beyond_m: float = 0.0


def legs_of(trip: Trip) -> dict[str, Leg]:
    """The ways to each stop of a trip, by the stop's name."""
    stops = [(f"{WAYPOINT_PREFIX}{at}", place) for at, place in enumerate(trip.waypoints)]
    stops.append((DROPOFF, trip.dropoff))
    approach, route = _route(trip.approach), _route(trip.route)
    legs = {PICKUP: Leg(PICKUP, trip.pickup)}
    if approach is not None:
        beyond_m = approach.stop_at(trip.pickup.lat, trip.pickup.lon, approach.length_m).offset_m
        legs[PICKUP] = Leg(PICKUP, trip.pickup, approach, 0.0, approach.length_m, beyond_m)
    begin_m = 0.0
    for name, place in stops:
        if route is None:
            legs[name] = Leg(name, place)
            continue
        match = route.stop_at(place.lat, place.lon, route.length_m if name == DROPOFF else begin_m)
        legs[name] = Leg(name, place, route, begin_m, match.at_m, match.offset_m)
        begin_m = match.at_m
    return legs


def _route(polyline: str) -> Route | None:
    """None for what is no line; ingest has refused what is malformed."""
    try:
        points = decode_polyline(polyline)
    except ValueError:
        return None
    return Route(points) if len(set(points)) > 1 else None
