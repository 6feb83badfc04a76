"""The haversine formula, written out once more so that no oracle shares code with what it judges."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

#: Authalic radius of WGS84, the sphere that H3 and the whole project measure on.
EARTH_RADIUS_M = 6_371_007.180918475


def haversine_m(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Great circle distance of two places in degrees, in metres (Sinnott, "Virtues of the Haversine", 1984)."""
    lat_a, lon_a, lat_b, lon_b = radians(lat_a), radians(lon_a), radians(lat_b), radians(lon_b)
    half_chord = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half_chord)))
