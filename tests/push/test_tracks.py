"""A track on its way out: GeoJSON that geometry libraries read, GPX that any XML parser reads, and their choice."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import shapely.geometry
from hypothesis import given
from hypothesis import strategies as st

from push.negotiation import choose, has_it, strong_tag, weak_tag
from push.tracks import GEOJSON, GPX, length_m, rfc3339, track_geojson, track_gpx
from stream.trip_channels import TrackFix
from tests.oracle.distance import haversine_m
from tests.push.read_api import trip_of

TRIP = trip_of()
NS = {"g": "http://www.topografix.com/GPX/1/1"}

fixes = st.lists(
    st.builds(
        TrackFix,
        st.integers(0, 4_102_444_800_000),
        st.floats(-90, 90),
        st.floats(-180, 180),
        altitude_m=st.none() | st.floats(-500, 9_000),
    ),
    max_size=12,
    unique_by=lambda fix: fix.fix_time_ms,
).map(lambda found: sorted(found, key=lambda fix: fix.fix_time_ms))


def through_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def moment_ms(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00:00Z")) // timedelta(milliseconds=1)


@given(fixes)
def test_a_track_is_a_feature_whose_times_stand_beside_its_positions(track: list[TrackFix]) -> None:
    feature = through_json(track_geojson(TRIP, track))
    assert feature["type"] == "Feature"
    assert [moment_ms(each) for each in feature["properties"]["coordTimes"]] == [fix.fix_time_ms for fix in track]
    places = [(fix.lon, fix.lat) for fix in track]
    if not track:
        assert feature["geometry"] is None
        return
    shape = shapely.geometry.shape(feature["geometry"])
    assert shape.geom_type == ("Point" if len(track) == 1 else "LineString")
    assert list(shape.coords) == places


@given(fixes)
def test_a_track_is_as_long_as_the_way_from_fix_to_fix(track: list[TrackFix]) -> None:
    expected_m = sum(haversine_m(a.lat, a.lon, b.lat, b.lon) for a, b in pairwise(track))
    assert math.isclose(length_m(track), expected_m, rel_tol=1e-6, abs_tol=0.5)
    assert track_geojson(TRIP, track)["properties"]["distance_m"] == pytest.approx(expected_m, rel=1e-6, abs=0.6)


@given(fixes)
def test_a_gpx_track_says_the_same_as_the_geojson(track: list[TrackFix]) -> None:
    root = ElementTree.fromstring(track_gpx(TRIP, track))
    assert (root.tag, root.get("version")) == (f"{{{NS['g']}}}gpx", "1.1")
    points = root.findall("g:trk/g:trkseg/g:trkpt", NS)
    assert len(points) == len(track)
    for point, fix in zip(points, track, strict=True):
        lat, lon = point.attrib["lat"], point.attrib["lon"]
        assert "e" not in lat + lon  # xsd:decimal
        assert float(lat) == pytest.approx(fix.lat, abs=1e-8)
        assert -180 <= float(lon) < 180
        assert math.remainder(float(lon) - fix.lon, 360) == pytest.approx(0, abs=1e-8)
        assert moment_ms(point.findtext("g:time", "", NS)) == fix.fix_time_ms
        assert (point.find("g:ele", NS) is None) == (fix.altitude_m is None)


@given(st.text(), st.text())
def test_no_name_breaks_the_xml(trip_id: str, driver_id: str) -> None:
    named = msgspec.structs.replace(TRIP, trip_id=trip_id, driver_id=driver_id)
    root = ElementTree.fromstring(track_gpx(named, []))
    printable = "".join(each for each in trip_id if each.isprintable() and not each.isspace())
    assert set(printable) <= set(root.findtext("g:trk/g:name", "", NS))


def test_times_are_utc_with_milliseconds() -> None:
    assert rfc3339(1_767_225_600_007) == "2026-01-01T00:00:00.007Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, GEOJSON),
        ("", GEOJSON),
        ("*/*", GEOJSON),
        ("application/*", GEOJSON),
        ("application/gpx+xml", GPX),
        ("APPLICATION/GPX+XML", GPX),
        ("application/geo+json;q=0.5, application/gpx+xml;q=0.8", GPX),
        ("application/geo+json;q=0.5, application/gpx+xml;q=0.500", GEOJSON),
        ("text/html, application/xhtml+xml, */*;q=0.1", GEOJSON),
        ("*/*, application/geo+json;q=0", GPX),
        ("application/*;q=0.1, application/gpx+xml; q=0.2", GPX),
        ("application/gpx+xml;q=nonsense, */*;q=0.1", GEOJSON),
        ("application/gpx+xml;q=0", None),
        ("text/html", None),
        ("*/*;q=0", None),
        ("nonsense", None),
        ("text/*, image/png", None),
    ],
)
def test_the_media_type_is_what_the_client_likes_best(accept: str | None, chosen: str | None) -> None:
    assert choose(accept, [GEOJSON, GPX]) == chosen


@given(st.text(max_size=40))
def test_no_accept_header_makes_the_choice_fail(accept: str) -> None:
    assert choose(accept, [GEOJSON, GPX]) in (GEOJSON, GPX, None)


@given(st.binary(), st.binary())
def test_a_client_has_a_body_if_it_names_its_tag(body: bytes, other: bytes) -> None:
    for tag in (strong_tag(body), weak_tag(body)):
        assert has_it(tag, tag)
        assert has_it(f'W/"x", {tag}', tag)
        assert has_it("*", tag)
        assert not has_it(None, tag)
        assert has_it(strong_tag(other), tag) == (body == other)
