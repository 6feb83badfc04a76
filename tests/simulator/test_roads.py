"""Routes are the fastest, and roads are where the map has them."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.roads.manhattan.derive import derive
from simulator.roads.network import LINKS_FILE, NODES_FILE, RoadNetwork, RoadsError, load_manhattan, load_network


@pytest.fixture(scope="module")
def manhattan() -> RoadNetwork:
    return load_manhattan()


def floyd_warshall(roads: RoadNetwork) -> list[list[float]]:
    """The slow, plain oracle: least travel times between all nodes, in ms."""
    nodes = range(len(roads.positions))
    times = [[0.0 if a == b else float("inf") for b in nodes] for a in nodes]
    for link in roads.links:
        times[link.from_node][link.to_node] = min(times[link.from_node][link.to_node], link.travel_ms)
    for via in nodes:
        for a in nodes:
            for b in nodes:
                times[a][b] = min(times[a][b], times[a][via] + times[via][b])
    return times


@st.composite
def small_networks(draw: st.DrawFn) -> RoadNetwork:
    """A ring, so that all is connected, with shortcuts, parallels and equal costs."""
    size = draw(st.integers(2, 9))
    spots = st.tuples(st.integers(0, 4), st.integers(0, 4))
    positions = [(0.001 * lat, 0.001 * lon) for lat, lon in draw(st.lists(spots, min_size=size, max_size=size))]
    ends = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda pair: pair[0] != pair[1])
    links = [(node, (node + 1) % size) for node in range(size)] + draw(st.lists(ends, max_size=20))
    return RoadNetwork(positions, [(a, b, draw(st.sampled_from([5.0, 10.0, 20.0]))) for a, b in links])


@given(small_networks())
@settings(max_examples=200, deadline=None)
def test_a_route_takes_as_long_as_the_brute_force_says(roads: RoadNetwork) -> None:
    times = floyd_warshall(roads)
    for origin in range(len(roads.positions)):
        for destination in range(len(roads.positions)):
            route = roads.route(origin, destination)
            assert roads.travel_ms(route) == times[origin][destination]
            assert_leads(roads, route, origin, destination)


def assert_leads(roads: RoadNetwork, route: list[int], origin: int, destination: int) -> None:
    links = [roads.links[number] for number in route]
    assert (links[0].from_node, links[-1].to_node) == (origin, destination) if links else origin == destination
    assert all(a.to_node == b.from_node for a, b in pairwise(links))


def test_every_place_of_manhattan_can_be_reached(manhattan: RoadNetwork) -> None:
    assert (len(manhattan.positions), len(manhattan.links)) == (4197, 7529)
    for node in range(1, len(manhattan.positions), 400):
        assert_leads(manhattan, manhattan.route(0, node), 0, node)
        assert_leads(manhattan, manhattan.route(node, 0), node, 0)


def test_a_route_is_the_same_each_time_also_where_two_are_equally_fast() -> None:
    corners = [(0.0, 0.0), (0.0, 0.001), (0.001, 0.0), (0.001, 0.001)]
    sides = [(0, 1, 10.0), (1, 3, 10.0), (0, 2, 10.0), (2, 3, 10.0), (3, 0, 10.0)]
    routes = {tuple(RoadNetwork(corners, sides).route(0, 3)) for _ in range(5)}
    assert len(routes) == 1


def test_a_link_is_as_long_as_the_distance_between_its_ends(manhattan: RoadNetwork) -> None:
    for number, link in enumerate(manhattan.links[::50]):
        start, end = manhattan.positions[link.from_node], manhattan.positions[link.to_node]
        assert link.length_m == pytest.approx(max(0.1, h3.great_circle_distance(start, end, unit="m")))
        number *= 50
        assert manhattan.along(number, 0.0) == pytest.approx(start)
        assert manhattan.along(number, link.length_m) == pytest.approx(end)
        assert h3.great_circle_distance(start, manhattan.along(number, link.length_m / 2), unit="m") == pytest.approx(
            link.length_m / 2, rel=1e-3, abs=0.01
        )


def test_a_link_that_goes_east_heads_east() -> None:
    roads = RoadNetwork([(0.0, 0.0), (0.0, 0.01), (0.01, 0.01)], [(0, 1, 10.0), (1, 2, 10.0), (2, 0, 10.0)])
    assert [round(link.heading_deg) for link in roads.links] == [90, 0, 225]


def test_the_shipped_network_is_what_the_script_derives_and_is_small(shared_data: Path, tmp_path: Path) -> None:
    derive(shared_data / "manhattan/nodes.csv.gz", shared_data / "manhattan/edges.csv.gz", tmp_path)
    shipped = Path(__file__).resolve().parents[2] / "simulator/roads/manhattan"
    for name in (NODES_FILE, LINKS_FILE):
        # Compared unzipped: zlib's own version may choose other bytes for the same content.
        assert gzip.decompress((tmp_path / name).read_bytes()) == gzip.decompress((shipped / name).read_bytes())
    assert sum((shipped / name).stat().st_size for name in (NODES_FILE, LINKS_FILE)) < 100_000


def test_the_original_tables_can_be_driven_too(shared_data: Path) -> None:
    roads = load_network(shared_data / "manhattan/nodes.csv.gz", shared_data / "manhattan/edges.csv.gz")
    assert len(roads.positions) == 4197


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("id,lat,lon\na,1,2\n", "from,to,speed_kph\n", "edges.csv: no links"),
        ("id,lat\na,1\n", "", "nodes.csv: row 2: column lng is missing or empty"),
        ("id,lat,lon\na,1,2\nb,x,2\n", "", "nodes.csv: row 3: column lat is not a number"),
        ("id,lat,lon\na,91,2\n", "", "nodes.csv: row 2: column lat is out of range (±90)"),
        ("id,lat,lon\na,nan,2\n", "", "nodes.csv: row 2: column lat is out of range (±90)"),
        (
            "id,lat,lon\na,1,2\nb,1,3\n",
            "from,to,speed_kph\na,c,30\n",
            "edges.csv: row 2: from and to must be ids of nodes.csv, speed_kph > 0",
        ),
        ("id,lat,lon\na,1,2\nb,1,3\n", "from,to,speed_kph\na,b,30\n", "road network: some nodes cannot be reached"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_line(tmp_path: Path, nodes: str, edges: str, message: str) -> None:
    (tmp_path / "nodes.csv").write_text(nodes)
    (tmp_path / "edges.csv").write_text(edges)
    with pytest.raises(RoadsError) as refused:
        load_network(tmp_path / "nodes.csv", tmp_path / "edges.csv")
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
