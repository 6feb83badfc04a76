"""Ticks: at once after a silence, then no more often than set, and rarer under load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from push.ticks import BUSY_SHARE, Ticker, next_interval_s
from tests.push.node import eventually


@given(spent_s=st.floats(0, 10), tick_s=st.floats(0.001, 1), max_tick_s=st.floats(0.001, 5))
def test_the_interval_keeps_within_its_bounds_and_lengthens_with_the_work(spent_s, tick_s, max_tick_s):
    interval_s = next_interval_s(spent_s, tick_s, max_tick_s)
    assert tick_s <= interval_s <= max(tick_s, max_tick_s)
    assert interval_s >= min(max(tick_s, max_tick_s), spent_s / BUSY_SHARE)


async def test_many_wakes_are_one_turn_and_a_wake_during_a_turn_is_another():
    turns = []
    ticker: Ticker

    def turn() -> Iterator[None]:
        turns.append("begins")
        if turns.count("begins") == 1:
            ticker.wake()
        yield
        turns.append("ends")

    ticker = Ticker(turn, 0.001, 0.01, lambda _: None)
    for _ in range(5):
        ticker.wake()
    await eventually(lambda: turns == ["begins", "ends", "begins", "ends"])
    await asyncio.sleep(0.02)
    assert len(turns) == 4


async def test_ahead_of_every_turn_whoever_reads_is_told_to_catch_up():
    calls = []
    ticker: Ticker

    def turn() -> Iterator[None]:
        calls.append("turn")
        if calls.count("turn") < 4:
            assert ticker.wake()  # news in the middle of a turn wait for the next one
        yield

    # The first turn comes at once, the others are paced, or late already.
    for tick_s in (0.005, 1e-9):
        calls.clear()
        ticker = Ticker(turn, tick_s, tick_s, lambda _: None, lambda: calls.append("read"))
        assert not ticker.wake()
        await eventually(lambda: calls.count("turn") == 4)
        assert calls == ["read", "turn"] * 4


async def test_a_turn_that_fails_does_not_end_the_turns():
    turns = []

    def turn() -> Iterator[None]:
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError
        yield

    ticker = Ticker(turn, 0.001, 0.01, lambda _: None)
    ticker.wake()
    await eventually(lambda: len(turns) == 1)
    ticker.wake()
    await eventually(lambda: len(turns) == 2)
    ticker.stop()
    ticker.wake()
    await asyncio.sleep(0.02)
    assert len(turns) == 2
