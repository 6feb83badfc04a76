"""A city may be cut to an area: only roads in it are left, and every place still leads to every other."""

from __future__ import annotations

from pathlib import Path

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.roads.network import RoadNetwork, RoadsError, load_manhattan
from simulator.scenarios.city import holds_road, load_city, within
from simulator.scenarios.scenario import Area, City


def test_the_whole_of_manhattan_is_the_city_where_nothing_is_said() -> None:
    assert load_city(City()).positions == load_manhattan().positions


def test_an_area_holds_only_what_lies_in_it() -> None:
    area = Area(lat=40.7505, lon=-73.9934, radius_m=1_200)
    roads = load_city(City(area=area))
    assert 100 < len(roads.positions) < 1_000
    assert all(
        h3.great_circle_distance((area.lat, area.lon), place, unit="m") <= area.radius_m for place in roads.positions
    )


def test_an_area_without_roads_is_refused() -> None:
    with pytest.raises(RoadsError, match=r"city\.area"):
        load_city(City(area=Area(lat=0, lon=0, radius_m=1_000)))


def test_a_city_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,lat,lon\na,0,0\nb,0,0.01\n")
    (tmp_path / "e.csv").write_text("from,to,speed_kph\na,b,30\nb,a,30\n")
    assert len(load_city(City(nodes=str(tmp_path / "n.csv"), edges=str(tmp_path / "e.csv"))).links) == 2


@given(
    st.sampled_from([0.0, 40.75, -60.0]),
    st.lists(st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)), min_size=2, max_size=2),
    st.floats(1, 2_000),
)
def test_a_road_comes_into_an_area_if_any_place_on_it_does(
    lat: float, ends: list[tuple[float, float]], radius_m: float
) -> None:
    roads = RoadNetwork([(lat + north, 13 + east) for north, east in ends], [(0, 1, 10.0), (1, 0, 10.0)])
    length_m = roads.links[0].length_m
    nearest_m = min(
        h3.great_circle_distance((lat, 13.0), roads.along(0, length_m * step / 500), unit="m") for step in range(501)
    )
    # Flat ground is off by less than a metre here, and steps are of up to 6 m.
    if abs(nearest_m - radius_m) > 7:
        assert holds_road(roads, Area(lat=lat, lon=13.0, radius_m=radius_m)) == (nearest_m < radius_m)


@st.composite
def rings_with_tails(draw: st.DrawFn) -> RoadNetwork:
    """A ring of places near and far, so that a circle cuts it anywhere, with shortcuts across."""
    size = draw(st.integers(3, 12))
    positions = [(0.0, 0.001 * draw(st.integers(0, 20))) for _ in range(size)]
    ends = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda pair: pair[0] != pair[1])
    links = [(node, (node + 1) % size) for node in range(size)] + draw(st.lists(ends, max_size=15))
    return RoadNetwork(positions, [(a, b, 10.0) for a, b in links])


@given(rings_with_tails(), st.integers(100, 3_000))
@settings(max_examples=200, deadline=None)
def test_what_is_left_is_the_largest_part_in_which_all_places_reach_each_other(
    roads: RoadNetwork, radius_m: int
) -> None:
    centre = (0.0, 0.01)
    inside = [
        node
        for node, place in enumerate(roads.positions)
        if h3.great_circle_distance(centre, place, unit="m") <= radius_m
    ]
    reach = {(a, b): a == b for a in inside for b in inside}
    for link in roads.links:
        if (link.from_node, link.to_node) in reach:
            reach[link.from_node, link.to_node] = True
    for via in inside:
        for a in inside:
            for b in inside:
                reach[a, b] |= reach[a, via] and reach[via, b]
    largest = max((sum(reach[a, b] and reach[b, a] for b in inside) for a in inside), default=0)
    if largest < 2:
        with pytest.raises(RoadsError):
            within(roads, Area(lat=centre[0], lon=centre[1], radius_m=radius_m))
        return
    # RoadNetwork itself refuses places that do not reach each other.
    cut = within(roads, Area(lat=centre[0], lon=centre[1], radius_m=radius_m))
    assert len(cut.positions) == largest
    assert set(cut.positions) <= {roads.positions[node] for node in inside}
