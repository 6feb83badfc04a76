"""Jobs that drivers are sent on: who has one, and who came to which stop when. No clock, no chance.

Times are epoch ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple


class Stop(NamedTuple):
    """A node to stand at for `dwell_ms`; None, which only the last stop may say, is until the driver is released."""

    node: int
    dwell_ms: int | None


class Arrival(NamedTuple):
    """A driver came to stand at a stop of its job (0 is the first) at `at_ms`."""

    driver: int
    stop_index: int
    at_ms: int


class Way(NamedTuple):
    """What a job turned out to be when it began: its arrivals, its end (inf: until released), and its ways by stop."""

    arrive_ms: list[int]
    end_ms: float
    points: list[list[tuple[float, float]]]


class _Job:
    """A job that has begun. `over_ms` is when another order took its place."""

    __slots__ = ("over_ms", "way")

    def __init__(self, way: Way) -> None:
        self.way, self.over_ms = way, math.inf


class JobBook:
    """The jobs of a fleet. Each driver's orders come in order of time; an order takes the place of the one before."""

    def __init__(self, drivers: int) -> None:
        self._free_from_ms = [-math.inf] * drivers
        self._ordered_ms = [-math.inf] * drivers
        self._pending = [0] * drivers
        self._jobs: list[_Job | None] = [None] * drivers
        self._arrivals: list[tuple[int, int, int, _Job]] = []

    def order(self, driver: int, stops: Sequence[Stop], at_ms: int) -> None:
        """A job is given for `at_ms`; without stops the driver is released then. Raises ValueError."""
        if any(stop.dwell_ms is None for stop in stops[:-1]):
            raise ValueError("only at its last stop may a driver wait until it is released")
        if at_ms < self._ordered_ms[driver]:
            raise ValueError(f"driver {driver} already has an order for a later time")
        self._ordered_ms[driver] = at_ms
        self._pending[driver] += 1
        self._free_from_ms[driver] = math.inf if stops else at_ms

    def begin(self, driver: int, way: Way | None, at_ms: int) -> None:
        """The order that was given for `at_ms` is carried out; None: the driver is released."""
        before = self._jobs[driver]
        if before is not None:
            before.over_ms = min(before.over_ms, at_ms)
        self._jobs[driver] = None if way is None else _Job(way)
        self._pending[driver] -= 1
        job = self._jobs[driver]
        if job is not None:
            for index, arrive_ms in enumerate(job.way.arrive_ms):
                heappush(self._arrivals, (arrive_ms, driver, index, job))
            if not self._pending[driver]:
                self._free_from_ms[driver] = job.way.end_ms

    def free(self, driver: int, at_ms: int) -> bool:
        """Has it neither a job nor the order for one, at `at_ms`, which is now or later?"""
        return at_ms >= self._free_from_ms[driver]

    def points(self, driver: int) -> list[list[tuple[float, float]]]:
        """The ways of the driver's job, one for each stop; none without a job."""
        job = self._jobs[driver]
        return [] if job is None else job.way.points

    def arrivals_until(self, now_ms: int) -> list[Arrival]:
        """The arrivals up to `now_ms` that were not told yet, in order of (time, driver, stop)."""
        told = []
        while self._arrivals and self._arrivals[0][0] <= now_ms:
            at_ms, driver, index, job = heappop(self._arrivals)
            if at_ms <= job.over_ms:
                told.append(Arrival(driver, index, at_ms))
        return told
