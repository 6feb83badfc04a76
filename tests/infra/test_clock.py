"""The clock that every service derives from the same four numbers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import ReplayClock, WallClock, parse_clock

EPOCH_MS = st.integers(min_value=0, max_value=4_102_444_800_000)
CLOCKS = st.builds(
    lambda start, length, speed, wall: ReplayClock(start, start + length, speed, wall),
    EPOCH_MS,
    st.integers(min_value=0, max_value=10**10),
    # As text the speed has six significant digits; a speed a person would write has no more.
    st.floats(min_value=0.01, max_value=100_000).map(lambda speed: float(f"{speed:g}")),
    EPOCH_MS,
)


@given(CLOCKS)
def test_a_replay_clock_survives_the_trip_through_its_text(clock: ReplayClock) -> None:
    assert parse_clock(str(clock)) == clock


@given(CLOCKS, EPOCH_MS, EPOCH_MS)
def test_event_time_never_runs_backwards_nor_leaves_the_recording(clock: ReplayClock, one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    assert clock.event_start_ms <= clock.at(earlier) <= clock.at(later) <= clock.event_end_ms


@given(CLOCKS)
def test_it_holds_at_the_start_before_and_at_the_end_after(clock: ReplayClock) -> None:
    assert clock.at(clock.wall_start_ms - 1) == clock.event_start_ms
    assert clock.at(clock.wall_ms_of(clock.event_end_ms) + 1_000) == clock.event_end_ms


@given(CLOCKS, st.floats(min_value=0, max_value=1))
def test_wall_time_of_an_event_is_when_the_clock_shows_it(clock: ReplayClock, part: float) -> None:
    event_ms = clock.event_start_ms + int(part * (clock.event_end_ms - clock.event_start_ms))
    # Epoch milliseconds as a double are exact to 0.0003 ms; that error is scaled by the speed.
    assert abs(clock.at(clock.wall_ms_of(event_ms)) - event_ms) <= 1 + clock.speed * 0.001


def test_an_hour_of_recording_at_600x_takes_six_seconds() -> None:
    clock = ReplayClock(event_start_ms=1_000_000, event_end_ms=1_000_000 + 3_600_000, speed=600, wall_start_ms=50_000)
    assert clock.at(53_000) == 1_000_000 + 1_800_000
    assert clock.at(56_000) == clock.event_end_ms


def test_the_wall_clock_is_the_machines() -> None:
    before_ms = time.time_ns() // 1_000_000
    assert before_ms <= WallClock().now_ms() <= time.time_ns() // 1_000_000
    assert isinstance(parse_clock("wall"), WallClock)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Wall",
        "replay",
        "replay:",
        "replay:event_start_ms=1,event_end_ms=2,speed=1",
        "replay:event_start_ms=2,event_end_ms=1,speed=1,wall_start_ms=0",
        "replay:event_start_ms=1,event_end_ms=2,speed=0,wall_start_ms=0",
        "replay:event_start_ms=1,event_end_ms=2,speed=nan,wall_start_ms=0",
        "replay:event_start_ms=1,event_end_ms=2,speed=inf,wall_start_ms=0",
        "replay:event_start_ms=x,event_end_ms=2,speed=1,wall_start_ms=0",
        "replay:event_start_ms=1,event_end_ms=2,speed=1,wall_start_ms=0,more=1",
        "rewind:event_start_ms=1,event_end_ms=2,speed=1,wall_start_ms=0",
    ],
)
def test_a_clock_that_cannot_be_read_is_refused_with_what_it_may_hold(text: str) -> None:
    with pytest.raises(ValueError, match="RIDESTREAM_CLOCK must be `wall` or `replay:event_start_ms"):
        parse_clock(text)
