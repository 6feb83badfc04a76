"""Zones that tests make up, in every shape there is, and the places where they go wrong: at the rim."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import strategies as st

from stream.positions import METRES_PER_DEGREE

#: A ring: [lon, lat] each, closed.
Ring = list[list[float]]


def collection(*features: dict[str, Any]) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def feature(zone_id: str, *polygons: list[Ring], **properties: Any) -> dict[str, Any]:
    """A zone of one polygon, or of several; each is its outer ring and then its holes."""
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "Feature", "properties": {"id": zone_id, "kind": "airport", **properties}, "geometry": geometry}


def off(place: tuple[float, float], north_m: float, east_m: float) -> tuple[float, float]:
    """The (lat, lon) so many metres away, as on a plane."""
    lat, lon = place
    return lat + north_m / METRES_PER_DEGREE, lon + east_m / METRES_PER_DEGREE / math.cos(math.radians(lat))


def square(place: tuple[float, float], half_m: float) -> Ring:
    """Its sides run along meridians and parallels."""
    (south, west), (north, east) = off(place, -half_m, -half_m), off(place, half_m, half_m)
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def star(place: tuple[float, float], radii_m: list[float], share: float = 1.0) -> Ring:
    """Concave as the radii wish, and never crossing itself: the centre sees all of it."""
    lat, lon = place
    ring = []
    for number, radius_m in enumerate(radii_m):
        angle = math.tau * number / len(radii_m)
        y, x = share * radius_m * math.sin(angle), share * radius_m * math.cos(angle)
        # One scale for the whole ring, so that a smaller share of it lies inside.
        ring.append([lon + x / METRES_PER_DEGREE / math.cos(math.radians(lat)), lat + y / METRES_PER_DEGREE])
    return [*ring, ring[0]]


#: Cities, beside the antimeridian, far north, and where H3's icosahedron bends.
PLACES = [
    (40.7549, -73.9840),
    (41.15, -8.61),
    (-33.86, 151.2),
    (-17.0, 179.9),
    (78.2, 15.6),
    (64.7, 10.536),
    (0.0, 0.0),
]
#: From a kerb, through less than a cell (350 m across), to a country.
SIZES_M = [3.0, 60.0, 400.0, 5_000.0, 300_000.0]


@st.composite
def zones(draw: st.DrawFn, zone_id: str = "z", place: tuple[float, float] | None = None) -> dict[str, Any]:
    """A star with or without a hole, alone or with a smaller one beside it."""
    place = place or draw(st.sampled_from(PLACES))
    size_m = draw(st.sampled_from(SIZES_M))
    if abs(place[1]) > 179 or abs(place[0]) > 75:
        size_m = min(size_m, 5_000.0)
    radii_m = [size_m * each for each in draw(st.lists(st.floats(0.2, 1.0), min_size=3, max_size=12))]
    if len(radii_m) == 3:
        radii_m.append(size_m)
    rings = [star(place, radii_m)]
    if draw(st.booleans()):
        rings.append(star(place, radii_m, share=draw(st.sampled_from([0.3, 0.99]))))
    polygons = [rings]
    if draw(st.booleans()):
        polygons.append([star(off(place, 1.6 * size_m, 0.0), [size_m / 2] * 5)])
    return feature(zone_id, *polygons)


def rings_of(feature: dict[str, Any]) -> list[Ring]:
    geometry = feature["geometry"]
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [ring for rings in polygons for ring in rings]


@st.composite
def rim_places(draw: st.DrawFn, rings: list[Ring]) -> tuple[float, float]:
    """A (lat, lon) on a vertex or an edge of a ring, or millimetres to a kilometre off it."""
    ring = draw(st.sampled_from(rings))
    at = draw(st.integers(0, len(ring) - 2))
    share = draw(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1))
    (lon, lat), (next_lon, next_lat) = ring[at], ring[at + 1]
    place = (lat + share * (next_lat - lat), lon + share * (next_lon - lon))
    far_m = draw(st.sampled_from([0.0, 0.0001, 0.001, 0.01, 1.0, 29.9, 30.1, 200.0, 1_000.0]))
    bearing = draw(st.floats(0, math.tau))
    return off(place, far_m * math.cos(bearing), far_m * math.sin(bearing))
