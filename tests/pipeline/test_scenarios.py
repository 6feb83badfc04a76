"""Every shipped scenario but the largest keeps all promises on the embedded engines; what it posts is the dry run's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.services import free_ports
from simulator.scenarios.shipped import scenario_names

pytestmark = [pytest.mark.pipeline, pytest.mark.scenarios, pytest.mark.timeout(600)]

#: `rush_hour` is a benchmark (docs/benchmarks.md), and the demo has no end.
PLAYED = sorted(set(scenario_names()) - {"rush_hour", "city"})
#: How fast it was says more of the machine, and of what else that did, than of the code: `make bench` is for that.
SPEEDS = {"latency", "latency_p99_ms", "position_error_p99_m"}


def ridestream(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **free_ports()}
    command = [sys.executable, "-m", "infra.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


@pytest.mark.parametrize("name", PLAYED)
def test_a_shipped_scenario_keeps_its_promises(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    played = ridestream(tmp_path, "run", "--scenario", name, "--", "--report", "report.html", "--quiet")
    told = json.loads((tmp_path / "report.json").read_text())
    broken = [verdict for verdict in told["verdicts"] if not verdict["ok"]]
    lies = [verdict for verdict in broken if verdict["name"] not in SPEEDS]
    assert (played.returncode, lies) == (bool(broken), []), played.stdout[-2_000:] + played.stderr[-2_000:]
    for name_ in ("requested", "done"):
        record_property(f"trips_{name_}", told["trips"].get(name_, 0))
    record_property("latency_p99_ms", next(v["found"] for v in told["verdicts"] if v["name"] == "latency_p99_ms"))
    recorded = ridestream(
        tmp_path, "simulate", name, "--dry-run", "--record", "dry.csv.gz", "--start", "2026-01-01T08:00:00Z"
    )
    trips = told["trips"]
    assert trips["pings_sha256"] in recorded.stdout
    assert f"; {trips['done']} of {trips['requested']} trips done; " in recorded.stdout
    assert trips["judged"] >= trips["done"] > 0
