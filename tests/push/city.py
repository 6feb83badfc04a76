"""Places and cars that the tests of push aim with: the rim of a circle, H3's pentagons, a small city."""

from __future__ import annotations

import math

import h3.api.basic_int as h3
from hypothesis import strategies as st

from stream.channels import Car, cell_of

#: The sphere of h3.great_circle_distance.
EARTH_RADIUS_M = 6_371_007.180918475
MANHATTAN = (40.7549, -73.9840)
PENTAGONS = [h3.cell_to_latlng(cell) for cell in h3.get_pentagons(9)]
#: Ordinary cities, the antimeridian, near both poles, and where H3's icosahedron bends.
PLACES = [MANHATTAN, (41.15, -8.61), (-33.86, 151.2), (65.0, 179.9995), (-17.0, -179.9999), (89.9, 30.0), (-89.95, 0.0)]

places = st.one_of(
    st.sampled_from(PLACES),
    st.sampled_from(PENTAGONS),
    st.tuples(st.floats(-89.9, 89.9), st.floats(-180, 180)),
)


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(h3.great_circle_distance(a, b, unit="m"))


def towards(place: tuple[float, float], bearing_deg: float, far_m: float) -> tuple[float, float]:
    """The point `far_m` along a great circle."""
    lat, lon, bearing = math.radians(place[0]), math.radians(place[1]), math.radians(bearing_deg)
    angle = far_m / EARTH_RADIUS_M
    lat_2 = math.asin(math.sin(lat) * math.cos(angle) + math.cos(lat) * math.sin(angle) * math.cos(bearing))
    lon_2 = lon + math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(lat), math.cos(angle) - math.sin(lat) * math.sin(lat_2)
    )
    return math.degrees(lat_2), (math.degrees(lon_2) + 540) % 360 - 180


def car(driver_id: str, fix_time_ms: int, place: tuple[float, float], vehicle_type: str = "") -> Car:
    lat, lon = place
    return Car(driver_id, fix_time_ms, lat, lon, cell_of(lat, lon), fix_time_ms + 40, vehicle_type=vehicle_type)
