"""A car is in a zone exactly where plain geometry says so, also at the rim, and a file that is wrong is refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import h3.api.basic_int as h3
import pytest
import shapely
import shapely.geometry
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stream.channels import cell_of
from stream.zone_file import DEFAULT_EXIT_MARGIN_M
from stream.zones import Cover, Zones, grown
from tests.stream import maps

MANHATTAN = Path(__file__).parents[2] / "docs" / "examples" / "zones-manhattan.geojson"
SQUARE = maps.square((40.75, -73.98), 100.0)


def in_by_geometry(features: list[dict[str, Any]], lat: float, lon: float) -> set[str]:
    return {
        each["properties"]["id"]
        for each in features
        if shapely.geometry.shape(each["geometry"]).covers(shapely.Point(lon, lat))
    }


def found(zones: Zones, lat: float, lon: float) -> set[str]:
    at = zones.at(lat, lon, cell_of(lat, lon))
    assert len(at) == len(set(at))
    return set(at)


def cell_rings(place: tuple[float, float], resolution: int, share: float = 1.0) -> maps.Ring:
    """A zone's ring along the border of an H3 cell."""
    corners = h3.cell_to_boundary(h3.latlng_to_cell(*place, resolution))
    lat, lon = sum(each[0] for each in corners) / len(corners), sum(each[1] for each in corners) / len(corners)
    ring = [[lon + share * (x - lon), lat + share * (y - lat)] for y, x in corners]
    return [*ring, ring[0]]


# --- where a car is --------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_car_at_the_rim_is_where_plain_geometry_says(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(maps.PLACES))
    features = [data.draw(maps.zones(f"z-{number}", place)) for number in range(data.draw(st.integers(1, 3)))]
    zones = Zones.parse(maps.collection(*features))
    rings = [ring for each in features for ring in maps.rings_of(each)]
    for _ in range(8):
        lat, lon = data.draw(maps.rim_places(rings))
        assert found(zones, lat, lon) == in_by_geometry(features, lat, lon)


@settings(max_examples=250, deadline=None)
@given(
    data=st.data(),
    place=st.sampled_from([*maps.PLACES, (84.0, 30.0), (-84.0, -100.0)]),
    resolution=st.sampled_from([9, 8, 7]),
    share=st.sampled_from([1.0, 1.0, 1 - 1e-7, 1 + 1e-7, 1.005, 1.02]),
)
def test_a_zone_whose_border_is_a_cells_border_is_exact_too(
    data: st.DataObject, place: tuple[float, float], resolution: int, share: float
) -> None:
    ring = cell_rings(place, resolution, share)
    zone = maps.feature("z", [ring])
    zones = Zones.parse(maps.collection(zone))
    for _ in range(8):
        lat, lon = data.draw(maps.rim_places([ring]))
        assert found(zones, lat, lon) == in_by_geometry([zone], lat, lon)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), place=st.sampled_from(maps.PLACES))
def test_a_car_in_a_corner_of_a_cell_is_where_plain_geometry_says(
    data: st.DataObject, place: tuple[float, float]
) -> None:
    zone = data.draw(maps.zones("z", place))
    zones = Zones.parse(maps.collection(zone))
    start = data.draw(maps.rim_places(maps.rings_of(zone)))
    for _ in range(8):
        lat, lon = data.draw(maps.rim_places([cell_rings(start, 9)]))
        assert found(zones, lat, lon) == in_by_geometry([zone], lat, lon)


@settings(max_examples=800, deadline=None)
@given(
    start=st.one_of(
        st.sampled_from([h3.cell_to_latlng(cell) for cell in h3.get_pentagons(9)]),
        st.sampled_from(maps.PLACES),
        st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    ),
    north_m=st.floats(-600, 600),
    east_m=st.floats(-600, 600),
    data=st.data(),
)
@example(start=(89.9999, 0.0), north_m=0.0, east_m=0.0, data=None)
@example(start=(-17.0, 179.99999), north_m=0.0, east_m=0.0, data=None)
def test_what_is_taken_for_the_whole_cell_holds_every_place_of_it(
    start: tuple[float, float], north_m: float, east_m: float, data: st.DataObject | None
) -> None:
    assume(abs(start[0]) < 89.99 or data is None)
    lat, lon = maps.off(start, north_m, east_m)
    if data is not None and abs(lat) < 85 and abs(lon) < 179.9:
        lat, lon = data.draw(maps.rim_places([cell_rings((lat, lon), 9)]))
    assume(abs(lat) <= 90 and abs(lon) <= 180)
    assert grown(cell_of(lat, lon)).covers(shapely.Point(lon, lat))


@pytest.mark.parametrize(
    "place",
    [
        *((90.0 - far_deg, lon) for far_deg in (0.0, 0.002, 0.004, 0.01, 0.1, 4.0) for lon in (-100.0, 0.0, 33.0)),
        *((lat, 180.0) for lat in (-89.9, -60.0, -17.0, -16.99, -16.98, 0.0, 65.0, 65.001, 65.002, 84.0)),
    ],
)
def test_a_cell_at_a_pole_or_across_the_antimeridian_is_held_as_a_whole(place: tuple[float, float]) -> None:
    for cell in h3.grid_disk(cell_of(*place), 1):
        centres = [h3.cell_to_latlng(child) for child in h3.cell_to_children(cell, 12)]
        places = [shapely.Point(lon, lat) for lat, lon in centres if cell_of(lat, lon) == cell]
        assert shapely.covers(grown(cell), places).all()


def test_a_part_that_touches_a_cell_does_not_hide_the_part_that_holds_it() -> None:
    cell = cell_of(40.75, -73.98)
    whole = [list(each) for each in grown(cell).exterior.coords]
    lon, lat = max(whole)
    tip = [[lon, lat], [lon + 0.001, lat - 0.001], [lon + 0.001, lat + 0.001], [lon, lat]]
    zones = Zones.parse(maps.collection(maps.feature("z", [whole], [tip])))
    assert found(zones, *h3.cell_to_latlng(cell)) == {"z"}


@pytest.mark.parametrize("place", [(87.0, 10.0), (89.999, -100.0), (-90.0, 0.0), (70.0, 179.999), (70.0, -179.999)])
def test_a_zone_near_a_pole_or_the_antimeridian_is_exact(place: tuple[float, float]) -> None:
    lat, lon = place
    south, north = max(-90.0, lat - 0.002), min(90.0, lat + 0.002)
    west, east = max(-180.0, lon - 0.01), min(180.0, lon + 0.01)
    zone = maps.feature("z", [[[west, south], [east, south], [east, north], [west, north], [west, south]]])
    zones = Zones.parse(maps.collection(zone))
    for y in range(-6, 7):
        for x in range(-6, 7):
            at = lat + y * 0.0005, lon + x * 0.0025
            if abs(at[0]) <= 90 and abs(at[1]) <= 180:
                assert found(zones, *at) == in_by_geometry([zone], *at)


def test_most_cells_of_a_large_zone_need_no_geometry() -> None:
    zones = Zones.parse(maps.collection(maps.feature("city", [maps.square((40.75, -73.98), 20_000.0)])))
    cells = h3.grid_disk(cell_of(40.75, -73.98), 30)
    for cell in cells:
        assert zones.at(*h3.cell_to_latlng(cell), cell) == ("city",)
    assert {zones._covers[cell] for cell in cells} == {Cover(("city",))}


def test_the_memory_of_cells_is_bounded_and_forgets_nothing_that_matters() -> None:
    small = Zones(list(Zones.parse(MANHATTAN.read_bytes())._zones.values()), max_cells=10)
    large = Zones.parse(MANHATTAN.read_bytes())
    cells = h3.grid_disk(cell_of(40.75, -73.98), 8)
    for cell in [*cells, *reversed(cells)]:
        place = h3.cell_to_latlng(cell)
        assert small.at(*place, cell) == large.at(*place, cell)
    assert len(small._covers) == 10


# --- how far it is from one ------------------------------------------------------------------------------------


def great_circle_m(rings: list[maps.Ring], lat: float, lon: float) -> float:
    """To the nearest point of the rings, by narrowing each edge down with the library's own distance."""

    def to_edge_m(a: list[float], b: list[float]) -> float:
        def at(share: float) -> float:
            place = (a[1] + share * (b[1] - a[1]), a[0] + share * (b[0] - a[0]))
            return float(h3.great_circle_distance((lat, lon), place, unit="m"))

        low, high = 0.0, 1.0
        for _ in range(60):
            third = (high - low) / 3
            low, high = (low, high - third) if at(low + third) < at(high - third) else (low + third, high)
        return at((low + high) / 2)

    return min(to_edge_m(a, b) for ring in rings for a, b in pairwise(ring))


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    margin_m=st.sampled_from([0.5, 15.0, 30.0, 1_000.0]),
    share=st.sampled_from([0.5, 0.995, 0.998, 1.002, 1.005, 2.0]),
)
def test_a_car_is_within_the_margin_up_to_so_many_metres(data: st.DataObject, margin_m: float, share: float) -> None:
    zone = data.draw(maps.zones("z"))
    zone["properties"]["exit_margin_m"] = margin_m
    zones = Zones.parse(maps.collection(zone))
    rings = maps.rings_of(zone)
    ring = data.draw(st.sampled_from(rings))
    lon, lat = data.draw(st.sampled_from(ring))
    bearing = data.draw(st.floats(0, math.tau))
    at = maps.off((lat, lon), share * margin_m * math.cos(bearing), share * margin_m * math.sin(bearing))
    assume(abs(at[1]) < 180)
    inside = bool(in_by_geometry([zone], *at))
    far_m = great_circle_m(rings, *at)
    assume(inside or abs(far_m / margin_m - 1) > 0.001)
    assert zones.within_margin("z", *at) == (inside or far_m < margin_m)


def test_a_border_of_many_vertices_is_measured_all_around() -> None:
    place, edges = (40.75, -73.98), 50
    zones = Zones.parse(maps.collection(maps.feature("z", [maps.star(place, [2_000.0] * edges)])))
    middle_m = 2_000.0 * math.cos(math.pi / edges)
    for edge in range(edges):
        angle = math.tau * (edge + 0.5) / edges
        for out_m, within in ((-1.0, True), (29.5, True), (30.5, False)):
            far_m = middle_m + out_m
            at = maps.off(place, far_m * math.sin(angle), far_m * math.cos(angle))
            assert zones.within_margin("z", *at) == within


def test_a_margin_of_nothing_ends_at_the_border() -> None:
    zones = Zones.parse(maps.collection(maps.feature("z", [SQUARE], exit_margin_m=0)))
    west, south = SQUARE[0]
    assert zones.within_margin("z", south, west)
    assert not zones.within_margin("z", south - 1e-9, west)


# --- the file --------------------------------------------------------------------------------------------------


def test_the_example_is_read_and_knows_manhattan() -> None:
    zones = Zones.parse(MANHATTAN.read_bytes())
    assert len(zones) == 3
    assert zones.kinds == {"manhattan": "service_area", "heliport-e34": "airport", "times-square": "no_pickup"}
    assert found(zones, 40.7484, -73.9857) == {"manhattan"}  # Empire State Building
    assert found(zones, 40.7580, -73.9850) == {"manhattan", "times-square"}
    assert found(zones, 40.7425, -73.9722) == {"manhattan", "heliport-e34"}
    assert found(zones, 40.7829, -73.9654) == set()  # in Central Park, the hole
    assert found(zones, 40.7033, -73.9903) == set()  # in Brooklyn


def test_a_file_may_hold_no_zone() -> None:
    zones = Zones.parse(maps.collection())
    assert len(zones) == 0
    assert found(zones, 40.75, -73.98) == set()


def test_an_id_may_be_the_features_own_or_a_number_and_the_rest_has_defaults() -> None:
    one = {"type": "Feature", "id": 7, "properties": {"kind": "airport", "stroke": "#f00"}, "geometry": {
        "type": "Polygon", "coordinates": [[[*each, 12.5] for each in reversed(SQUARE)]]}}  # fmt: skip
    zones = Zones.parse(maps.collection(one))
    zone = zones.zone("7")
    assert (zone.name, zone.dwell_s, zone.exit_margin_m) == ("", None, DEFAULT_EXIT_MARGIN_M)
    assert found(zones, 40.75, -73.98) == {"7"}


BOW_TIE = [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


def ring_of(*positions: Any) -> list[Any]:
    return [list(positions)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"type":"Feature"}', "FeatureCollection"),
        (b"[]", "FeatureCollection"),
        (b'{"type":"FeatureCollection"}', "features"),
        (maps.collection({"type": "Point"}), "feature 1: it is not a GeoJSON Feature"),
        (b'{"type":"FeatureCollection","features":[7]}', "feature 1: it is not a GeoJSON Feature"),
        (maps.collection({"type": "Feature", "properties": None}), "feature 1: it has no id"),
        (maps.collection(maps.feature("a:b", [SQUARE])), "feature 1: its id must be"),
        (maps.collection(maps.feature("", [SQUARE])), "its id must be"),
        (maps.collection(maps.feature("a", [SQUARE]), maps.feature("a", [SQUARE])), 'feature 2 "a": another feature'),
        (maps.collection(maps.feature("a", [SQUARE], kind=None)), "`kind` must be"),
        (maps.collection(maps.feature("a", [SQUARE], kind="two words")), "`kind` must be"),
        (maps.collection(maps.feature("a", [SQUARE], name=7)), "`name` must be"),
        (maps.collection(maps.feature("a", [SQUARE], dwell_s=0)), "`dwell_s` must be more than 0"),
        (maps.collection(maps.feature("a", [SQUARE], dwell_s=True)), "`dwell_s` must be a number"),
        (maps.collection(maps.feature("a", [SQUARE], dwell_s=10**400)), "`dwell_s` must be a number"),
        (maps.collection(maps.feature("a", [SQUARE], dwell_s="60")), "`dwell_s` must be a number"),
        (maps.collection(maps.feature("a", [SQUARE], exit_margin_m=-1)), "`exit_margin_m` must be between"),
        (maps.collection(maps.feature("a", [SQUARE], exit_margin_m=1_001)), "`exit_margin_m` must be between"),
        (maps.collection({**maps.feature("a", [SQUARE]), "geometry": None}), "geometry is none"),
        (maps.collection({**maps.feature("a", [SQUARE]), "geometry": {"type": "Point"}}), "geometry is Point"),
        (maps.collection(maps.feature("a", [])), "without rings"),
        (maps.collection(maps.feature("a", ring_of([0, 0], [1, 1], [0, 0]))), "fewer than 4"),
        (maps.collection(maps.feature("a", ring_of([0, 0], [1, 0], [1, 1], [0, 1]))), "not closed"),
        (maps.collection(maps.feature("a", ring_of([0, 0], [1, 0], [1, "1"], [0, 0]))), "not [lon, lat]"),
        (maps.collection(maps.feature("a", ring_of([0, 0], [1, 0], [1], [0, 0]))), "not [lon, lat]"),
        (maps.collection(maps.feature("a", [BOW_TIE])), 'feature 1 "a": its geometry is not valid'),
        (maps.collection(maps.feature("a", [BOW_TIE])), "Self-intersection"),
        (maps.collection(maps.feature("a", [SQUARE], [SQUARE])), "not valid"),
        (maps.collection(maps.feature("a", ring_of([0, 0], [1, 0], [2, 0], [0, 0]))), "not valid"),
        (maps.collection(maps.feature("a", ring_of([51.5, 103.8], [51, 103], [51, 104], [51.5, 103.8]))), "swapped?"),
        (maps.collection(maps.feature("a", ring_of([5e6, 6e6], [0, 0], [1, 1], [5e6, 6e6]))), "WGS84 degrees"),
        (maps.collection(maps.feature("a", ring_of([179, 0], [-179, 0], [-179, 1], [179, 0]))), "antimeridian"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_feature_and_the_fault(wrong: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=r"^zones: [^\n]+$") as refused:
        Zones.parse(wrong)
    assert says in str(refused.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "id", "coordinates"]), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    value=json_values, at=st.sampled_from(["feature", "properties", "geometry", "id", "coordinates", "polygon", "ring"])
)
def test_whatever_stands_in_a_file_it_is_read_or_refused(value: Any, at: str) -> None:
    one: Any = maps.feature("a", [SQUARE])
    match at:
        case "feature":
            one = value
        case "properties" | "geometry":
            one[at] = value
        case "id":
            one["properties"]["id"] = value
        case "coordinates":
            one["geometry"]["coordinates"] = value
        case "polygon":
            one["geometry"]["coordinates"] = [value]
        case "ring":
            one["geometry"]["coordinates"] = [[*SQUARE[:2], value, *SQUARE[2:]]]
    text = json.dumps({"type": "FeatureCollection", "features": [one]}).encode()
    refusal = ""
    try:
        Zones.parse(text)
    except ValueError as refused:
        refusal = str(refused)
    assert refusal.startswith("zones: feature 1") or not refusal
