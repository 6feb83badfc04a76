"""Every shipped scenario with an end but the largest keeps all promises on the embedded engines, though it may be slow.

What it posts is what its dry run says. How slow it may be says `MORE`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.services import free_ports
from simulator.scenarios.shipped import scenario_names

pytestmark = [pytest.mark.pipeline, pytest.mark.scenarios, pytest.mark.timeout(600)]

#: `rush_hour` is a benchmark (docs/benchmarks.md), and the demo has no end.
PLAYED = sorted(set(scenario_names()) - {"rush_hour", "city"})
#: How fast it was says more of the machine, and of what else that did, than of the code: `make bench` is for that. So
#: here these may be above the scenario's bounds by so much, and no more.
MORE = {
    # Answers of `GET /v1/nearby` that took 2 s.
    "latency": 10,
    # To the 5 s of a scenario that says nothing of its latency.
    "latency_p99_ms": 4_250,
    # What a car drives in 10 s in a city.
    "position_error_p99_m": 150,
}


def slow(verdict: dict[str, Any]) -> bool:
    """Whether a broken promise may be the machine's doing."""
    name, found = verdict["name"], verdict["found"]
    return name in MORE and found is not None and found <= verdict["bound"] + MORE[name]


def ridestream(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **free_ports()}
    command = [sys.executable, "-m", "infra.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


def test_only_what_a_slow_machine_can_do_is_put_down_to_it() -> None:
    def broken(name: str, bound: float, found: float | None) -> dict[str, Any]:
        return {"name": name, "bound": bound, "found": found}

    assert slow(broken("position_error_p99_m", 50, 180))
    assert not slow(broken("position_error_p99_m", 50, 500))
    assert not slow(broken("latency_p99_ms", 750, 5_100))
    assert not slow(broken("latency_p99_ms", 750, None))
    assert not slow(broken("ghost", 0, 1))


@pytest.mark.parametrize("name", PLAYED)
def test_a_shipped_scenario_keeps_its_promises(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    played = ridestream(tmp_path, "run", "--scenario", name, "--", "--report", "report.html", "--quiet")
    told = json.loads((tmp_path / "report.json").read_text())
    broken = [verdict for verdict in told["verdicts"] if not verdict["ok"]]
    lies = [verdict for verdict in broken if not slow(verdict)]
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
