"""A replay follows the system's clock, and only a clock that suits the trace."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import ReplayClock, WallClock, parse_clock
from simulator.fleet.fixes import Fix
from simulator.traces.timetable import (
    Timetable,
    clock_at_end,
    clock_for,
    misfit,
    repeated,
    restamped,
    shuffled,
    skew_ms,
)
from simulator.traces.trace import Trace


def trace_of(*times_ms: int) -> Trace:
    fixes = [Fix(driver_id=f"d-{n}", fix_time_ms=at_ms, lat=1.0, lon=2.0) for n, at_ms in enumerate(times_ms)]
    return Trace(fixes, 0, 0)


TRACE = trace_of(1_000_000, 1_030_000, 1_060_000)


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=30).map(sorted),
    st.sampled_from([0.5, 1.0, 3.0, 7.3, 600.0]),
    st.lists(st.floats(0, 2_000), max_size=30),
    st.integers(-500, 500),
)
def test_no_fix_is_ever_sent_before_the_systems_clock_shows_its_time(
    times_ms: list[int], speed: float, waits_ms: list[float], ahead_ms: int
) -> None:
    clock = clock_for(trace_of(*times_ms), speed, wall_start_ms=5_000_000)
    table = Timetable(trace_of(*times_ms).fixes, clock, ahead_ms)
    wall_ms, sent = 4_999_000.0 + ahead_ms, []
    for wait_ms in waits_ms:
        wall_ms += wait_ms
        due = table.due(wall_ms, most=7)
        assert all(fix.fix_time_ms <= clock.at(wall_ms - ahead_ms) for fix in due)
        assert len(due) == 7 or table.done or table.next_wall_ms >= wall_ms - 1.0
        sent += due
    while not table.done:
        wall_ms = max(wall_ms, table.next_wall_ms) + 1.0
        sent += table.due(wall_ms, most=7)
    assert [fix.fix_time_ms for fix in sent] == times_ms


@pytest.mark.parametrize(
    ("clock", "speed", "at_once", "why"),
    [
        (clock_for(TRACE, 600, 1), 600.0, False, None),
        (clock_for(TRACE, 600, 1), None, False, None),
        (ReplayClock(0, 2_000_000, 600, 1), 600.0, False, None),
        (clock_at_end(TRACE), None, True, None),
        (clock_for(TRACE, 600, 1), None, True, None),
        (WallClock(), 600.0, False, "the system runs on the wall clock"),
        (WallClock(), None, True, "the system runs on the wall clock"),
        (clock_for(TRACE, 60, 1), 600.0, False, "the system's replay clock runs at 60x, not at 600x"),
        (ReplayClock(0, 1_059_999, 600, 1), None, False, "the system's replay clock stops before the last fix"),
        (ReplayClock(0, 1_059_999, 600, 1), None, True, "the system's replay clock stops before the last fix"),
        (ReplayClock(1_000_001, 2_000_000, 600, 1), None, False, "the system's replay clock starts after the first"),
    ],
)
def test_a_clock_that_does_not_suit_the_trace_is_told_why(
    clock: ReplayClock | WallClock, speed: float | None, at_once: bool, why: str | None
) -> None:
    said = misfit(clock, TRACE, speed, at_once)
    assert said == why if why is None else said is not None and said.startswith(why)


def test_the_clock_survives_being_written_as_a_setting() -> None:
    for speed in (0.5, 1.0, 600.0, 123456.0):
        clock = clock_for(TRACE, speed, 77)
        assert parse_clock(str(clock)) == clock


@given(st.integers(-100_000, 100_000), st.floats(0, 50), st.floats(0.1, 1_000))
def test_a_wall_clock_that_differs_from_the_systems_is_allowed_for(ahead_ms: int, way_ms: float, speed: float) -> None:
    clock = ReplayClock(0, 10**12, speed, 0)
    system_wall_ms = 1_000_000.0
    now_ms = clock.at(system_wall_ms)
    asked_ms, answered_ms = system_wall_ms - way_ms + ahead_ms, system_wall_ms + way_ms + ahead_ms
    found_ms = skew_ms(clock, now_ms, asked_ms, answered_ms)
    assert abs(found_ms - ahead_ms) <= way_ms + 2.0 + 2.0 / speed


def test_a_clock_that_stands_says_nothing_about_skew() -> None:
    clock = ReplayClock(100, 200, 1.0, 0)
    assert skew_ms(clock, 100, 9e9, 9e9) == skew_ms(clock, 200, 9e9, 9e9) == 0.0


def test_restamping_keeps_the_spacing() -> None:
    moved = restamped(trace_of(5, 10, 40), 1_000)
    assert [fix.fix_time_ms for fix in moved.fixes] == [1_000, 1_005, 1_035]


def test_repeating_and_shuffling_lose_and_invent_nothing() -> None:
    fixes = trace_of(*range(50)).fixes
    thrice = repeated(fixes, 3)
    mixed = shuffled(thrice, Random(1))
    assert Counter(fix.driver_id for fix in mixed) == {fix.driver_id: 3 for fix in fixes}
    assert mixed == shuffled(thrice, Random(1))
    assert mixed != thrice
