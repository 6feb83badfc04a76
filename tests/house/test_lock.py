"""The lock: it is what pyproject.toml asks for, it pins by hash, and it says nothing about where it was made."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
RUN, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: A pin: name, version, and the marker of where it applies.
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))?(?: \\)?$", re.MULTILINE)


def pins(lock: Path) -> dict[str, set[str]]:
    """Name -> the versions it is pinned to, on the platforms and Pythons that differ."""
    found: dict[str, set[str]] = {}
    for pin in PIN.finditer(lock.read_text()):
        found.setdefault(pin["name"], set()).add(pin["version"])
    return found


def asked(*extras: str) -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    yield from map(Requirement, PROJECT["dependency-groups"]["build"])
    for extra in extras:
        yield from map(Requirement, PROJECT["project"]["optional-dependencies"][extra])


@pytest.mark.parametrize(
    ("lock", "extras"), [(RUN, ("local", "report")), (DEV, ("local", "report", "dev"))], ids=["run", "dev"]
)
def test_the_lock_satisfies_what_the_project_asks_for(lock: Path, extras: tuple[str, ...]) -> None:
    pinned = pins(lock)
    for requirement in asked(*extras):
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), f"run `make lock`: {requirement}"


def test_both_locks_agree() -> None:
    run, dev = pins(RUN), pins(DEV)
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("lock", [RUN, DEV], ids=["run", "dev"])
def test_every_pin_has_hashes_and_no_host_or_path_is_named(lock: Path) -> None:
    text = lock.read_text()
    for block in re.split(r"\n(?=\S)", text):
        if "==" in block.split("\n")[0]:
            assert "--hash=sha256:" in block, block.split("\n")[0]
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)


def test_markers_never_leave_a_supported_python_without_a_pin() -> None:
    names = {pin["name"] for pin in PIN.finditer(RUN.read_text())}
    for name in names:
        markers = [pin["marker"] for pin in PIN.finditer(RUN.read_text()) if pin["name"] == name]
        if any(marker and "python" in marker for marker in markers):
            for version in ("3.11", "3.12", "3.13"):
                environment = {"python_full_version": f"{version}.0", "python_version": version}
                applying = [marker for marker in markers if marker is None or Marker(marker).evaluate(environment)]
                assert len(applying) == 1, (name, version)
