"""Why a driver is shown or not: every fix judged as the job judges it, and a sentence that names what to look at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.events import OFFLINE, ONLINE, Ping
from push.explanations import Explanation, Rejection, explain
from push.settings import PushSettings
from stream.positions import DriverState
from stream.regions import shown_as
from tests.push.city import MANHATTAN, towards

NOW_MS = 1_700_000_000_000
SETTINGS = PushSettings(stale_after_ms=30_000, gone_after_ms=120_000, max_speed_mps=55)


def fix(ago_ms: int, metres_north: float = 0.0, state: str = ONLINE) -> Ping:
    lat, lon = towards(MANHATTAN, 0, metres_north)
    return Ping("d-1", NOW_MS - ago_ms, lat, lon, NOW_MS - ago_ms + 40, vehicle_state=state)


def told(*fixes: Ping, indexed: bool = True, rejections: list[Rejection] | None = None) -> Explanation:
    car = shown_as(fixes[-1]).car if fixes and indexed else None
    return explain("d-1", 0, fixes, car, rejections or [], NOW_MS, SETTINGS)


def test_a_driver_with_a_fresh_fix_is_shown_as_live() -> None:
    answer = told(fix(9_000), fix(4_000, 50))
    assert (answer.state, answer.shown) == ("live", True)
    assert answer.explanation == "Shown as live: its newest believable fix is 4 s old."
    assert [each.verdict for each in answer.fixes] == ["live", "superseded"]
    assert answer.fix == answer.fixes[0]
    assert answer.fix is not None
    assert answer.fix.implied_speed_mps == 10.0


def test_a_silent_driver_is_stale_and_then_gone_and_the_setting_is_named() -> None:
    stale, gone = told(fix(30_000)), told(fix(120_000))
    assert (stale.state, stale.shown) == ("stale", True)
    assert "RIDESTREAM_STALE_AFTER_MS" in stale.explanation
    assert (gone.state, gone.shown) == ("gone", False)
    assert "2 min old" in gone.explanation
    assert "RIDESTREAM_GONE_AFTER_MS" in gone.explanation


def test_a_driver_who_went_offline_is_not_shown() -> None:
    answer = told(fix(9_000), fix(4_000, state=OFFLINE), indexed=False)
    assert (answer.state, answer.shown) == ("offline", False)
    assert "says OFFLINE" in answer.explanation


def test_a_leap_is_not_believed_and_the_fix_before_it_stays() -> None:
    answer = told(fix(9_000), fix(4_000, 90_000))
    assert [each.verdict for each in answer.fixes] == ["impossible_jump", "live"]
    assert answer.fix is not None
    assert answer.fix.fix_time_ms == NOW_MS - 9_000
    assert "18000 m/s" in answer.explanation
    assert "RIDESTREAM_MAX_SPEED_MPS" in answer.explanation


def test_a_driver_the_index_lost_is_not_called_shown() -> None:
    answer = told(fix(4_000), indexed=False)
    assert (answer.state, answer.shown) == ("live", False)
    assert "the index does not hold it" in answer.explanation


def test_a_driver_nobody_knows_is_unknown_and_the_reason_of_a_rejection_is_named() -> None:
    answer = told()
    assert (answer.state, answer.shown, answer.fix, answer.fixes) == ("unknown", False, None, [])
    rejected = told(rejections=[Rejection("low_accuracy", NOW_MS - 5_000, 5_000)])
    assert rejected.state == "unknown"
    assert "the last as low_accuracy 5 s ago" in rejected.explanation


def test_a_rejection_is_told_only_if_it_came_after_the_newest_fix() -> None:
    later, earlier = Rejection("mock_location", NOW_MS - 1_000, 1_000), Rejection("too_old", NOW_MS - 8_000, 8_000)
    assert "mock_location" in told(fix(4_000), rejections=[later, earlier]).explanation
    assert "too_old" not in told(fix(4_000), rejections=[earlier]).explanation


@given(
    st.lists(
        st.tuples(st.integers(1, 300_000), st.integers(0, 4_000)),
        min_size=1,
        max_size=9,
        unique_by=lambda each: each[0],
    )
)
def test_the_fix_that_counts_is_the_one_the_job_shows(seen: list[tuple[int, int]]) -> None:
    pings = [fix(ago_ms, metres) for ago_ms, metres in seen]
    state = DriverState(pings[:1], SETTINGS.max_speed_mps)
    for ping in pings[1:]:
        state.fold(ping, SETTINGS.max_speed_mps)
    answer = told(*state.fixes)
    assert answer.fix is not None
    assert answer.fix.fix_time_ms == state.live.fix_time_ms
    assert [each.verdict for each in answer.fixes].count("live") == 1
    assert answer.explanation.endswith(".")
    assert answer.explanation.count(". ") == 0
