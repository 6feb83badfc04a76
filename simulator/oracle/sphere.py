"""Distances on the sphere, for one pair and for arrays of them. Pure."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: H3's authalic radius, on which the wire measures circles (docs/wire/websocket.md).
EARTH_RADIUS_M = 6_371_007.180918475


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Great circle distance of two places (haversine), in metres."""
    north, east = math.radians(other_lat - lat) / 2, math.radians(other_lon - lon) / 2
    across = math.cos(math.radians(lat)) * math.cos(math.radians(other_lat))
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(math.sin(north) ** 2 + across * math.sin(east) ** 2)))


def unit_vectors(lat: Floats, lon: Floats) -> Floats:
    """The places as unit vectors, one row each; NaN where the place is."""
    phi, theta = np.radians(lat), np.radians(lon)
    cos_phi = np.cos(phi)
    return np.stack((cos_phi * np.cos(theta), cos_phi * np.sin(theta), np.sin(phi)), axis=-1)


def apart_m(here: Floats, there: Floats) -> Floats:
    """Metres between unit vectors, row by row.

    The chord stands for the arc: of 5 km, the largest circle there is, it lacks less than 0.2 mm. The difference of the
    vectors is taken before it is squared, so that places a metre apart keep their precision.
    """
    between = here - there
    squared: Floats = np.einsum("ij,ij->i", between, between)
    return np.sqrt(squared) * EARTH_RADIUS_M
