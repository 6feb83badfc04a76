"""The way a trip's car has gone, as GeoJSON (RFC 7946) and as GPX 1.1. Pure.

A line needs two places: a track of one fix is a GeoJSON Point, and one of none has no geometry (`null`, which RFC 7946
has for a Feature that is nowhere yet). In GPX it is a segment of as many points as there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from xml.etree import ElementTree

import h3.api.basic_int as h3

from ingest.trips import Trip
from stream.trip_channels import TrackFix

GEOJSON: Final = "application/geo+json"
GPX: Final = "application/gpx+xml"
_GPX_NAMESPACE: Final = "http://www.topografix.com/GPX/1/1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What XML 1.0 has no way to write, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def rfc3339(time_ms: int) -> str:
    """Epoch milliseconds as `2026-01-01T00:00:00.000Z`."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def length_m(fixes: Sequence[TrackFix]) -> float:
    """How long the line through the fixes is."""
    return float(sum(h3.great_circle_distance((a.lat, a.lon), (b.lat, b.lon), unit="m") for a, b in pairwise(fixes)))


def track_geojson(trip: Trip, fixes: Sequence[TrackFix]) -> dict[str, Any]:
    """A Feature with one time in `coordTimes` for each position. `fixes` are in the order of their times.

    Positions have no third number: a line of some with and some without a height is read by no library we know.
    """
    places = [[fix.lon, fix.lat] for fix in fixes]
    geometry: dict[str, Any] | None
    match places:
        case []:
            geometry = None
        case [place]:
            geometry = {"type": "Point", "coordinates": place}
        case _:
            geometry = {"type": "LineString", "coordinates": places}
    return {
        "type": "Feature",
        "id": trip.trip_id,
        "geometry": geometry,
        "properties": {
            "trip_id": trip.trip_id,
            "driver_id": trip.driver_id,
            "distance_m": round(length_m(fixes), 1),
            "coordTimes": [rfc3339(fix.fix_time_ms) for fix in fixes],
        },
    }


def track_gpx(trip: Trip, fixes: Sequence[TrackFix]) -> bytes:
    """A GPX document with one track of one segment; heights where the phone gave them."""
    gpx = ElementTree.Element("gpx", {"version": "1.1", "creator": "ridestream", "xmlns": _GPX_NAMESPACE})
    track = ElementTree.SubElement(gpx, "trk")
    ElementTree.SubElement(track, "name").text = _NOT_XML.sub("", trip.trip_id)
    ElementTree.SubElement(track, "src").text = _NOT_XML.sub("", trip.driver_id)
    segment = ElementTree.SubElement(track, "trkseg")
    for fix in fixes:
        # xsd:decimal knows no exponent, and a longitude is below 180. Eight decimals are a millimetre.
        lon = round(fix.lon, 8)
        lon = lon if lon < 180 else -180.0
        point = ElementTree.SubElement(segment, "trkpt", {"lat": f"{fix.lat:.8f}", "lon": f"{lon:.8f}"})
        if fix.altitude_m is not None:
            ElementTree.SubElement(point, "ele").text = f"{fix.altitude_m:.2f}"
        ElementTree.SubElement(point, "time").text = rfc3339(fix.fix_time_ms)
    document: bytes = ElementTree.tostring(gpx, encoding="UTF-8", xml_declaration=True)
    return document
