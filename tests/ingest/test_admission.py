"""What makes one ping acceptable on its own, at the rim of every rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import REASONS, DriverRule, Rejection, admit
from ingest.events import Ping, encode_frame
from ingest.frames import MAX_PING_BYTES
from ingest.schemas import PingIn
from ingest.settings import AdmissionSettings

NOW_MS = 1_767_225_600_000
LIMITS = AdmissionSettings()
DRIVER, FLEET = DriverRule("driver-1"), DriverRule("")


def judged(rule: DriverRule = DRIVER, **members: Any) -> Ping | Rejection:
    given = {"fix_time_ms": NOW_MS, "lat": 40.758, "lon": -73.9855, **members}
    return admit(PingIn(**given), rule, NOW_MS, NOW_MS + 3, LIMITS)


def reason(rule: DriverRule = DRIVER, **members: Any) -> str:
    verdict = judged(rule, **members)
    return verdict.reason if isinstance(verdict, Rejection) else ""


def test_a_good_ping_goes_on_with_all_it_says() -> None:
    assert judged(
        ping_id="p", accuracy_m=5, heading_deg=90, speed_mps=7, altitude_m=-3, vehicle_type="TAXI",
        vehicle_state="OFFLINE",
    ) == Ping("driver-1", NOW_MS, 40.758, -73.9855, NOW_MS + 3, "p", 5, 90, 7, -3, "TAXI", "OFFLINE")  # fmt: skip


@pytest.mark.parametrize(
    ("lat", "lon", "expected"),
    [
        (90, 180, ""),
        (-90, -180, ""),
        (90.0000001, 0, "out_of_range"),
        (-90.0000001, 0, "out_of_range"),
        (0, 180.0000001, "out_of_range"),
        (1, -180.0000001, "out_of_range"),
        (0, 0, "null_island"),
        (0.0, -0.0, "null_island"),
        (0, 1e-9, ""),
        (51.4779, 0, ""),
        (0, -78.4558, ""),
    ],
)
def test_where_a_fix_may_be(lat: float, lon: float, expected: str) -> None:
    assert reason(lat=lat, lon=lon) == expected


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (0, ""),
        (LIMITS.max_age_ms, ""),
        (LIMITS.max_age_ms + 1, "too_old"),
        (-LIMITS.max_future_ms, ""),
        (-LIMITS.max_future_ms - 1, "future_fix"),
        (NOW_MS, "too_old"),
        (2 * NOW_MS, "too_old"),
    ],
)
def test_when_a_fix_may_be(age_ms: int, expected: str) -> None:
    assert reason(fix_time_ms=NOW_MS - age_ms) == expected


def test_seconds_instead_of_milliseconds_are_told_apart() -> None:
    verdict = judged(fix_time_ms=NOW_MS // 1000)
    assert isinstance(verdict, Rejection)
    assert "seconds" in verdict.detail


@pytest.mark.parametrize(
    ("accuracy_m", "expected"),
    [(None, ""), (0, ""), (200, ""), (200.001, "low_accuracy"), (-1, "low_accuracy"), (1e308, "low_accuracy")],
)
def test_how_accurate_a_fix_must_be(accuracy_m: float | None, expected: str) -> None:
    assert reason(accuracy_m=accuracy_m) == expected


def test_a_mocked_fix_needs_a_setting() -> None:
    assert reason(is_mock=True) == "mock_location"
    assert reason(is_mock=False) == ""
    accepting = AdmissionSettings(accept_mock=True)
    assert isinstance(admit(PingIn(NOW_MS, 1.0, 1.0, is_mock=True), DRIVER, NOW_MS, NOW_MS, accepting), Ping)


def test_a_driver_posts_only_for_itself_and_a_fleet_says_for_whom() -> None:
    assert reason(DRIVER, driver_id="driver-1") == ""
    assert reason(DRIVER, driver_id="driver-2") == "driver_mismatch"
    assert reason(FLEET) == reason(FLEET, driver_id="") == "missing_driver_id"
    verdict = judged(FLEET, driver_id="driver-2")
    assert isinstance(verdict, Ping)
    assert verdict.driver_id == "driver-2"


@pytest.mark.parametrize("bad", ["x" * 65, "a b", "a/b", "a\n", "é", "{1}", "a\x00"])
def test_ids_are_short_and_plain(bad: str) -> None:
    assert reason(ping_id=bad) == "malformed"
    assert reason(FLEET, driver_id=bad) == "malformed"
    assert reason(ping_id="x" * 64) == reason(FLEET, driver_id="A.z_0:9-") == ""


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        ({"heading_deg": 360}, {"heading_deg": 0}),
        ({"heading_deg": -1}, {"heading_deg": None}),
        ({"heading_deg": 361}, {"heading_deg": None}),
        ({"heading_deg": 359.99}, {"heading_deg": 359.99}),
        ({"speed_mps": -1}, {"speed_mps": None}),
        ({"speed_mps": 1e9}, {"speed_mps": None}),
        ({"speed_mps": 0}, {"speed_mps": 0}),
        ({"altitude_m": -1e9}, {"altitude_m": None}),
        ({"altitude_m": 8848}, {"altitude_m": 8848}),
    ],
)
def test_an_incredible_extra_becomes_unknown_and_the_fix_lives(members: dict[str, Any], kept: dict[str, Any]) -> None:
    verdict = judged(**members)
    assert isinstance(verdict, Ping)
    assert {name: getattr(verdict, name) for name in kept} == kept


def test_unknown_vehicles_are_malformed() -> None:
    assert reason(vehicle_type="HOVERCRAFT") == reason(vehicle_state="online") == "malformed"
    assert reason(vehicle_type="", vehicle_state="") == ""


FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 90.0, 180.0, 360.0, 200.0])
TEXTS = st.none() | st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True)
PINGS = st.builds(
    PingIn,
    fix_time_ms=st.integers(-(2**63), 2**63 - 1) | st.integers(NOW_MS - 90_000_000, NOW_MS + 90_000),
    lat=FLOATS | st.floats(-90, 90),
    lon=FLOATS | st.floats(-180, 180),
    ping_id=TEXTS,
    driver_id=TEXTS | st.just("driver-1"),
    accuracy_m=st.none() | FLOATS,
    heading_deg=st.none() | FLOATS,
    speed_mps=st.none() | FLOATS,
    altitude_m=st.none() | FLOATS,
    vehicle_type=st.none() | st.text(max_size=5) | st.just("TWO_WHEELER"),
    vehicle_state=st.none() | st.text(max_size=5) | st.just("OFFLINE"),
    is_mock=st.none() | st.booleans(),
)


@given(PINGS, st.sampled_from([DRIVER, FLEET]))
def test_every_ping_gets_exactly_one_verdict_and_what_goes_on_is_sane(given: PingIn, rule: DriverRule) -> None:
    verdict = admit(given, rule, NOW_MS, NOW_MS, LIMITS)
    if isinstance(verdict, Rejection):
        assert verdict.reason in REASONS
        assert verdict.detail
        return
    assert -90 <= verdict.lat <= 90
    assert -180 <= verdict.lon <= 180
    assert (verdict.lat, verdict.lon) == (given.lat, given.lon) != (0, 0)
    assert NOW_MS - LIMITS.max_age_ms <= verdict.fix_time_ms <= NOW_MS + LIMITS.max_future_ms
    assert verdict.driver_id == (rule.driver_id or given.driver_id)
    assert verdict.heading_deg is None or 0 <= verdict.heading_deg < 360
    assert verdict.speed_mps is None or verdict.speed_mps >= 0
    assert len(encode_frame([verdict])) - len(encode_frame([])) <= MAX_PING_BYTES
