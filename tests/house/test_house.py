"""The house in order: style, types, import rules, pure modules, file sizes. What a reviewer need not look for."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("ingest", "stream", "push", "simulator", "infra")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
#: About 100 lines is the aim; beyond this a file holds two nouns.
MAX_LINES = 300
#: Drawers where code goes to be forgotten.
DRAWERS = {"common", "util", "utils", "helper", "helpers", "misc", "base", "tools", "types"}


def run(*arguments: str) -> None:
    """Run a tool of this environment and fail with what it says."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments[0]}\n{done.stdout}{done.stderr}"


def test_the_linter_has_nothing_to_say() -> None:
    run("ruff", "check", ".")


def test_every_file_is_formatted() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.timeout(900)
def test_types_hold_strictly() -> None:
    run("mypy")


def test_imports_run_against_the_data_and_pure_modules_stay_pure() -> None:
    run("importlinter.cli", "lint")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_begins_with_its_specification_and_holds_one_noun(path: Path) -> None:
    source = path.read_text()
    specification = ast.get_docstring(ast.parse(source))
    assert specification, "the first line says what the module is for"
    assert len(source.splitlines()) <= MAX_LINES
    assert not DRAWERS & {path.stem, *path.relative_to(ROOT).parts}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_module_that_calls_itself_pure_is_held_to_it() -> None:
    contract = next(each for each in PROJECT["tool"]["importlinter"]["contracts"] if each.get("id") == "pure")
    marked = {
        module_name(path)
        for path in SOURCES
        if {"Pure", "Pure:"} & set((ast.get_docstring(ast.parse(path.read_text())) or "").replace(".", " ").split())
    }
    assert marked <= set(contract["source_modules"]), "add it to the contract `pure` in pyproject.toml"


def test_chance_is_seeded_wherever_it_is_used() -> None:
    """`random.Random` is an argument or made from one; the module's own functions share one hidden state."""
    seeded = {"Random", "SystemRandom"}
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                assert {alias.name for alias in node.names} <= seeded, f"{path}:{node.lineno}"
            if "random" in modules and isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random":
                assert node.attr in seeded, f"{path}:{node.lineno}"


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The top names of everything that a file imports, also inside functions."""

    def names() -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module

    return frozenset(name.split(".")[0] for name in names())


def test_everything_that_is_imported_is_a_declared_dependency() -> None:
    optional = PROJECT["project"]["optional-dependencies"]
    declared = {
        canonicalize_name(Requirement(line).name)
        for line in [*PROJECT["project"]["dependencies"], *optional["local"], *optional["report"]]
    }
    distributions = packages_distributions()
    imported = set().union(*(imports_of(path) for path in SOURCES)) - set(ROOMS) - sys.stdlib_module_names
    missing = {
        name
        for name in imported
        if not declared & {canonicalize_name(distribution) for distribution in distributions.get(name, [])}
    }
    assert not missing


def test_infra_imports_no_room_even_inside_a_function() -> None:
    for path in (ROOT / "infra").rglob("*.py"):
        assert not imports_of(path) & {"ingest", "stream", "push", "simulator"}, path


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("push.__main__", {"faust", "aiokafka", "kafka"}),
        ("ingest.__main__", {"faust", "aiokafka"}),
        ("simulator.__main__", {"faust", "aiokafka", "kafka", "redis"}),
        ("ingest.events", {"kafka", "asyncio"}),
        ("push.protocol", {"websockets", "asyncio"}),
    ],
)
def test_a_service_loads_only_what_it_uses(module: str, never: set[str]) -> None:
    code = f"import {module}, sys; print(*{{name.split('.')[0] for name in sys.modules}} & {never!r})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.split() == []
