"""Where the tests' riders stand: spread over the traces' cars, each with a car exactly on the rim of its circle."""

from __future__ import annotations

from typing import NamedTuple

import h3

from tests.oracle.distance import haversine_m
from tests.oracle.fold import Shown

#: push's default `max_radius_m`.
MAX_RADIUS_M = 5_000.0
#: Relative: 1 um in 1 km, above what a haversine of doubles is sure of (1e-12), below anything that is not the rim.
JUST = 1e-9
#: From a car that lends its position to where the rider stands, ~300 m to the north east.
ASIDE_DEG = 0.0025


class Place(NamedTuple):
    """A place, and the distance of one car from it; `rim_m` is as h3 measures it, to the last bit."""

    lat: float
    lon: float
    rim_driver_id: str
    rim_m: float

    def radii_m(self) -> tuple[float, float, float]:
        """Just too small for the car on the rim, exact, just large enough."""
        return self.rim_m * (1 - JUST), self.rim_m, self.rim_m * (1 + JUST)


def places(index: dict[str, Shown], count: int = 10) -> list[Place]:
    """`count` places near cars. On the rim of the n-th is its 10 n-th nearest car, or the furthest in reach."""
    drivers = sorted(index)
    found = []
    for number, lender in enumerate(drivers[:: max(1, len(drivers) // count)][:count], start=1):
        lat, lon = round(index[lender].lat + ASIDE_DEG, 6), round(index[lender].lon + ASIDE_DEG, 6)
        by_distance = sorted((haversine_m(lat, lon, shown.lat, shown.lon), id_) for id_, shown in index.items())
        in_reach = [driver_id for distance_m, driver_id in by_distance if distance_m < MAX_RADIUS_M * 0.99]
        rim = in_reach[min(10 * number, len(in_reach)) - 1]
        rim_m = h3.great_circle_distance((lat, lon), (index[rim].lat, index[rim].lon), unit="m")
        found.append(Place(lat, lon, rim, rim_m))
    return found
