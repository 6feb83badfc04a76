"""A small scenario on a whole system: it passes where promises are kept, and names the lie where one is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.engines import EMBEDDED
from tests.pipeline.system import System

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]

#: Long enough for every promise to settle (3 s) and to be looked at several times. One phone in two leaps now and then,
#: not so far that riders would not be told.
SCENARIO = """
title = "A few blocks"
duration_s = 7
seed = 3
[city]
area = { lat = 40.7580, lon = -73.9855, radius_m = 500 }
[fleet]
drivers = 40
[demand]
trips = 3
until_s = 1
trip_m = [100, 400]
boarding_s = [1, 3]
[riders]
map = 10
radius_m = 400
walk_after_s = [60, 90]
[[faults]]
kind = "teleport"
from_s = 2
share = 0.5
rate = 0.2
distance_m = 300
[bounds]
latency_p99_ms = 5000
position_error_p99_m = 60
"""
#: As shipped (docs/configuration.md); the tests of other modules let no car grow old.
SHIPPED = {"stale_after_ms": 30_000, "gone_after_ms": 120_000}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(EMBEDDED, tmp_path_factory.mktemp("played"), lambda: "wall", **SHIPPED) as system:
        yield system


def play(system: System, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """In a folder of its own; ports and key are the system's, from the environment."""
    (folder / "blocks.toml").write_text(SCENARIO)
    command = [sys.executable, "-m", "simulator", "simulate", "blocks.toml", "--quiet", *options]
    env = {**os.environ, **system.env, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=200)


def test_a_scenario_passes_and_writes_its_report(system: System, tmp_path: Path) -> None:
    played = play(system, tmp_path, "--report", "report.html")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "promises were kept" in played.stdout
    twin = json.loads((tmp_path / "report.json").read_text())
    assert all(verdict["ok"] for verdict in twin["verdicts"])
    assert (twin["result"], twin["trips"]["judged"]) == ("passed", 3)
    found = {verdict["name"]: verdict["found"] for verdict in twin["verdicts"]}
    assert found["screens_judged"] >= 10
    assert found["latency_p99_ms"] > 0
    assert "A few blocks" in (tmp_path / "report.html").read_text()


@pytest.mark.scenarios
def test_a_worker_that_believes_leaps_is_found_out(system: System, tmp_path: Path) -> None:
    # Faster than any plane: a phone that leaps is shown where it leapt, as if its car had driven there.
    system.restart_with(max_speed_mps=1_000_000)
    played = play(system, tmp_path, "--no-report")
    assert played.returncode == 1, played.stdout + played.stderr
    told = next(line for line in played.stdout.splitlines() if line.startswith("BROKEN ghost"))
    assert "this fix must not be shown: kept" in told
    assert "promises were broken" in played.stdout
