"""A mutation as data: a few exact replacements in named files, and the verdict that must name what they break. Pure but
for `apply`.

Each text must be found exactly once: a mutation that no longer fits has to be looked at by a person, not be skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

#: Where the scenarios are.
HERE = Path(__file__).parent


class CodeMovedOn(ValueError):
    """A text to be replaced is not in its file, or more than once."""


@dataclass(frozen=True, slots=True)
class Edit:
    """In `path`, `before` becomes `after`."""

    path: str
    before: str
    after: str

    def applied(self, text: str) -> str:
        """The file's text with it. Raises CodeMovedOn."""
        times = text.count(self.before)
        if times != 1:
            raise CodeMovedOn(
                f"{self.path}: the code has moved on: {times} times, and not once, there is: {self.before.strip()}"
            )
        return text.replace(self.before, self.after)


@dataclass(frozen=True, slots=True)
class World:
    """What is played: a scenario of this folder, with settings, and what is broken around the system that it must
    survive. The system as it is must pass it."""

    name: str
    scenario: str
    settings: Mapping[str, str] = field(default_factory=dict)
    faults: Sequence[Edit] = ()

    @property
    def path(self) -> Path:
        return HERE / f"{self.scenario}.toml"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the system. `verdict` is what must be among the broken ones."""

    name: str
    says: str
    world: World
    verdict: str
    edits: Sequence[Edit]

    @property
    def files(self) -> list[str]:
        """The changed files, in order."""
        return list(dict.fromkeys(edit.path for edit in self.edits))


def apply(edits: Sequence[Edit], root: Path) -> None:
    """Change the files below `root`. Raises CodeMovedOn, OSError."""
    for edit in edits:
        path = root / edit.path
        path.write_text(edit.applied(path.read_text(encoding="utf-8")), encoding="utf-8")


def fingerprint(world: World, mutation: Mutation | None) -> str:
    """Names what is run: a result is of use only as long as nothing of that has changed."""
    what = (world.name, sorted(world.settings.items()), world.faults, mutation and (mutation.verdict, mutation.edits))
    return sha256(repr(what).encode() + world.path.read_bytes()).hexdigest()[:16]
