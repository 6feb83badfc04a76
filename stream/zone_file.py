"""Read a GeoJSON file of zones, and refuse what is not meant as it stands, naming the feature. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import shapely

#: As every id, but without the colon: it separates the members of an event id.
_valid_word = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch

#: GPS in a street of high houses is off by 10 to 30 m: a car that stands at the border is not to leave and come back.
DEFAULT_EXIT_MARGIN_M = 30.0
#: Distances are measured in a plane around the car. This far away it is still right to 0.1 % up to 80° of latitude.
MAX_EXIT_MARGIN_M = 1_000.0


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone. `parts` are valid polygons that do not overlap: degrees, x = lon, y = lat, straight between vertices.

    `dwell_s` is None where dwelling is not told.
    """

    zone_id: str
    kind: str
    name: str
    dwell_s: float | None
    exit_margin_m: float
    parts: tuple[shapely.Polygon, ...]


def parse_zones(geojson: bytes) -> list[Zone]:
    """The zones of a file, in its order. Raises ValueError, one line that says which feature is wrong and how."""
    try:
        document = msgspec.json.decode(geojson)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"zones: not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise ValueError("zones: the file must be one GeoJSON FeatureCollection")
    features = document.get("features")
    if not isinstance(features, list):
        raise ValueError("zones: the FeatureCollection has no array `features`")
    zones: dict[str, Zone] = {}
    for number, feature in enumerate(features, start=1):
        try:
            zone = _zone(feature)
            if zone.zone_id in zones:
                raise ValueError("another feature before it has the same id")
        except ValueError as error:
            raise ValueError(f"zones: feature {number}{_called(feature)}: {error}") from None
        zones[zone.zone_id] = zone
    return list(zones.values())


def _called(feature: Any) -> str:
    """What to name a feature by besides its number, as far as it has an id."""
    try:
        return f' "{_id(feature, _properties(feature))}"'
    except ValueError:
        return ""


def _zone(feature: Any) -> Zone:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise ValueError("it is not a GeoJSON Feature")
    properties = _properties(feature)
    zone_id = _id(feature, properties)
    kind, name = properties.get("kind"), properties.get("name")
    if not isinstance(kind, str) or not _valid_word(kind):
        raise ValueError("its property `kind` must be a word such as service_area, airport or no_pickup")
    if name is not None and not isinstance(name, str):
        raise ValueError("its property `name` must be a text")
    dwell_s = _number(properties, "dwell_s")
    if dwell_s is not None and dwell_s <= 0:
        raise ValueError("its property `dwell_s` must be more than 0; leave it out for no dwell event")
    exit_margin_m = _number(properties, "exit_margin_m")
    if exit_margin_m is not None and not 0 <= exit_margin_m <= MAX_EXIT_MARGIN_M:
        raise ValueError(f"its property `exit_margin_m` must be between 0 and {MAX_EXIT_MARGIN_M:.0f}")
    margin_m = DEFAULT_EXIT_MARGIN_M if exit_margin_m is None else exit_margin_m
    return Zone(zone_id, kind, name or "", dwell_s, margin_m, _parts(feature.get("geometry")))


def _properties(feature: Any) -> Mapping[str, Any]:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    return properties if isinstance(properties, dict) else {}


def _id(feature: Any, properties: Mapping[str, Any]) -> str:
    found = properties.get("id")
    if found is None and isinstance(feature, dict):
        found = feature.get("id")
    if found is None:
        raise ValueError("it has no id: give it a property `id`")
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not _valid_word(found):
        raise ValueError("its id must be 1 to 64 of A-Z a-z 0-9 _ . -")
    return found


def _number(properties: Mapping[str, Any], name: str) -> float | None:
    value = properties.get(name)
    if value is None:
        return None
    number = _float(value)
    if number is None:
        raise ValueError(f"its property `{name}` must be a number")
    return number


def _float(value: Any) -> float | None:
    """A JSON number, unless it is an integer too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _parts(geometry: Any) -> tuple[shapely.Polygon, ...]:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        shown = kind if isinstance(kind, str) else "none"
        raise ValueError(f"its geometry is {shown}, and only Polygon and MultiPolygon make a zone")
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons:
        raise ValueError("its geometry has no coordinates")
    parts = tuple(_polygon(rings) for rings in polygons)
    whole = shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]
    if not shapely.is_valid(whole):
        # GEOS names the first fault and where: `Self-intersection[-73.98 40.75]`, lon before lat.
        reason = shapely.is_valid_reason(whole)
        raise ValueError(f"its geometry is not valid, and is not repaired for you: {reason} (lon lat)")
    return parts


def _polygon(rings: Any) -> shapely.Polygon:
    if not isinstance(rings, list) or not rings:
        raise ValueError("its geometry has a polygon without rings")
    shell, *holes = [_ring(ring) for ring in rings]
    return shapely.Polygon(shell, holes)


def _ring(ring: Any) -> list[tuple[float, float]]:
    if not isinstance(ring, list) or len(ring) < 4:
        raise ValueError("its geometry has a ring of fewer than 4 positions")
    positions = [_position(each) for each in ring]
    if positions[0] != positions[-1]:
        raise ValueError("its geometry has a ring that is not closed: the last position must be the first again")
    for (lon, _), (next_lon, _) in pairwise(positions):
        if abs(next_lon - lon) > 180:
            raise ValueError(
                "its geometry has an edge across more than 180° of longitude. A zone that crosses the antimeridian "
                "is not supported: cut it there into two polygons of one MultiPolygon (RFC 7946, 3.1.9)"
            )
    return positions


def _position(position: Any) -> tuple[float, float]:
    lon, lat = (
        (_float(each) for each in position[:2]) if isinstance(position, list) and len(position) > 1 else (None,) * 2
    )
    if lon is None or lat is None:
        raise ValueError("its geometry has a position that is not [lon, lat]")
    if abs(lon) <= 180 and abs(lat) <= 90:
        return lon, lat
    hint = "; are lat and lon swapped?" if abs(lon) <= 90 and abs(lat) <= 180 else ""
    raise ValueError(f"its position [{lon}, {lat}] is out of range: GeoJSON is WGS84 degrees, [lon, lat]{hint}")
