"""What goes wrong for riders is planned: who, when and how, and the same each time."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.riders.faults import HALF_OPEN, KINDS, RECONNECT, SLOW, Mishap, plan


class Fault(NamedTuple):
    kind: str
    at_s: float
    for_s: float
    share: float


faults = st.builds(
    Fault, st.sampled_from(KINDS), st.floats(0, 3_600), st.floats(0, 600), st.floats(0, 1).map(lambda x: round(x, 3))
)
schedules = st.lists(faults, max_size=5)
crowds = st.integers(0, 60)


@given(schedules, crowds, st.integers())
def test_the_same_seed_plans_the_same_and_each_riders_mishaps_are_in_order(
    schedule: list[Fault], riders: int, seed: int
) -> None:
    planned = plan(schedule, riders, seed)
    assert planned == plan(schedule, riders, seed)
    assert len(planned) == riders
    assert all(mishaps == sorted(mishaps) for mishaps in planned)


@given(faults, crowds, st.integers())
def test_a_fault_happens_to_its_share_of_the_riders_once_each_and_to_somebody_if_it_is_written_down(
    fault: Fault, riders: int, seed: int
) -> None:
    planned = plan([fault], riders, seed)
    assert all(len(mishaps) <= 1 for mishaps in planned)
    struck = sum(map(len, planned))
    assert abs(struck - fault.share * riders) <= 1
    assert (struck > 0) == (riders > 0 and fault.share > 0)


@given(faults, st.integers(1, 60), st.integers())
def test_a_fault_begins_for_all_at_once_and_is_over_in_time(fault: Fault, riders: int, seed: int) -> None:
    for mishap in (each for mishaps in plan([fault], riders, seed) for each in mishaps):
        assert mishap.what == fault.kind
        assert mishap.at_ms == round(fault.at_s * 1_000)
        if fault.kind == RECONNECT:
            assert 0 <= mishap.for_ms <= round(fault.for_s * 1_000)
        else:
            assert mishap.for_ms == round(fault.for_s * 1_000)


def test_taking_a_fault_out_leaves_the_others_as_they_were() -> None:
    storm, tunnel = Fault(RECONNECT, 10, 5, 0.5), Fault(SLOW, 30, 20, 0.3)
    both, alone = plan([storm, tunnel], 40, 7), plan([tunnel], 40, 7)
    assert [[each for each in mishaps if each.what == SLOW] for mishaps in both] == alone


def test_those_who_come_back_do_not_all_come_at_once_and_the_slow_are_not_all_alike() -> None:
    away = {mishap.for_ms for (mishap,) in plan([Fault(RECONNECT, 10, 5, 1.0)], 50, 7)}
    assert len(away) > 40
    rates = [mishap.bytes_per_s for (mishap,) in plan([Fault(SLOW, 10, 5, 1.0)], 50, 7)]
    assert 0.0 in rates
    assert len(set(rates)) > 10


def test_another_seed_strikes_others() -> None:
    fault = Fault(HALF_OPEN, 10, 5, 0.2)
    assert plan([fault], 100, 1) != plan([fault], 100, 2)
    assert Mishap(10_000, HALF_OPEN, 5_000).until_ms == 15_000


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("slwo", 1, 1, 1), "rider_faults[0].kind is 'slwo'; it must be one of slow, half_open, reconnect"),
        (Fault(SLOW, -1, 1, 1), "rider_faults[0]: at_s and for_s must be 0 or more, and share from 0 to 1"),
        (Fault(SLOW, 1, 1, 1.5), "rider_faults[0]: at_s and for_s must be 0 or more, and share from 0 to 1"),
    ],
)
def test_a_fault_that_cannot_be_says_what_it_should_be(fault: Fault, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        plan([fault], 10, 7)
