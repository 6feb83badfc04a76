"""Keep what happens over time in bins of one second, and of two, four, ... when a run goes on and on. Pure.

A series has a bin for each stretch of the run, and each bin holds an accumulator that can take another one in. When the
bins become too many, neighbours are joined; so a run without an end costs as much as one of an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

#: Bins before neighbours are joined: half an hour of seconds, and more than a screen has columns.
MOST_BINS = 1_800
FIRST_BIN_MS = 1_000


class Accumulator(Protocol):
    """What a bin holds."""

    def merge(self, other: Self, /) -> None: ...


class Count:
    """How many things happened."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def merge(self, other: Count) -> None:
        self.count += other.count


class Level:
    """The mean and the most of something that was looked at now and then."""

    __slots__ = ("looks", "most", "total")

    def __init__(self) -> None:
        self.looks = 0
        self.total = 0.0
        self.most = float("-inf")

    def add(self, value: float) -> None:
        self.looks += 1
        self.total += value
        self.most = max(self.most, value)

    def merge(self, other: Level) -> None:
        self.looks += other.looks
        self.total += other.total
        self.most = max(self.most, other.most)

    @property
    def mean(self) -> float | None:
        return self.total / self.looks if self.looks else None


A = TypeVar("A", bound=Accumulator)


class Series(Generic[A]):
    """One accumulator a bin; None where nothing happened."""

    def __init__(self, new: Callable[[], A]) -> None:
        self._new = new
        self.bins: list[A | None] = []

    def at(self, index: int) -> A:
        """The accumulator of this bin."""
        if index >= len(self.bins):
            self.bins += [None] * (index + 1 - len(self.bins))
        found = self.bins[index]
        if found is None:
            found = self.bins[index] = self._new()
        return found

    def total(self, first: int = 0, last: int | None = None) -> A:
        """All bins from `first` up to `last` (excluded) taken together."""
        whole = self._new()
        for each in self.bins[first:last]:
            if each is not None:
                whole.merge(each)
        return whole

    def halve(self) -> None:
        """Join each bin with its neighbour."""
        for odd in range(1, len(self.bins), 2):
            joined, second = self.bins[odd - 1], self.bins[odd]
            if joined is not None and second is not None:
                joined.merge(second)
            else:
                self.bins[odd - 1] = joined if second is None else second
        self.bins = self.bins[::2]


class Ruler:
    """Says which bin a time falls in; its bins grow with the run."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms, self.bin_ms = start_ms, FIRST_BIN_MS

    def index(self, at_ms: int) -> int:
        """What came before the start counts at the start."""
        return max(0, (at_ms - self.start_ms) // self.bin_ms)

    def fits(self, index: int) -> bool:
        return index < MOST_BINS

    def grow(self) -> None:
        """From now on bins are twice as long: join those of every series."""
        self.bin_ms *= 2
