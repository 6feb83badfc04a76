"""Judge one ping alone: shape, whose it is, range, (0,0), clock, accuracy, mock. Pure: the time is handed in.

Of a credible fix nothing is lost for a bad extra: an impossible heading, speed or altitude becomes unknown.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ingest.events import OFFLINE, ONLINE, VEHICLE_TYPES, Ping
from ingest.schemas import PingIn, valid_id

MALFORMED = "malformed"
MISSING_DRIVER_ID = "missing_driver_id"
DRIVER_MISMATCH = "driver_mismatch"
OUT_OF_RANGE = "out_of_range"
NULL_ISLAND = "null_island"
FUTURE_FIX = "future_fix"
TOO_OLD = "too_old"
LOW_ACCURACY = "low_accuracy"
MOCK_LOCATION = "mock_location"
#: Every reason code; docs/wire/pings.md explains each.
REASONS = (
    MALFORMED,
    MISSING_DRIVER_ID,
    DRIVER_MISMATCH,
    OUT_OF_RANGE,
    NULL_ISLAND,
    FUTURE_FIX,
    TOO_OLD,
    LOW_ACCURACY,
    MOCK_LOCATION,
)

#: Faster than any road vehicle has been (447 m/s, 2023 claims aside: 341 m/s officially): a sensor's mistake.
MAX_SPEED_MPS = 500.0
#: Deeper than any shore and higher than any airliner: a sensor's mistake.
MAX_ALTITUDE_M = 20_000.0
#: Fix times before 1973 in milliseconds are 1973 to 5138 in seconds: the app sends the wrong unit.
_LOOKS_LIKE_SECONDS = 100_000_000_000

_STATES = frozenset({ONLINE, OFFLINE})


class Limits(Protocol):
    """What admission needs of AdmissionSettings."""

    @property
    def max_future_ms(self) -> int: ...
    @property
    def max_age_ms(self) -> int: ...
    @property
    def max_accuracy_m(self) -> float: ...
    @property
    def accept_mock(self) -> bool: ...


class DriverRule(msgspec.Struct, frozen=True, gc=False):
    """Whose pings a token may post: those of `driver_id`, or of any driver when it is "" (a fleet)."""

    driver_id: str


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """Why a ping was not admitted: a code of REASONS, and what to do about it, without a position.

    `member` is the one that is malformed, where that is the reason.
    """

    reason: str
    detail: str
    member: str = ""


_ID = "1 to 64 characters of A-Z a-z 0-9 _ . : -"
_BAD_PING_ID = Rejection(MALFORMED, f"ping_id must be {_ID}", "ping_id")
_BAD_DRIVER_ID = Rejection(MALFORMED, f"driver_id must be {_ID}", "driver_id")
_BAD_TYPE = Rejection(
    MALFORMED, f"vehicle_type must be one of {', '.join(sorted(VEHICLE_TYPES - {''}))}", "vehicle_type"
)
_BAD_STATE = Rejection(MALFORMED, f"vehicle_state must be {ONLINE} or {OFFLINE}", "vehicle_state")
_NO_DRIVER = Rejection(MISSING_DRIVER_ID, "a fleet token needs driver_id in each ping")
_OTHER_DRIVER = Rejection(DRIVER_MISMATCH, "driver_id is not the driver of this token; leave it out")
_RANGE = Rejection(OUT_OF_RANGE, "lat must be within [-90, 90] and lon within [-180, 180] degrees")
_ZERO = Rejection(NULL_ISLAND, "lat and lon are both exactly 0: wait for a fix before sending")
_INVALID_FIX = Rejection(LOW_ACCURACY, "a negative accuracy_m marks a fix as invalid; send only valid fixes")
_MOCK = Rejection(MOCK_LOCATION, "the phone marks this fix as mocked; turn the mock location app off")
_SECONDS = Rejection(TOO_OLD, "fix_time_ms is epoch milliseconds; this looks like seconds")


def admit(ping: PingIn, rule: DriverRule, now_ms: int, received_at_ms: int, limits: Limits) -> Ping | Rejection:
    """The ping as it goes to Kafka, or why not. `now_ms` is event time; `received_at_ms` is the wall's."""
    ping_id = ping.ping_id or ""
    if ping_id and not valid_id(ping_id):
        return _BAD_PING_ID
    vehicle_type = ping.vehicle_type or ""
    if vehicle_type and vehicle_type not in VEHICLE_TYPES:
        return _BAD_TYPE
    vehicle_state = ping.vehicle_state or ONLINE
    if vehicle_state is not ONLINE and vehicle_state not in _STATES:
        return _BAD_STATE

    driver_id = rule.driver_id
    if driver_id:
        if ping.driver_id and ping.driver_id != driver_id:
            return _OTHER_DRIVER
    else:
        driver_id = ping.driver_id or ""
        if not driver_id:
            return _NO_DRIVER
        if not valid_id(driver_id):
            return _BAD_DRIVER_ID

    lat, lon = ping.lat, ping.lon
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):
        return _RANGE
    if lat == 0.0 and lon == 0.0:
        return _ZERO

    age_ms = now_ms - ping.fix_time_ms
    if age_ms > limits.max_age_ms:
        if 0 <= ping.fix_time_ms < _LOOKS_LIKE_SECONDS:
            return _SECONDS
        return Rejection(TOO_OLD, f"the fix is more than {limits.max_age_ms // 1000} s old; drop it")
    if -age_ms > limits.max_future_ms:
        return Rejection(
            FUTURE_FIX, f"the fix is more than {limits.max_future_ms // 1000} s ahead of our clock; use GPS time"
        )

    accuracy_m = ping.accuracy_m
    if accuracy_m is not None:
        if accuracy_m < 0:
            return _INVALID_FIX
        if accuracy_m > limits.max_accuracy_m:
            return Rejection(LOW_ACCURACY, f"accuracy_m is above {limits.max_accuracy_m:g}; wait for a better fix")
    if ping.is_mock and not limits.accept_mock:
        return _MOCK

    heading_deg, speed_mps, altitude_m = ping.heading_deg, ping.speed_mps, ping.altitude_m
    if heading_deg is not None and not 0.0 <= heading_deg < 360.0:
        heading_deg = 0.0 if heading_deg == 360.0 else None
    if speed_mps is not None and not 0.0 <= speed_mps <= MAX_SPEED_MPS:
        speed_mps = None
    if altitude_m is not None and not -MAX_ALTITUDE_M <= altitude_m <= MAX_ALTITUDE_M:
        altitude_m = None

    return Ping(
        driver_id,
        ping.fix_time_ms,
        lat,
        lon,
        received_at_ms,
        ping_id,
        accuracy_m,
        heading_deg,
        speed_mps,
        altitude_m,
        vehicle_type,
        vehicle_state,
    )
