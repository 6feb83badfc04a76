"""The WebSocket wire from push to riders, `ridestream.v1`: messages, close codes and their JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import h3.api.basic_int as h3
import msgspec

from stream.channels import Car

SUBPROTOCOL: Final = "ridestream.v1"
#: A browser cannot set headers on a WebSocket; it may offer the token as a second subprotocol instead.
BEARER_SUBPROTOCOL_PREFIX: Final = "ridestream.bearer."

# Close codes: 4000-4499 mean "come back" (with jitter), 4500-4999 mean "do not, until something changes".
DRAINING: Final = 4001
TOKEN_EXPIRED: Final = 4005
SLOW_CONSUMER: Final = 4008
NO_PONG: Final = 4012
RATE_LIMITED: Final = 4013
BAD_TOKEN: Final = 4500
BAD_REQUEST: Final = 4501
NEVER_AUTHENTICATED: Final = 4502
FORBIDDEN: Final = 4503
TOO_MANY_CONNECTIONS: Final = 4504

CLOSE_REASONS: Final[Mapping[int, str]] = {
    DRAINING: "draining: this server is leaving, reconnect with jitter",
    TOKEN_EXPIRED: "token expired: reconnect with a fresh token",
    SLOW_CONSUMER: "slow consumer: nothing was read for too long, reconnect",
    NO_PONG: "no pong: the connection looked dead, reconnect",
    RATE_LIMITED: "rate limited: too many messages, reconnect later",
    BAD_TOKEN: "bad token: get a valid token before reconnecting",
    BAD_REQUEST: "bad request: a message was not ridestream.v1",
    NEVER_AUTHENTICATED: "never authenticated: send auth first",
    FORBIDDEN: "forbidden: the token lacks the scope",
    TOO_MANY_CONNECTIONS: "too many connections: close another first",
}

LIVE: Final = "live"
STALE: Final = "stale"


class Auth(msgspec.Struct, tag_field="type", tag="auth", forbid_unknown_fields=True):
    """First message of a client that could not send its token in a header or subprotocol."""

    token: str
    id: str | None = None


class Subscribe(msgspec.Struct, tag_field="type", tag="subscribe", forbid_unknown_fields=True):
    """Watch the cars near a place: within `radius_m`, or within `rings` H3 rings of resolution 9 around its cell.

    `sub` is the client's own name for the subscription and comes back on every message about it. Exactly one of
    `radius_m` and `rings` is given. `limit` keeps the nearest so many. `vehicle_types` keeps only those categories.
    """

    sub: str
    lat: float
    lon: float
    radius_m: float | None = None
    rings: int | None = None
    limit: int | None = None
    vehicle_types: list[str] | None = None
    channel: str = "nearby"
    id: str | None = None


class Recenter(msgspec.Struct, tag_field="type", tag="recenter", forbid_unknown_fields=True):
    """Move an existing subscription; what entered and left comes as one update, not as a new snapshot."""

    sub: str
    lat: float
    lon: float
    radius_m: float | None = None
    rings: int | None = None
    id: str | None = None


class Unsubscribe(msgspec.Struct, tag_field="type", tag="unsubscribe", forbid_unknown_fields=True):
    sub: str
    id: str | None = None


class PingMessage(msgspec.Struct, tag_field="type", tag="ping", forbid_unknown_fields=True):
    """Answered by `pong` with the server's time, so that a client can measure delay and clock offset."""

    id: str | None = None


ClientMessage = Auth | Subscribe | Recenter | Unsubscribe | PingMessage

_client_decoder = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()


class ProtocolError(ValueError):
    """A client's message is not ridestream.v1; `args[0]` says what to send instead and holds no position."""


def decode_client(text: str | bytes) -> ClientMessage:
    """Read one client message. Raises ProtocolError."""
    try:
        message: ClientMessage = _client_decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise ProtocolError("not JSON; send one JSON object with a `type`") from None
    return message


def encode_server(type_: str, fields: Mapping[str, object]) -> bytes:
    """One server message as compact JSON; `type` comes first. Fields that are None are left out."""
    return _encoder.encode({"type": type_, **{name: value for name, value in fields.items() if value is not None}})


def freshness_of(fix_time_ms: int, now_ms: int, stale_after_ms: int) -> str:
    """`live` or `stale`, from the age of the fix; a car that is gone is not sent at all."""
    return STALE if now_ms - fix_time_ms >= stale_after_ms else LIVE


def encode_car(car: Car, now_ms: int, stale_after_ms: int, handle: str | None = None) -> bytes:
    """A car's JSON object as of `now_ms` (event time). Every rider of one tick shares these bytes."""
    body: dict[str, object] = {
        "driver_id": handle or car.driver_id,
        "lat": car.lat,
        "lon": car.lon,
        "fix_time_ms": car.fix_time_ms,
        "age_ms": max(0, now_ms - car.fix_time_ms),
        "freshness": freshness_of(car.fix_time_ms, now_ms, stale_after_ms),
        "cell": h3.int_to_str(car.cell),
    }
    if car.heading_deg is not None:
        body["heading_deg"] = car.heading_deg
    if car.speed_mps is not None:
        body["speed_mps"] = car.speed_mps
    if car.accuracy_m is not None:
        body["accuracy_m"] = car.accuracy_m
    if car.vehicle_type:
        body["vehicle_type"] = car.vehicle_type
    return _encoder.encode(body)


def quote(text: str) -> bytes:
    """`text` as a JSON string."""
    return _encoder.encode(text)


def join_snapshot(quoted_sub: bytes, seq: int, now_ms: int, cars: Iterable[bytes]) -> bytes:
    """`snapshot`: everything the rider may see of one subscription, replacing what it knew."""
    return b'{"type":"snapshot","sub":%b,"seq":%d,"server_time_ms":%d,"cars":[%b]}' % (
        quoted_sub,
        seq,
        now_ms,
        b",".join(cars),
    )


def join_update(
    quoted_sub: bytes,
    seq: int,
    now_ms: int,
    enter: Iterable[bytes],
    move: Iterable[bytes],
    leave: Iterable[bytes],
) -> bytes:
    """`update`: what changed since the message with the sequence number before; `leave` holds quoted driver ids."""
    return b'{"type":"update","sub":%b,"seq":%d,"server_time_ms":%d,"enter":[%b],"move":[%b],"leave":[%b]}' % (
        quoted_sub,
        seq,
        now_ms,
        b",".join(enter),
        b",".join(move),
        b",".join(leave),
    )
