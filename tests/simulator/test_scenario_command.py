"""`simulate SCENARIO` as a user runs it without a system: what there is, a dry run, and one line for each mistake."""

from __future__ import annotations

import gzip
import json
import platform
import re
import sys
from pathlib import Path

import pytest

from simulator.__main__ import main
from simulator.runs.report import OK, USAGE
from simulator.scenarios.shipped import scenario_names

KEY = "a key for tests that is long enough to sign"
DRY = ["--dry-run", "--start", "2026-01-01T08:00:00Z"]
SMALLER = ["--drivers", "12", "--duration-s", "6"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no `ridestream run` has left a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RIDESTREAM_JWT_KEY", raising=False)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["simulate", *arguments]) == USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("ridestream simulate: ")
    assert told.err.count("\n") == 1
    return told.err


def test_the_list_names_every_shipped_scenario_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--list"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == scenario_names()
    assert all(
        re.search(r"\([\d,]+ drivers, [\d,]+ riders, [\w ]*trips[\w ]*, (\d+ s|until stopped)\)$", line)
        for line in lines
    )


def test_a_dry_run_twice_writes_the_same_bytes_and_another_seed_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    for file, seed in (("a.csv.gz", "7"), ("b.csv.gz", "7"), ("c.csv.gz", "8")):
        assert main(["simulate", "tunnel", *SMALLER, "--seed", seed, *DRY, "--record", file]) == OK
    a, b, c = (Path(f"{name}.csv.gz").read_bytes() for name in "abc")
    assert a == b != c
    told = capsys.readouterr().out.splitlines()
    assert told[0] == told[1] != told[2]
    pings = len(gzip.decompress(a).splitlines()) - 1
    assert re.fullmatch(rf"recorded {pings:,} pings of 12 drivers;.* fingerprint [0-9a-f]{{64}}", told[0])


def test_a_scenario_of_ones_own_on_roads_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes, edges, mine = tmp_path / "n.csv", tmp_path / "e.csv", tmp_path / "mine.toml"
    nodes.write_text("id,lat,lon\na,52.0,13.0\nb,52.0,13.01\n")
    edges.write_text("from,to,speed_kph\na,b,30\nb,a,30\n")
    mine.write_text('title = "Two places"\nduration_s = 5\n[fleet]\ndrivers = 3\n')
    roads = ["--roads", str(nodes), str(edges)]
    assert main(["simulate", str(mine), *roads, *DRY, "--record", "mine.csv"]) == OK
    rows = Path("mine.csv").read_text().splitlines()[1:]
    assert len(rows) == 15
    assert all(",51.99" in row or ",52.0" in row for row in rows)
    capsys.readouterr()


def test_a_scenario_that_is_not_there_is_named_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    told = complaint(capsys, "rush_our", *DRY, "--record", "x.csv")
    assert "rush_our" in told
    assert "rush_hour" in told


def test_all_that_is_wrong_with_a_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "T"\nduration_s = 5\n[fleet]\ndrivers = 3\n[[faults]]\nkind = "gloss"\n[bounds]\nghosts = 1\n'
    )
    for doing in (["--check"], [*DRY, "--record", "x.csv"]):
        told = complaint(capsys, str(mine), *doing)
        assert "bounds.ghosts: unknown member" in told
        assert "faults[0].kind: there is no 'gloss', did you mean loss?" in told


def test_a_check_says_in_a_line_what_would_be_played_and_needs_no_system(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "thousand_cuts", "--check", "--drivers", "12"]) == OK
    told = capsys.readouterr()
    assert told.err == ""
    assert re.fullmatch(
        r"thousand_cuts can be played: .+ \(12 drivers, \d+ riders, \d+ trips, 75 s; faults: .*loss, .*riders: .+\)\n",
        told.out,
    )
    assert main(["simulate", "city", "--check", "--json"]) == OK
    told_json = json.loads(capsys.readouterr().out)
    assert (told_json["scenario"], told_json["drivers"], told_json["duration_s"]) == ("city", 200, None)
    assert told_json["trips"] is None
    assert told_json["trips_per_min"] > 0
    assert told_json["faults"] == []


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_passes_the_check(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", name, "--check"]) == OK
    assert capsys.readouterr().out.startswith(f"{name} can be played: ")


def test_the_city_and_the_requests_are_told_with_the_scenario_and_their_member_all_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, head = tmp_path / "mine.toml", 'title = "T"\nduration_s = 5\n[fleet]\ndrivers = 3\n'
    (tmp_path / "n.csv").write_text("id,lat,lon\na,52.0,13.0\nb,52.0,13.01\n")
    (tmp_path / "e.csv").write_text("from,to,speed_kph\na,x,30\n")
    nobody = "[demand]\nfile = 'nobody.csv'\n"

    def told(text: str) -> str:
        mine.write_text(head + text)
        return complaint(capsys, str(mine), "--check").removeprefix("ridestream simulate: ").strip()

    at_sea = "[city]\narea = {lat = 0, lon = 0, radius_m = 9}\n"
    assert told(at_sea + nobody) == (
        "mine.toml: city.area: holds no roads that lead from one place to another; move it or make it larger; "
        f"demand.file: {tmp_path / 'nobody.csv'}: No such file or directory"
    )
    assert told("[city]\nnodes = 'n.csv'\nedges = 'no.csv'\n") == (
        f"mine.toml: city.edges: {tmp_path / 'no.csv'}: No such file or directory"
    )
    assert told("[city]\nnodes = 'n.csv'\nedges = 'e.csv'\n").startswith("mine.toml: city.edges: e.csv: row 2: ")
    (tmp_path / "n.csv").write_bytes(b"\xff\xfe\0")
    assert told("[city]\nnodes = 'n.csv'\nedges = 'e.csv'\n").startswith(
        "mine.toml: city: nodes and edges must each be"
    )
    far = "[demand]\nrate_per_min = 9\nhot_spots = [{lat = 0, lon = 0, sigma_m = 9, share = 1}]\n"
    assert told(far).startswith("mine.toml: demand.hot_spots[0]: is ")


def test_a_tunnel_that_no_road_of_the_city_comes_into_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One in the middle of a long road, far from its ends, is none of these."""
    nodes, edges, mine = tmp_path / "n.csv", tmp_path / "e.csv", tmp_path / "mine.toml"
    nodes.write_text("id,lat,lon\na,52.0,13.0\nb,52.0,13.01\n")
    edges.write_text("from,to,speed_kph\na,b,30\nb,a,30\n")

    def tunnel(lat: float, lon: float) -> str:
        where = f"area = {{ lat = {lat}, lon = {lon}, radius_m = 50 }}"
        return f"[[faults]]\nkind = 'tunnel'\nflush = 'in_order'\n{where}\n"

    mine.write_text('title = "T"\n[fleet]\ndrivers = 3\n' + tunnel(52.0004, 13.005) + tunnel(52.0005, 13.005))
    told = complaint(capsys, str(mine), "--check", "--roads", str(nodes), str(edges))
    assert "mine.toml: faults[1].area: holds no road of this city" in told
    assert "faults[0]" not in told
    told = complaint(capsys, "tunnel", "--check", "--roads", str(nodes), str(edges))
    assert told.startswith("ridestream simulate: tunnel.toml: ")
    assert "; faults[0].area: holds no road of this city" in told


def test_a_check_names_no_fault_that_a_shorter_run_ends_before(capsys: pytest.CaptureFixture[str]) -> None:
    for duration_s, faults in (("15", []), ("23", ["riders: reconnect", "riders: half_open"])):
        assert main(["simulate", "reconnect_storm", "--check", "--json", "--duration-s", duration_s]) == OK
        assert json.loads(capsys.readouterr().out)["faults"] == faults


def test_a_dry_run_tells_a_program_what_it_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "tunnel", *SMALLER, *DRY, "--record", "a.csv", "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["result"] == "recorded"
    assert (told["drivers"], told["pings"]) == (12, len(Path("a.csv").read_text().splitlines()) - 1)
    assert re.fullmatch("[0-9a-f]{64}", told["pings_sha256"])
    assert told["trips_requested"] >= told["trips_done"] >= 0
    assert main(["simulate", "--drivers", "3", "--duration-s", "2", *DRY, "--record", "b.csv", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == {"result": "recorded", "drivers": 3, "pings": 6}


@pytest.mark.skipif(
    (sys.platform, platform.machine(), sys.version_info[:2]) != ("linux", "x86_64", (3, 11)),
    reason="the last digit of a sine, and with it the fingerprint, is another one elsewhere",
)
def test_the_page_shows_the_pings_and_the_fingerprint_that_tunnel_has(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    shown = re.search(r"^sent +([\d,]+)  pings, fingerprint (\w+)$", page, re.MULTILINE)
    assert shown is not None
    assert main(["simulate", "tunnel", *DRY, "--record", "a.csv", "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert (shown[1], shown[2]) == (f"{told['pings']:,}", told["pings_sha256"][:16])


def test_a_recording_that_is_there_outlives_every_run_that_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "keep.csv.gz"
    assert main(["simulate", "tunnel", *SMALLER, *DRY, "--record", str(kept)]) == OK
    capsys.readouterr()
    before = kept.read_bytes()
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "T"\nduration_s = 5\n[fleet]\ndrivers = 3\n[demand]\nfile = "nofile.csv"\n')
    complaint(capsys, str(mine), *DRY, "--record", str(kept))
    complaint(capsys, "tunnel", "--dry-run", "--start", "soon", "--record", str(kept))
    complaint(capsys, "tunnel", "--record", str(kept))  # no key
    monkeypatch.setenv("RIDESTREAM_JWT_KEY", KEY)
    nobody = ["--url", "http://127.0.0.1:9", "--wait-s", "0.1"]
    complaint(capsys, "tunnel", "--record", str(kept), *nobody)
    complaint(capsys, "--record", str(kept), *nobody)
    assert kept.read_bytes() == before
    complaint(capsys, "tunnel", *DRY, "--record", str(tmp_path))
    complaint(capsys, "tunnel", "--record", "new.csv", *nobody)
    assert not Path("new.csv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["tunnel", "--dry-run", "--record", "x.csv"], "--dry-run needs --start\n"),
        (["tunnel", *DRY], "--dry-run needs --record\n"),
        (["tunnel", "--dry-run"], "--dry-run needs --record and --start\n"),
        (["tunel", "--dry-run"], "did you mean tunnel?"),
        (["city", *DRY, "--record", "x.csv"], "--dry-run needs --duration-s\n"),
        (["tunnel", "--dry-run", "--record", "x.csv", "--start", "soon"], "ISO 8601"),
        (["tunnel", "--interval-s", "2"], "fleet.interval_s"),
        (["tunnel", "--token", "eyJ-a-secret"], "RIDESTREAM_JWT_KEY"),
        (["tunnel", "--roads", "no-nodes.csv", "no-edges.csv", *DRY, "--record", "x.csv"], "--roads: no-nodes.csv: "),
        (["tunnel"], "RIDESTREAM_JWT_KEY"),
        (["--report", "x.html"], "--report"),
        (["--check"], "--check go with a scenario"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = complaint(capsys, *options)
    assert said in told
    assert "eyJ" not in told


def test_without_a_system_nothing_is_played(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIDESTREAM_JWT_KEY", KEY)
    nobody = ["--url", "http://127.0.0.1:9", "--wait-s", "0.2"]
    assert "http://127.0.0.1:9" in complaint(capsys, "quiet_night", *SMALLER, "--no-report", *nobody)
