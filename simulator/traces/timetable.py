"""Decide whether the system's clock suits a trace, and which of its fixes are due at a given wall time. Pure.

See docs/decisions/0001-time-in-replays.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from random import Random

from infra.clock import ReplayClock, WallClock
from simulator.fleet.fixes import Fix
from simulator.traces.trace import Trace


def clock_for(trace: Trace, speed: float, wall_start_ms: int) -> ReplayClock:
    """The clock under which `trace` begins at `wall_start_ms` and runs `speed` times as fast as it happened."""
    return ReplayClock(trace.first_ms, trace.last_ms, speed, wall_start_ms)


def clock_at_end(trace: Trace) -> ReplayClock:
    """A clock that stands at the trace's last fix: everything in it has happened, so it may be sent in any order."""
    return ReplayClock(trace.last_ms, trace.last_ms, 1.0, 0)


def misfit(clock: ReplayClock | WallClock, trace: Trace, speed: float | None, at_once: bool) -> str | None:
    """Why `trace` cannot be replayed under the system's clock, in words; None when it can.

    `speed` is what the user asked for, None for the clock's own. `at_once`: no fix waits for its time.
    """
    if isinstance(clock, WallClock):
        return "the system runs on the wall clock, under which the fixes of this trace are not from now"
    if clock.event_end_ms < trace.last_ms:
        return "the system's replay clock stops before the last fix of this trace"
    if at_once:
        return None
    if clock.event_start_ms > trace.first_ms:
        return "the system's replay clock starts after the first fix of this trace"
    if speed is not None and not math.isclose(speed, clock.speed, rel_tol=1e-4):
        return f"the system's replay clock runs at {clock.speed:g}x, not at {speed:g}x"
    return None


def skew_ms(clock: ReplayClock, now_ms: int, asked_ms: float, answered_ms: float) -> float:
    """How far this machine's wall clock is ahead of the system's, in ms, from one question to it.

    `now_ms` is the event time the system gave between `asked_ms` and `answered_ms` of our wall clock. 0 when the
    difference is within what the question itself took, or when the clock stands and so says nothing.
    """
    if not clock.event_start_ms < now_ms < clock.event_end_ms:
        return 0.0
    difference_ms = (asked_ms + answered_ms) / 2 - clock.wall_ms_of(now_ms)
    uncertain_ms = (answered_ms - asked_ms) / 2 + 1.0 + 1.0 / clock.speed
    return difference_ms if abs(difference_ms) > uncertain_ms else 0.0


class Timetable:
    """Fixes in order of time, and how many of them are out. A fix is never due before the clock shows its time."""

    def __init__(self, fixes: Sequence[Fix], clock: ReplayClock, skew_ms: float = 0.0) -> None:
        self._fixes, self._clock, self._skew_ms = fixes, clock, skew_ms
        self.position = 0

    @property
    def done(self) -> bool:
        return self.position >= len(self._fixes)

    @property
    def next_wall_ms(self) -> float:
        """When, on this machine's clock, the next fix falls due. Not to be asked once `done`."""
        return self._clock.wall_ms_of(self._fixes[self.position].fix_time_ms) + self._skew_ms

    def due(self, wall_ms: float, most: int) -> Sequence[Fix]:
        """The next fixes, at most `most`, whose time the clock has reached at `wall_ms` of this machine."""
        event_ms = self._clock.at(wall_ms - self._skew_ms)
        start = self.position
        end = min(len(self._fixes), start + most)
        while self.position < end and self._fixes[self.position].fix_time_ms <= event_ms:
            self.position += 1
        return self._fixes[start : self.position]


def repeated(fixes: Iterable[Fix], times: int) -> list[Fix]:
    """Each fix `times` times in a row: a phone that did not hear the answer."""
    return [fix for fix in fixes for _ in range(times)]


def shuffled(fixes: Iterable[Fix], random: Random) -> list[Fix]:
    """The fixes in an order drawn from `random`."""
    mixed = list(fixes)
    random.shuffle(mixed)
    return mixed


def restamped(trace: Trace, start_ms: int) -> Trace:
    """The trace moved in time so that its first fix is at `start_ms`; the spacing stays."""
    shift_ms = start_ms - trace.first_ms
    for fix in trace.fixes:
        fix.fix_time_ms += shift_ms
    return trace
