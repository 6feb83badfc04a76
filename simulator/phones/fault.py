"""A fault: when it acts, on whose phone, and what becomes of a fix that it meets. No I/O, no clock.

There are two families. A *misreading* spoils what a phone reads, at the moment of reading: it maps a fix to a fix. A
*link* decides what becomes of a fix on its way out: when it goes on, how often, or never.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from simulator.fleet.fixes import Fix
from simulator.fleet.reports import Report

#: The end of a window that has none, epoch ms.
FOREVER = 1 << 62


class Window(NamedTuple):
    """Whom a fault strikes, and from when (included) until when (not)."""

    from_ms: int
    until_ms: int
    drivers: frozenset[int]

    def covers(self, driver: int, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.until_ms and driver in self.drivers


class Reading:
    """One report on its way. Copies are made and lost; it is lost with the last one, if none was ever posted."""

    __slots__ = ("copies", "driver", "posted")

    def __init__(self, driver: int) -> None:
        self.driver, self.copies, self.posted = driver, 1, False


class Draft(NamedTuple):
    """One copy of a reading, as it would be posted now."""

    reading: Reading
    fix: Fix
    honest: bool


class Fate(NamedTuple):
    """What a link does: which drafts go on and when, which never will. A draft in neither is held by the link."""

    on: Sequence[tuple[int, Draft]] = ()
    lost: Sequence[Draft] = ()
    #: The link asks to be woken then.
    wake_ms: int | None = None


class Fault(ABC):
    """What both families have. `kind` is its name in a scenario."""

    kind: ClassVar[str]

    def __init__(self, window: Window) -> None:
        self.window = window

    def silences(self, driver: int, at_ms: int) -> bool:
        """Whether it keeps riders from being told where the driver is, so that nobody may rely on its marker."""
        return False


class Misreading(Fault):
    """Spoils what a phone reads."""

    @abstractmethod
    def misread(self, driver: int, at_ms: int, fix: Fix) -> Fix:
        """What the phone takes `fix`, read at `at_ms`, for. The same object where it is left alone."""


class Link(Fault):
    """Decides about drafts on their way out."""

    #: Whether `see` wants to be told where cars are.
    watches: bool = False

    @abstractmethod
    def meet(self, draft: Draft, at_ms: int) -> Fate | None:
        """A draft comes by at `at_ms`. None: nothing happens to it."""

    def see(self, report: Report) -> Fate | None:
        """The car is there now, whatever its phone makes of it."""
        return None

    def wake(self, at_ms: int) -> Fate:
        """It is the time that the link asked for."""
        return Fate()
