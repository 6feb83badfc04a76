"""Requests of the real world come from a table, and each place has its nearest corner."""

from __future__ import annotations

import gzip
from pathlib import Path

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.demand.nyc.derive import derive
from simulator.demand.recorded import REQUESTS_FILE, Recorded, RequestsError, parse_requests, read_requests
from simulator.roads.nearest_node import NearestNode

HEADER = "time,o_lat,o_lon,d_lat,d_lon"
places = st.tuples(st.floats(-80, 80), st.floats(-180, 180))
near_places = st.tuples(st.floats(40.70, 40.72), st.floats(-74.01, -73.99))


@given(
    st.one_of(st.lists(places, min_size=1, max_size=20), st.lists(near_places, min_size=1, max_size=20)), near_places
)
@settings(max_examples=200, deadline=None)
def test_the_nearest_node_is_the_nearest(nodes: list[tuple[float, float]], place: tuple[float, float]) -> None:
    distances_m = [h3.great_circle_distance(place, node, unit="m") for node in nodes]
    node, away_m = NearestNode(nodes).find(*place)
    assert distances_m[node] == pytest.approx(min(distances_m), abs=0.2)
    assert away_m == pytest.approx(distances_m[node], abs=0.2)
    between = NearestNode(nodes).between(*place, 500, 2_000)
    assert set(between) >= {n for n, d in enumerate(distances_m) if 501 < d < 1_999}
    assert set(between) <= {n for n, d in enumerate(distances_m) if 499 < d < 2_001}


def test_a_table_of_ones_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv.gz"
    file.write_bytes(gzip.compress(f"{HEADER},who\n23:59,1,2,3,4,me\n00:00:30,1,2,3,4.5,you\n".encode()))
    assert read_requests(str(file)) == [Recorded(86_340, 60, 1, 2, 3, 4), Recorded(30, 1, 1, 2, 3, 4.5)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "needs the columns time, .* there is no time"),
        (["time,o_lat,o_lon,d_lat"], "there is no d_lon"),
        ([HEADER], "x: no requests"),
        ([HEADER, "25:00,1,2,3,4"], "row 2: time must be HH:MM"),
        ([HEADER, "12:00,1,2,3,4", "12:00,1,,3,4"], "row 3: o_lon is not a number"),
        ([HEADER, "12:00,1,2,3"], "row 2: d_lon is not a number"),
        ([HEADER, "12:00,95,2,3,4"], "row 2: o_lat is out of range"),
        ([HEADER, "12:00,nan,2,3,4"], "row 2: o_lat is out of range"),
    ],
)
def test_a_bad_row_is_named(lines: list[str], says: str) -> None:
    with pytest.raises(RequestsError, match=says):
        parse_requests(lines, "x")


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "torn.csv.gz"
    file.write_bytes(gzip.compress((f"{HEADER}\n" + "12:00,1,2,3,4\n" * 100).encode())[:-4])
    with pytest.raises(RequestsError, match=r"torn.csv.gz: neither"):
        read_requests(str(file))


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    """A quote that never ends makes one field of the rest of the file, more than a CSV may hold."""
    file = tmp_path / "film.csv"
    file.write_text('time,o_lat,o_lon,d_lat,d_lon\n"' + "0" * 200_000)
    with pytest.raises(RequestsError, match=r"film.csv: neither"):
        read_requests(str(file))


def test_the_shipped_requests_are_what_the_script_derives(shared_data: Path, tmp_path: Path) -> None:
    derive(shared_data / "manhattan" / "nyc_20k_requests_2014-12-21.csv.gz", tmp_path)
    shipped = Path(derive.__code__.co_filename).parent / REQUESTS_FILE
    assert gzip.decompress((tmp_path / REQUESTS_FILE).read_bytes()) == gzip.decompress(shipped.read_bytes())
    assert shipped.stat().st_size < 120_000
