"""Derive the live map's compact base map from GeoJSON: python -m push.basemap IN.geojson... --out OUT.geojson.gz

A feature's `class` says how it is drawn: `land`, `park`, the roads `major`, `medium` and `minor`, and `label` (a point
with `name` and `kind`). Lines without a class take it from their OpenStreetMap `highway` tag, so an OSM extract of
any city can be given as it is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shapely import MultiLineString, line_merge, set_precision
from shapely.geometry import LineString, shape
from shapely.geometry.base import BaseGeometry

#: 1e-5 degrees is 1.1 m: half a pixel at the closest zoom the map offers (18: 0.45 m per pixel at Manhattan).
DECIMALS = 5
#: Outlines lose detail finer than this many degrees (~4 m), which nobody sees at street zoom.
OUTLINE_TOLERANCE_DEG = 4e-5
ROADS = ("minor", "medium", "major")
_BY_HIGHWAY: Mapping[str, str] = {
    **dict.fromkeys(("motorway", "trunk", "primary", "motorway_link", "trunk_link", "primary_link"), "major"),
    **dict.fromkeys(("secondary", "tertiary", "secondary_link", "tertiary_link"), "medium"),
    **dict.fromkeys(("residential", "unclassified", "living_street", "service", "road"), "minor"),
}


def class_of(properties: Mapping[str, Any]) -> str | None:
    """How a feature is drawn, or None where it is not part of a base map (footways, buildings, ...)."""
    given = properties.get("class")
    return str(given) if given else _BY_HIGHWAY.get(str(properties.get("highway")))


def compact(features: Iterable[Mapping[str, Any]], attribution: str) -> dict[str, Any]:
    """One feature per outline and label, one per road class with every street once, in steps of 1e-5 degrees."""
    outlines: list[dict[str, Any]] = []
    roads: dict[str, list[BaseGeometry]] = {name: [] for name in ROADS}
    for feature in features:
        kind = class_of(feature.get("properties") or {})
        if kind is None:
            continue
        geometry = shape(feature["geometry"])
        if kind in roads:
            roads[kind] += getattr(geometry, "geoms", [geometry])
        else:
            small = geometry if kind == "label" else geometry.simplify(OUTLINE_TOLERANCE_DEG)
            kept = {name: feature["properties"][name] for name in ("name", "kind") if name in feature["properties"]}
            outlines.append(_feature({"class": kind, **kept}, small))
    lines = [_feature({"class": kind}, _streets(parts)) for kind, parts in roads.items() if parts]
    return {"type": "FeatureCollection", "attribution": attribution, "features": [*outlines, *lines]}


def _streets(lines: Sequence[BaseGeometry]) -> BaseGeometry:
    """Join end to end what was cut at crossings, each street once, whichever way it was drawn."""
    pairs = {
        tuple(sorted((start, end)))
        for line in lines
        for start, end in zip(_rounded(line), _rounded(line)[1:], strict=False)
        if start != end
    }
    merged = line_merge(MultiLineString([LineString(pair) for pair in sorted(pairs)]))
    return merged.simplify(10**-DECIMALS)


def _rounded(line: BaseGeometry) -> list[tuple[float, float]]:
    return [(round(x, DECIMALS), round(y, DECIMALS)) for x, y, *_ in line.coords]


def _feature(properties: Mapping[str, Any], geometry: BaseGeometry) -> dict[str, Any]:
    interface = set_precision(geometry, 10**-DECIMALS, mode="pointwise").__geo_interface__
    return {
        "type": "Feature",
        "properties": dict(properties),
        "geometry": {"type": interface["type"], "coordinates": _plain(interface["coordinates"])},
    }


def _plain(coordinates: Any) -> Any:
    if isinstance(coordinates, float | int):
        return round(coordinates, DECIMALS)
    return [_plain(part) for part in coordinates]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, compact, write; gzip when the name ends in .gz (the same input gives the same bytes)."""
    parser = argparse.ArgumentParser(prog="python -m push.basemap", description=__doc__.splitlines()[0])
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN.geojson")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT.geojson[.gz]")
    options = parser.parse_args(arguments)
    features: list[Mapping[str, Any]] = []
    attributions: list[str] = []
    for path in options.inputs:
        collection = json.loads(path.read_text())
        features += collection["features"]
        attributions += [collection["attribution"]] if "attribution" in collection else []
    document = compact(features, "; ".join(attributions) or "© OpenStreetMap contributors")
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    options.out.write_bytes(gzip.compress(body, 9, mtime=0) if options.out.suffix == ".gz" else body)
    print(f"{options.out}: {len(document['features'])} features, {options.out.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
