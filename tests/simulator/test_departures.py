"""Each fix that a rider should have been shown is timed once: when it is shown, or else a newer one in its place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.fleet.fixes import Fix
from simulator.posting.departures import REMEMBERED_S, Departures


def fix(at_ms: int, driver_id: str = "a", lat: float = 1.0, mocked: bool = False) -> Fix:
    return Fix(driver_id=driver_id, fix_time_ms=at_ms, lat=lat, lon=2.0, accuracy_m=8.0, is_mock=mocked)


def posted(*fixes: tuple[Fix, float]) -> Departures:
    departures = Departures()
    for each, due_s in fixes:
        departures.note([each], due_s)
    return departures


def test_arrivals_are_timed_from_the_first_departure() -> None:
    departures = posted((fix(1), 10.0), (fix(1), 20.0))
    assert departures.took_ms("a", 0, 1, 10.5) == (500.0,)
    assert departures.took_ms("a", 0, 2, 10.5) == ()
    assert departures.took_ms("b", 0, 1, 10.5) == ()


def test_a_stall_of_a_minute_is_remembered_at_any_rate_and_what_is_older_than_two_is_forgotten() -> None:
    departures = Departures()
    for number in range(3_000):
        departures.note([fix(100 * number)], number / 10)
    # 60 s at 10 Hz: 600 pings, and the last of them only just set out.
    took_ms = departures.took_ms("a", 239_900, 299_900, 299.9)
    assert sorted(took_ms) == pytest.approx([100.0 * number for number in range(600)])
    assert departures.took_ms("a", 0, 100 * round(10 * (299.9 - REMEMBERED_S) - 1), 299.9) == ()
    assert len(departures.took_ms("a", 0, 299_900, 299.9)) == REMEMBERED_S * 10 + 1


def test_two_seconds_of_silence_are_charged_with_each_ping_that_fell_due_and_neighbours_with_nothing_more() -> None:
    departures = posted(*((fix(200 * number), 0.2 * number) for number in range(11)))
    assert departures.took_ms("a", 0, 200, 0.25) == pytest.approx((50.0,))
    assert departures.took_ms("a", 0, 2_000, 2.1) == pytest.approx(
        (100, 1_900, 1_700, 1_500, 1_300, 1_100, 900, 700, 500, 300)
    )


def test_a_ping_that_was_posted_after_the_one_shown_waits_for_nobody() -> None:
    held = posted((fix(0), 0.0), (fix(2_000), 2.0), (fix(1_000), 2.1))
    assert held.took_ms("a", 0, 2_000, 2.5) == (500.0,)
    overtaken = posted((fix(0), 0.0), (fix(2_000), 2.0), (fix(1_000), 2.1), (fix(3_000), 3.0))
    assert overtaken.took_ms("a", 0, 3_000, 3.5) == (500.0, 1_500.0)


def test_a_ping_that_set_out_late_waits_from_then() -> None:
    departures = posted((fix(0), 0.0), (fix(1_000), 1.8), (fix(2_000), 2.0))
    assert departures.took_ms("a", 0, 2_000, 2.5) == pytest.approx((500.0, 700.0))


def test_what_ingest_rejects_and_leaps_that_nobody_believes_are_not_waited_for() -> None:
    mocked, nowhere = fix(1_000, mocked=True), Fix(driver_id="a", fix_time_ms=2_000, lat=0.0, lon=0.0)
    departures = posted((fix(0), 0.0), (mocked, 1.0), (nowhere, 2.0), (fix(3_000), 3.0), (fix(4_000), 4.0))
    assert departures.took_ms("a", 0, 4_000, 5.0) == (1_000.0, 2_000.0)
    # Of a leap, and of the fix after it, which the leap does not vouch for, the marker takes no notice (decision 0002).
    leap = [fix(0), fix(1_000), fix(2_000, lat=1.5), fix(3_000), fix(4_000), fix(5_000)]
    departures = posted(*((each, each.fix_time_ms / 1_000) for each in leap))
    assert departures.took_ms("a", 0, 5_000, 6.0) == (1_000.0, 5_000.0, 2_000.0)


def test_a_fix_from_the_future_that_was_rejected_is_not_waited_for_once_its_time_has_come() -> None:
    skewed = [(fix(number * 1_000), float(number)) for number in range(100)]
    skewed.insert(10, (fix(9_500 + 70_000), 9.5))
    assert posted(*skewed).took_ms("a", 79_000, 80_000, 80.2) == pytest.approx((200.0,))


class Ping(NamedTuple):
    fix_time_ms: int
    due_s: float
    mocked: bool


@st.composite
def phones(draw: st.DrawFn) -> list[Ping]:
    """Pings in the order of posting: late, held, sent at once and rejected ones among them; lost ones are not there."""
    count = draw(st.integers(2, 30))
    times = draw(st.lists(st.integers(1, 60), min_size=count, max_size=count, unique=True))
    if draw(st.booleans()):
        times.sort()
    dues = sorted(draw(st.lists(st.integers(0, 60), min_size=count, max_size=count)))
    rejected = draw(st.lists(st.integers(0, 4).map(lambda drawn: drawn == 0), min_size=count, max_size=count))
    return [Ping(1_000 * at, float(due), no) for at, due, no in zip(times, dues, rejected, strict=True)]


def to_be_shown(pings: Sequence[Ping]) -> list[Ping]:
    """Each that is newer than all that were accepted before it."""
    shown: list[Ping] = []
    for ping in pings:
        if not ping.mocked and (not shown or ping.fix_time_ms > shown[-1].fix_time_ms):
            shown.append(ping)
    return shown


@given(st.lists(phones(), min_size=1, max_size=3), st.data())
def test_whatever_push_leaves_out_each_rider_is_charged_once_with_each_ping_it_should_have_seen(
    fleet: list[list[Ping]], data: st.DataObject
) -> None:
    departures = Departures()
    everything = [(ping, f"car-{driver}") for driver, pings in enumerate(fleet) for ping in pings]
    for ping, driver_id in sorted(everything, key=lambda each: each[0].due_s):
        departures.note([fix(ping.fix_time_ms, driver_id, mocked=ping.mocked)], ping.due_s)
    for driver, pings in enumerate(fleet):
        due = to_be_shown(pings)
        for _rider in range(2):
            told = [ping for ping in due if data.draw(st.booleans())]
            charged, wanted = [], []
            for before, after in pairwise(told):
                received_s = after.due_s + data.draw(st.integers(0, 10))
                charged += departures.took_ms(f"car-{driver}", before.fix_time_ms, after.fix_time_ms, received_s)
                covered = [ping for ping in due if before.fix_time_ms < ping.fix_time_ms <= after.fix_time_ms]
                wanted += [1_000 * (received_s - ping.due_s) for ping in covered]
            assert sorted(charged) == sorted(wanted)
