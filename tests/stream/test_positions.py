"""Any order, any repetition and any split of a driver's pings gives one state, against a slow fold of the whole set."""

from __future__ import annotations

import random
from itertools import pairwise

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import OFFLINE, ONLINE, Ping
from stream.positions import (
    BACKFILL,
    DUPLICATE,
    IMPOSSIBLE_JUMP,
    KEPT_FIXES,
    LIVE,
    SEEN_FIXES,
    DriverState,
    is_possible,
    precedence,
)
from tests.oracle import fold as oracle
from tests.oracle.trace import CAPMETRO, PORTO, read_trace

MAX_SPEED_MPS = 55.0
#: About 110 m apart along the meridian, so that neighbouring steps at 1 s or 2 s lie on both sides of the limit.
STEP_DEG = 0.001


def ping(fix_time_ms: int, step: int = 0, **fields: object) -> Ping:
    return Ping("d", fix_time_ms, 41.15 + step * STEP_DEG, -8.61, received_at_ms=0, **fields)  # type: ignore[arg-type]


pings = st.builds(
    lambda at, step, lon, accuracy, state, received: Ping(
        "d", at * 500, step * STEP_DEG, lon, received, accuracy_m=accuracy, vehicle_state=state
    ),
    st.integers(0, 24),
    st.integers(-3, 3),
    st.sampled_from([179.9995, -179.9995, 0.0, 0.002]),
    st.sampled_from([None, 5.0, 80.0]),
    st.sampled_from([ONLINE, ONLINE, OFFLINE]),
    st.integers(0, 2),
)


def slow_fold(arrived: list[Ping]) -> tuple[list[Ping], Ping]:
    """Sort all, keep one a time, look at the newest four with the library's own distance."""
    by_time: dict[int, Ping] = {}
    for one in sorted(arrived, key=precedence, reverse=True):
        by_time[one.fix_time_ms] = one
    kept = [by_time[at] for at in sorted(by_time)][-KEPT_FIXES:]

    def possible(before: Ping, after: Ping) -> bool:
        distance_m = h3.great_circle_distance((before.lat, before.lon), (after.lat, after.lon), unit="m")
        seconds = max(1.0, (after.fix_time_ms - before.fix_time_ms) / 1000)
        return bool(distance_m <= MAX_SPEED_MPS * seconds + (before.accuracy_m or 0) + (after.accuracy_m or 0))

    live = next((after for before, after in reversed(list(pairwise(kept))) if possible(before, after)), kept[0])
    return kept, live


def fold_all(arrived: list[Ping]) -> tuple[DriverState, list[int]]:
    state = DriverState(arrived[:1], MAX_SPEED_MPS)
    return state, [LIVE, *(state.fold(one, MAX_SPEED_MPS) for one in arrived[1:])]


@given(st.lists(pings, min_size=1, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=1_000, deadline=None)
def test_any_order_and_repetition_gives_the_state_of_the_set(arrived: list[Ping], rng: random.Random) -> None:
    kept, live = slow_fold(arrived)
    again = arrived + rng.choices(arrived, k=len(arrived))
    rng.shuffle(again)
    for order in (arrived, again):
        state, _ = fold_all(order)
        assert state.fixes == kept
        assert state.live == live


@given(st.lists(pings, min_size=2, max_size=20), st.integers(1, 19))
@settings(max_examples=300, deadline=None)
def test_a_state_that_was_kept_and_loaded_goes_on_as_if_nothing_had_been(arrived: list[Ping], cut: int) -> None:
    before, after = arrived[:cut], arrived[cut:]
    state, _ = fold_all(before)
    loaded = DriverState(state.fixes, MAX_SPEED_MPS)
    for one in after:
        loaded.fold(one, MAX_SPEED_MPS)
    assert (loaded.fixes, loaded.live) == slow_fold(arrived)


@given(st.lists(pings, min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_the_live_fix_is_one_of_the_newest_and_each_ping_gets_one_verdict(arrived: list[Ping]) -> None:
    state, verdicts = fold_all(arrived)
    assert len(verdicts) == len(arrived)
    assert state.live in state.fixes
    assert state.fixes[-1].fix_time_ms == max(one.fix_time_ms for one in arrived)
    distinct = {one.fix_time_ms for one in arrived}
    assert verdicts.count(DUPLICATE) == len(arrived) - len(distinct)  # fewer than SEEN_FIXES: all are recognised


@given(st.lists(pings, min_size=2, max_size=30, unique_by=lambda one: one.fix_time_ms))
@settings(max_examples=300, deadline=None)
def test_in_order_each_jump_is_counted_against_the_fix_before(arrived: list[Ping]) -> None:
    in_order = sorted(arrived, key=lambda one: one.fix_time_ms)
    _, verdicts = fold_all(in_order)
    jumps = sum(not is_possible(before, after, MAX_SPEED_MPS) for before, after in pairwise(in_order))
    assert verdicts.count(IMPOSSIBLE_JUMP) == jumps
    assert verdicts.count(LIVE) == len(in_order) - jumps


def test_a_false_fix_is_not_shown_and_the_true_one_after_it_costs_a_second_jump() -> None:
    state = DriverState([ping(0)], MAX_SPEED_MPS)
    assert state.fold(ping(15_000, 1), MAX_SPEED_MPS) == LIVE
    assert state.fold(ping(30_000, 500), MAX_SPEED_MPS) == IMPOSSIBLE_JUMP
    assert state.live.fix_time_ms == 15_000
    assert state.fold(ping(45_000, 2), MAX_SPEED_MPS) == IMPOSSIBLE_JUMP
    assert state.live.fix_time_ms == 15_000
    assert state.fold(ping(60_000, 3), MAX_SPEED_MPS) == LIVE
    assert state.live.fix_time_ms == 60_000


def test_a_false_first_fix_is_left_behind() -> None:
    state = DriverState([ping(0, 500)], MAX_SPEED_MPS)
    state.fold(ping(15_000, 1), MAX_SPEED_MPS)
    assert state.live.fix_time_ms == 0
    state.fold(ping(30_000, 2), MAX_SPEED_MPS)
    assert state.live.fix_time_ms == 30_000


def test_a_late_fix_fills_in_and_never_moves_the_car() -> None:
    state = DriverState([ping(0)], MAX_SPEED_MPS)
    state.fold(ping(30_000, 2), MAX_SPEED_MPS)
    assert state.fold(ping(15_000, 1), MAX_SPEED_MPS) == BACKFILL
    assert state.live.fix_time_ms == 30_000
    assert state.fold(ping(15_000, 1), MAX_SPEED_MPS) == DUPLICATE


def test_an_offline_buffer_that_is_sent_again_is_duplicate_not_backfill() -> None:
    buffer = [ping(at * 5_000, at) for at in range(SEEN_FIXES)]
    state, _ = fold_all(buffer)
    assert {state.fold(one, MAX_SPEED_MPS) for one in buffer} == {DUPLICATE}
    assert state.fold(ping(2_500), MAX_SPEED_MPS) == BACKFILL


@pytest.mark.parametrize("first_offline", [True, False])
def test_of_two_fixes_of_one_moment_the_offline_one_counts(first_offline: bool) -> None:
    both = [ping(0, vehicle_state=OFFLINE), ping(0, vehicle_state=ONLINE)]
    state, verdicts = fold_all(both if first_offline else both[::-1])
    assert state.live.vehicle_state == OFFLINE
    assert verdicts[1] == DUPLICATE


def test_phones_whose_clock_ticks_in_seconds_do_not_jump_within_one() -> None:
    state = DriverState([ping(0)], MAX_SPEED_MPS)
    assert state.fold(ping(1, accuracy_m=None), MAX_SPEED_MPS) == LIVE
    near = Ping("d", 3, 41.15 + 0.0004, -8.61, 0)  # 44 m in 2 ms, which may be up to 1 s
    assert state.fold(near, MAX_SPEED_MPS) == LIVE
    assert state.fold(ping(5, 2), MAX_SPEED_MPS) == IMPOSSIBLE_JUMP


@pytest.mark.parametrize("name", [PORTO, CAPMETRO])
def test_real_traces_in_order_get_the_verdicts_of_the_oracle(name: str) -> None:
    trace = [fix for fix in read_trace(name) if oracle.is_valid(fix)]
    states: dict[str, DriverState] = {}
    counts = [0, 0, 0, 0]
    for fix in trace:
        one = Ping(fix.driver_id, fix.fix_time_ms, fix.lat, fix.lon, 0)
        if fix.driver_id in states:
            counts[states[fix.driver_id].fold(one, MAX_SPEED_MPS)] += 1
        else:
            states[fix.driver_id] = DriverState([one], MAX_SPEED_MPS)
            counts[LIVE] += 1
    expected = oracle.verdicts(trace)
    assert counts == [expected.live, 0, expected.duplicate, expected.impossible_jump]
    assert sum(counts) == expected.accepted
    shown = {driver_id: (at.live.fix_time_ms, at.live.lat, at.live.lon) for driver_id, at in states.items()}
    assert shown == {driver_id: at[:3] for driver_id, at in oracle.fold(trace).items()}
