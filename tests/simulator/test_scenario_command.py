"""`simulate SCENARIO` as a user runs it without a system: what there is, a dry run, and one line for each mistake."""

from __future__ import annotations

import gzip
import re
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
    assert all(re.search(r"\([\d,]+ drivers, [\d,]+ riders, (\d+ s|until stopped)\)$", line) for line in lines)


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
    told = complaint(capsys, str(mine), *DRY, "--record", "x.csv")
    assert "bounds.ghosts: unknown member" in told
    mine.write_text('title = "T"\nduration_s = 5\n[fleet]\ndrivers = 3\n[[faults]]\nkind = "gloss"\n')
    assert "gloss" in complaint(capsys, str(mine), *DRY, "--record", "x.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["tunnel", "--dry-run", "--record", "x.csv"], "--start"),
        (["tunnel", *DRY], "--record"),
        (["city", *DRY, "--record", "x.csv"], "--duration-s"),
        (["tunnel", "--dry-run", "--record", "x.csv", "--start", "soon"], "ISO 8601"),
        (["tunnel", "--interval-s", "2"], "fleet.interval_s"),
        (["tunnel", "--token", "eyJ-a-secret"], "RIDESTREAM_JWT_KEY"),
        (["tunnel", "--roads", "no-nodes.csv", "no-edges.csv", *DRY, "--record", "x.csv"], "no-nodes.csv"),
        (["tunnel"], "RIDESTREAM_JWT_KEY"),
        (["--report", "x.html"], "--report"),
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
