"""Truth says where a car was, what its phone sent, and which fix riders should see by now."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fleet.fixes import Fix
from simulator.oracle.truth import COASTS_MS, TRACK_KEPT_S, UNKNOWN_AFTER_MS, Truth
from simulator.phones.phones import Sending

LAT, LON = 40.75, -73.98
NOW_MS = 1_767_225_600_000


def sending(fix_ms: int, driver: int = 0, lat: float = LAT, expect: str = "shown", honest: bool = True) -> Sending:
    fix = Fix(driver_id=f"driver-{driver}", fix_time_ms=fix_ms, lat=lat, lon=LON)
    return Sending(fix_ms, driver, fix, honest, expect)


def two_drivers() -> Truth:
    return Truth(["driver-0", "driver-1"])


def test_a_car_is_on_the_straight_line_between_two_reports() -> None:
    truth = two_drivers()
    truth.moved(0, NOW_MS, 40.0, -74.0)
    truth.moved(0, NOW_MS + 1_000, 40.001, -74.002)
    assert truth.where(0, NOW_MS) == (40.0, -74.0)
    assert truth.where(0, NOW_MS + 1_000) == (40.001, -74.002)
    assert truth.where(0, NOW_MS + 250) == pytest.approx((40.00025, -74.0005))
    assert truth.number == {"driver-0": 0, "driver-1": 1}


def test_a_car_goes_on_for_a_moment_after_its_newest_report_then_stands_and_then_nobody_knows() -> None:
    truth = two_drivers()
    truth.moved(0, NOW_MS, 40.0, -74.0)
    assert truth.where(0, NOW_MS + 500) == (40.0, -74.0), "one report has no course"
    truth.moved(0, NOW_MS + 1_000, 40.001, -74.0)
    assert truth.where(0, NOW_MS + 1_500) == pytest.approx((40.0015, -74.0))
    coasted = pytest.approx((40.001 + 0.001 * COASTS_MS / 1_000, -74.0))
    assert truth.where(0, NOW_MS + 1_000 + COASTS_MS) == coasted
    assert truth.where(0, NOW_MS + 1_000 + UNKNOWN_AFTER_MS) == coasted
    assert truth.where(0, NOW_MS + 1_001 + UNKNOWN_AFTER_MS) is None


def test_nothing_is_known_of_a_car_before_its_first_report_or_of_another_car() -> None:
    truth = two_drivers()
    truth.moved(0, NOW_MS, LAT, LON)
    assert truth.where(0, NOW_MS - 1) is None
    assert truth.where(1, NOW_MS) is None


def test_old_tracks_and_sendings_are_forgotten_and_new_ones_are_not() -> None:
    truth = two_drivers()
    seconds = 2 * TRACK_KEPT_S
    for second in range(seconds):
        at_ms = NOW_MS + 1_000 * second
        truth.moved(0, at_ms, LAT + second / 1e6, LON)
        truth.sent(sending(at_ms), at_ms)
        truth.judged(0, at_ms, None, at_ms)
    oldest_ms = NOW_MS + 1_000 * (seconds - TRACK_KEPT_S)
    assert truth.where(0, oldest_ms - 5_000) is None
    assert truth.where(0, oldest_ms) == pytest.approx((LAT + (seconds - TRACK_KEPT_S) / 1e6, LON))
    assert truth.was_sent(0, oldest_ms - 5_000) is None
    assert truth.was_sent(0, oldest_ms) is not None
    assert len(truth.sent_between(0, NOW_MS, NOW_MS + 1_000 * seconds)) <= TRACK_KEPT_S + 1


def test_a_fix_from_a_phone_whose_clock_is_a_day_slow_is_remembered_while_its_others_are() -> None:
    truth = two_drivers()
    day_ms = 86_400_000
    for second in range(300):
        at_ms = NOW_MS + 1_000 * second
        truth.sent(sending(at_ms - (day_ms if second % 3 == 0 else 0), expect="kept"), at_ms)
    assert truth.was_sent(0, NOW_MS - day_ms) is not None
    assert truth.was_sent(0, NOW_MS + 1_000) is not None


def test_what_was_sent_is_told_with_its_verdict() -> None:
    truth = two_drivers()
    truth.sent(sending(NOW_MS, expect="mock_location", honest=False), NOW_MS + 40)
    sent = truth.was_sent(0, NOW_MS)
    assert sent is not None
    assert (sent.lat, sent.lon, sent.honest, sent.expect) == (LAT, LON, False, "mock_location")
    assert (sent.sent_ms, sent.judged_ms, sent.reason) == (NOW_MS + 40, None, None)
    truth.judged(0, NOW_MS, "mock_location", NOW_MS + 90)
    truth.judged(0, NOW_MS + 1, "mock_location", NOW_MS + 91)  # of a fix that nobody sent
    judged = truth.was_sent(0, NOW_MS)
    assert judged is not None
    assert (judged.judged_ms, judged.reason) == (NOW_MS + 90, "mock_location")
    assert truth.was_sent(1, NOW_MS) is None
    assert truth.was_sent(0, NOW_MS + 1) is None


def test_a_duplicate_does_not_change_what_was_sent_first_and_accepted_is_never_taken_back() -> None:
    truth = two_drivers()
    truth.sent(sending(NOW_MS), NOW_MS)
    truth.judged(0, NOW_MS, None, NOW_MS + 10)
    truth.sent(sending(NOW_MS, lat=41.0, expect="kept", honest=False), NOW_MS + 20)
    truth.judged(0, NOW_MS, "too_old", NOW_MS + 30)
    sent = truth.was_sent(0, NOW_MS)
    assert sent is not None
    assert (sent.lat, sent.expect, sent.judged_ms, sent.reason) == (LAT, "shown", NOW_MS + 10, None)


def test_a_fix_to_be_shown_takes_the_place_of_one_of_the_same_time_that_was_refused() -> None:
    truth = two_drivers()
    truth.sent(sending(NOW_MS, lat=41.0, expect="mock_location", honest=False), NOW_MS)
    truth.judged(0, NOW_MS, "mock_location", NOW_MS + 10)
    truth.sent(sending(NOW_MS), NOW_MS + 20)
    sent = truth.was_sent(0, NOW_MS)
    assert sent is not None
    assert (sent.lat, sent.expect, sent.judged_ms) == (LAT, "shown", None)


def test_a_copy_that_is_accepted_after_another_was_refused_counts_from_then() -> None:
    truth = two_drivers()
    truth.sent(sending(NOW_MS), NOW_MS)
    truth.judged(0, NOW_MS, "too_old", NOW_MS + 10)
    truth.judged(0, NOW_MS, None, NOW_MS + 50)
    assert truth.settled(NOW_MS + 49, 0).fix_time_ms[0] == 0
    assert truth.settled(NOW_MS + 50, 0).fix_time_ms[0] == NOW_MS


def test_the_newest_fix_does_not_wait_for_a_verdict_and_skips_what_is_not_to_be_shown() -> None:
    truth = two_drivers()
    assert math.isnan(truth.newest().lat[0])
    truth.sent(sending(NOW_MS), NOW_MS)
    truth.sent(sending(NOW_MS + 1_000, lat=41.0, expect="kept"), NOW_MS + 1_000)
    truth.sent(sending(NOW_MS - 1_000, lat=42.0), NOW_MS + 1_000)
    newest = truth.newest()
    assert (newest.fix_time_ms[0], newest.lat[0], newest.lon[0]) == (NOW_MS, LAT, LON)
    assert newest.fix_time_ms[1] == 0
    truth.sent(sending(NOW_MS + 2_000), NOW_MS + 2_000)
    assert newest.fix_time_ms[0] == NOW_MS, "what was told stands"


#: (judged at, driver, fix time in s, to be shown, accepted), in order of the verdicts; fix times in any order.
_VERDICTS = st.tuples(st.integers(0, 60_000), st.integers(0, 1), st.integers(1, 60), st.booleans(), st.booleans())
histories = st.lists(_VERDICTS, max_size=40, unique_by=lambda each: each[2]).map(sorted)


@given(histories, st.lists(st.integers(-1_000, 70_000), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_the_settled_fix_is_the_newest_of_those_accepted_by_then(
    history: list[tuple[int, int, int, bool, bool]], horizons: list[int]
) -> None:
    truth = two_drivers()
    for at, driver, fix_s, shown, accepted in history:
        truth.sent(
            sending(NOW_MS + fix_s * 1_000, driver, LAT + fix_s / 100, "shown" if shown else "kept"), NOW_MS + at
        )
        truth.judged(driver, NOW_MS + fix_s * 1_000, None if accepted else "too_old", NOW_MS + at)
    for horizon in horizons:  # in any order: asking changes nothing
        settled = truth.settled(NOW_MS + horizon + 3_000, 3_000)
        for driver in (0, 1):
            times = [f for at, who, f, shown, ok in history if who == driver and shown and ok and at <= horizon]
            if times:
                assert settled.fix_time_ms[driver] == NOW_MS + max(times) * 1_000
                assert (settled.lat[driver], settled.lon[driver]) == (LAT + max(times) / 100, LON)
            else:
                assert settled.fix_time_ms[driver] == 0
                assert math.isnan(settled.lat[driver])
                assert math.isnan(settled.lon[driver])


@given(st.lists(st.integers(0, 200), max_size=60), st.integers(0, 200), st.integers(0, 200))
def test_what_was_sent_between_two_times_is_told_once_each_in_order(sent: list[int], low: int, high: int) -> None:
    truth = two_drivers()
    for at, fix_time in enumerate(sent):
        truth.sent(sending(NOW_MS + fix_time), NOW_MS + at)
    told = [fix_time - NOW_MS for fix_time, _ in truth.sent_between(0, NOW_MS + low, NOW_MS + high)]
    assert told == sorted({fix_time for fix_time in sent if low <= fix_time <= high})
