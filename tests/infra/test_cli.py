"""The `ridestream` command and the page of settings it writes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.cli import HELP, MODULES, OWN, settings_page
from infra.identity import Verifier
from tests.infra import standins

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300)
KEY = "a-key-for-tests-that-is-long-enough!"


def ridestream(*arguments: str, folder: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIDESTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *arguments],
        cwd=folder or ROOT,
        env={**environment, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_page_of_settings_is_current() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == settings_page(), "run `make docs`"


def test_help_names_every_verb_and_fits_a_terminal() -> None:
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        told = ridestream(*arguments)
        assert (told.returncode, told.stdout, told.stderr) == (0, HELP, "")
    assert all(f"\n  {verb:<10} " in HELP for verb in {*MODULES, *OWN})
    assert max(map(len, HELP.splitlines())) <= 100


def test_an_unknown_verb_is_one_line() -> None:
    told = ridestream("fly")
    assert told.returncode == 2
    assert told.stderr == "ridestream: there is no verb `fly`; `ridestream --help` lists them\n"


def test_verbs_reach_their_rooms_with_their_arguments(tmp_path: Path) -> None:
    standins.build(tmp_path)
    assert ridestream("topics", folder=tmp_path).returncode == 0
    assert (tmp_path / "ingest.pid").exists()
    told = ridestream("simulate", "--drivers", "3", folder=tmp_path, STANDIN_SIMULATOR="finish")
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "simulator.args").read_text() == "simulate --drivers 3"
    assert ridestream("push", folder=tmp_path, STANDIN_PUSH="misconfigured").returncode == 2


@pytest.mark.parametrize(
    ("kind", "audience", "scope"),
    [
        ("driver", "ingest", "driver"),
        ("fleet", "ingest", "fleet"),
        ("dispatch", "ingest", "dispatch"),
        ("rider", "rider", "rider"),
        ("dispatch-reader", "rider", "dispatch"),
    ],
)
def test_a_token_is_one_that_its_service_accepts(kind: str, audience: str, scope: str) -> None:
    token = ridestream("token", kind, "x-1", RIDESTREAM_JWT_KEY=KEY).stdout.strip()
    principal = Verifier(KEY, "HS256", audience).verify(token, time.time())
    assert (principal.subject, principal.scopes) == ("x-1", {scope})


def test_a_token_may_be_given_other_scopes() -> None:
    token = ridestream("token", "driver", "r-1", "--scope", "rider driver", RIDESTREAM_JWT_KEY=KEY).stdout.strip()
    assert Verifier(KEY, "HS256", "ingest").verify(token, time.time()).scopes == {"rider", "driver"}


def test_a_token_is_made_with_the_key_of_the_local_run(tmp_path: Path) -> None:
    (tmp_path / ".ridestream").mkdir()
    (tmp_path / ".ridestream" / "jwt_key").write_text(KEY)
    token = ridestream("token", "driver", "d-1", folder=tmp_path).stdout.strip()
    assert Verifier(KEY, "HS256", "ingest").verify(token, time.time()).subject == "d-1"


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({}, "RIDESTREAM_JWT_KEY is not set"),
        ({"RIDESTREAM_JWT_KEY": "short"}, "shorter than 32 bytes"),
        ({"RIDESTREAM_JWT_ALGORITHM": "RS256", "RIDESTREAM_JWT_KEY": KEY}, "made with HS256 only"),
        ({"RIDESTREAM_JWT_ALGORITHM": "none", "RIDESTREAM_JWT_KEY": KEY}, "RIDESTREAM_JWT_ALGORITHM: "),
    ],
)
def test_a_token_that_cannot_be_made_is_one_line(tmp_path: Path, env: dict[str, str], error: str) -> None:
    told = ridestream("token", "driver", "d-1", folder=tmp_path, **env)
    assert told.returncode == 2
    [line] = told.stderr.splitlines()
    assert line.startswith("ridestream token: ")
    assert error in line
    assert KEY not in line
