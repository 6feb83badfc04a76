"""A track is its set of fixes, in whatever order they came: distance and thinning against slow sums over all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.positions import METRES_PER_DEGREE
from stream.track import MIN_STEP_M, Track
from stream.trip_channels import TrackFix
from tests.oracle.distance import haversine_m

MAX_SPEED_MPS = 55.0


def fix(at_s: float, north_m: float, accuracy_m: float | None = None, **more: Any) -> TrackFix:
    return TrackFix(round(at_s * 1000), 40.0 + north_m / METRES_PER_DEGREE, -74.0, accuracy_m, **more)


def track_of(*fixes: TrackFix) -> Track:
    track = Track(MAX_SPEED_MPS)
    for one in fixes:
        track.add(one)
    return track


#: Some steps are walks, some are drives, some are no car's; and some fixes contradict another of their time.
fixes = st.lists(
    st.builds(
        fix,
        st.integers(0, 40),
        st.sampled_from([0.0, 1.0, 3.0, 7.0, 20.0, 51.0, 90.0, 400.0, 5_000.0]),
        st.sampled_from([None, 3.0, 12.0, 60.0]),
        speed_mps=st.sampled_from([None, 4.0]),
        altitude_m=st.sampled_from([None, -3.5]),
    ),
    max_size=60,
)


def content(one: TrackFix) -> tuple[float, ...]:
    optional = (one.accuracy_m, one.speed_mps, one.altitude_m)
    return (one.lat, one.lon, *(float("-inf") if value is None else value for value in optional))


def slow_set(arrived: list[TrackFix]) -> list[TrackFix]:
    times = sorted({one.fix_time_ms for one in arrived})
    return [min((one for one in arrived if one.fix_time_ms == at_ms), key=content) for at_ms in times]


def metres(before: TrackFix, after: TrackFix) -> float:
    return haversine_m(before.lat, before.lon, after.lat, after.lon)


def slow_distance_m(arrived: list[TrackFix]) -> float:
    """Sort all, leave out the lone ones, then walk."""
    of = slow_set(arrived)

    def vouched(before: TrackFix, after: TrackFix) -> bool:
        seconds = max(1.0, (after.fix_time_ms - before.fix_time_ms) / 1000)
        return metres(before, after) <= MAX_SPEED_MPS * seconds + (before.accuracy_m or 0) + (after.accuracy_m or 0)

    believed = [
        one
        for at, one in enumerate(of)
        if at in (0, len(of) - 1) or vouched(of[at - 1], one) or vouched(one, of[at + 1])
    ]
    total_m, at_last = 0.0, believed[0] if believed else None
    for one in believed[1:]:
        assert at_last is not None
        step_m = metres(at_last, one)
        if step_m >= max(MIN_STEP_M, at_last.accuracy_m or 0, one.accuracy_m or 0):
            total_m += step_m if vouched(at_last, one) else 0.0
            at_last = one
    return total_m


@settings(max_examples=300)
@given(fixes, st.randoms(use_true_random=False), st.integers(0, 10))
def test_fixes_in_any_order_and_repeated_make_one_track_of_one_length(
    arrived: list[TrackFix], random: Any, every: int
) -> None:
    again = arrived + random.sample(arrived, len(arrived) // 2)
    random.shuffle(again)
    track = Track(MAX_SPEED_MPS)
    for at, one in enumerate(again):
        track.add(one)
        if every and at % every == 0:
            # Who asks in between must not change what is said in the end.
            assert track.distance_m == pytest.approx(slow_distance_m(again[: at + 1]))
    assert list(track) == slow_set(arrived)
    assert track.distance_m == pytest.approx(slow_distance_m(arrived))
    assert track.at({one.fix_time_ms for one in again} | {-7}) == slow_set(arrived)


@given(st.integers(2, 400), st.sets(st.integers(0, 399), max_size=30))
def test_a_long_drive_is_as_long_when_some_fixes_come_late(count: int, late: set[int]) -> None:
    drive = [fix(at, at * 12.0) for at in range(count)]
    track = track_of(*(one for at, one in enumerate(drive) if at not in late))
    assert track.distance_m == pytest.approx(slow_distance_m(list(track)))
    for at in sorted(late & set(range(count)), key=lambda at: -at % 7):
        track.add(drive[at])
        track.distance_m  # noqa: B018 - asking leaves sums behind, which the next fix must not trust
    assert track.distance_m == pytest.approx((count - 1) * 12.0)


def test_adding_a_fix_again_changes_nothing() -> None:
    track = track_of(fix(1, 0), fix(2, 10))
    assert not track.add(fix(1, 0))
    assert track.add(fix(3, 20))


def test_one_false_fix_adds_nothing_to_the_distance() -> None:
    honest = [fix(at, at * 10.0) for at in range(10)]
    assert track_of(*honest, fix(4.5, 90_000.0)).distance_m == pytest.approx(90.0)


def test_a_late_fix_may_take_away_what_vouched_for_another() -> None:
    track = track_of(fix(0, 0), fix(10, 50_000), fix(12, 50_100))
    assert track.distance_m == pytest.approx(100.0)
    track.add(fix(11, 10))
    assert track.distance_m == slow_distance_m(list(track)) == 0.0


@pytest.mark.parametrize("at_s", [-1, 0, 9, 10, 11])
def test_a_false_fix_at_either_end_is_no_step(at_s: float) -> None:
    honest = [fix(at, at * 10.0) for at in range(1, 10)]
    assert track_of(*honest, fix(at_s, -80_000.0)).distance_m <= 80.0 + 1e-6


def test_a_car_that_stands_still_for_an_hour_drives_nowhere() -> None:
    jitter = [0.0, 3.0, -1.0, 4.0, 1.5, -0.5]
    assert track_of(*(fix(at, jitter[at % 6], 8.0) for at in range(3_600))).distance_m == 0.0


def test_a_car_that_crawls_gets_there() -> None:
    assert track_of(*(fix(at, at * 0.5) for at in range(1_001))).distance_m == pytest.approx(500.0, abs=MIN_STEP_M)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_a_track_that_grows_too_long_is_thinned_out_evenly_whatever_the_order(times_ms: list[int], random: Any) -> None:
    arrived = [fix(at_ms / 1000, at_ms / 100) for at_ms in times_ms]
    one, other = Track(MAX_SPEED_MPS, max_fixes=16), Track(MAX_SPEED_MPS, max_fixes=16)
    for at in arrived:
        one.add(at)
    random.shuffle(arrived)
    for at in arrived + arrived[: len(arrived) // 2]:
        other.add(at)
    step_ms = 1
    while len({at.fix_time_ms // step_ms for at in arrived}) > 16:
        step_ms *= 2
    first: dict[int, TrackFix] = {}
    for at in sorted(arrived, key=lambda at: at.fix_time_ms):
        first.setdefault(at.fix_time_ms // step_ms, at)
    assert list(one) == list(other) == list(first.values())
    assert one.distance_m == pytest.approx(other.distance_m)
