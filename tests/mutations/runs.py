"""One run: a copy of the tree, changed, played in a folder of its own with the embedded engines; and what it found."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from infra.local.services import free_ports
from tests.mutations.edits import Edit, World, apply

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("infra", "ingest", "stream", "push", "simulator")
#: A start takes seconds, and a run whose trips do not end waits for them for a minute. Nothing takes longer than this.
MOST_S = 240.0
#: What ends with a SIGTERM has this long; it waits for its services.
GRACE_S = 30.0


class Finding(msgspec.Struct, frozen=True):
    """The first case of a broken verdict, as docs/report.md has it."""

    at_s: float = 0.0
    who: str = ""
    driver_id: str = ""
    evidence: dict[str, object] = {}


class Verdict(msgspec.Struct, frozen=True):
    name: str
    ok: bool
    found: float | None = None
    first: Finding | None = None


class _Document(msgspec.Struct, frozen=True):
    verdicts: list[Verdict]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run: its exit code and its broken verdicts. `trouble` is what it said when it did not even end."""

    exit_code: int
    broken: list[Verdict]
    trouble: str = ""

    @property
    def passed(self) -> bool:
        return self.exit_code == 0 and not self.trouble


@contextmanager
def tree() -> Iterator[Path]:
    """A copy of the packages as they are now, from which the copies of all runs are made."""
    with tempfile.TemporaryDirectory(prefix="ridestream-mutations-") as name:
        copy = Path(name) / "original"
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield copy


def run(original: Path, world: World, edits: Sequence[Edit]) -> Outcome:
    """Play `world` on the system with these edits. Raises CodeMovedOn, OSError."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=original.parent) as name:
        copy = Path(name)
        shutil.copytree(original, copy, dirs_exist_ok=True)
        apply((*world.faults, *edits), copy)
        return _play(copy, world)


def _play(copy: Path, world: World) -> Outcome:
    report, said = copy / "report.html", copy / "said.txt"
    command = [sys.executable, "-m", "infra.cli", "run", "--scenario", str(world.path), "--"]
    command += ["--quiet", "--report", str(report)]
    # Engines that somebody has set for himself are not for systems that are broken on purpose.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIDESTREAM_")}
    environ = {**kept, **free_ports(), **world.settings, "PYTHONPATH": ""}
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=copy, env=environ, stdout=output, stderr=subprocess.STDOUT)
        try:
            exit_code = process.wait(MOST_S)
        except BaseException as error:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(GRACE_S)
            finally:
                process.kill()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            exit_code = -1
    twin = report.with_suffix(".json")
    if not twin.is_file():
        return Outcome(exit_code, [], said.read_text(errors="replace")[-2_000:] or "it said nothing")
    document = msgspec.json.decode(twin.read_bytes(), type=_Document)
    trouble = "" if exit_code >= 0 else f"it did not end within {MOST_S:g} s"
    return Outcome(exit_code, [verdict for verdict in document.verdicts if not verdict.ok], trouble)
