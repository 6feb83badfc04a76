"""`ridestream run --scenario` looks at what it is to play before it starts anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.services import free_ports
from tests.infra.observing import DEADLINE_S


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIDESTREAM_")}
    command = [sys.executable, "-m", "infra.cli", "run", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, **free_ports()},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scenario", "tunel"], "--scenario: no scenario tunel, did you mean tunnel?"),
        (["--scenario", "bad.toml"], "--scenario: bad.toml: fleet.drivers: expected int >= 1; "),
        (["--scenario", "nowhere/mine.toml"], "--scenario: nowhere/mine.toml: No such file or directory"),
        (["--scenario", "tunnel", "--", "--report", "x.json"], "--scenario: --report takes the name of an HTML file"),
        (["--scenario", "tunnel", "--", "--drivers", "x"], "--scenario: error: argument --drivers: must be a whole"),
    ],
)
def test_a_scenario_that_cannot_be_played_is_one_line_and_nothing_is_started(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "bad.toml").write_text('title = "T"\n[fleet]\ndrivers = 0\n[bounds]\nghosts = 1\n')
    ended = run(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert ended.stderr.startswith(f"ridestream run: {said}")
    assert ended.stderr.count("\n") == 1
    # Neither a log of an engine or a service, nor a key.
    assert [path.name for path in (tmp_path / ".ridestream").iterdir()] == ["lock"]
