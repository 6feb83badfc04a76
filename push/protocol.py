"""The WebSocket wire from push to riders, `ridestream.v1`: messages, close codes and their JSON. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Final

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
SHARE_ENDED: Final = 4506

CLOSE_REASONS: Final[Mapping[int, str]] = {
    DRAINING: "draining: this server is leaving, reconnect with jitter",
    TOKEN_EXPIRED: "token expired: reconnect with a fresh token",
    SLOW_CONSUMER: "slow consumer: nothing was read for too long, reconnect",  # or `resume <epoch>/<offset>`
    NO_PONG: "no pong: the connection looked dead, reconnect",
    RATE_LIMITED: "rate limited: too many messages, reconnect later",
    BAD_TOKEN: "bad token: get a valid token before reconnecting",
    BAD_REQUEST: "bad request: a message was not ridestream.v1",
    NEVER_AUTHENTICATED: "never authenticated: send auth first",
    FORBIDDEN: "forbidden: the token lacks the scope",
    TOO_MANY_CONNECTIONS: "too many connections: close another first",
    SHARE_ENDED: "share ended: the trip is over, or the link was revoked or has expired",
}

LIVE: Final = "live"
STALE: Final = "stale"

NEARBY: Final = "nearby"
TRIP: Final = "trip"
#: The members of a `subscribe` that a channel must have, and those that are another's.
_MEMBERS: Final[Mapping[str, tuple[Collection[str], Collection[str]]]] = {
    NEARBY: (("lat", "lon"), ("trip_id", "recover")),
    TRIP: (("trip_id",), ("lat", "lon", "radius_m", "rings", "limit", "vehicle_types")),
}


class Auth(msgspec.Struct, tag_field="type", tag="auth", forbid_unknown_fields=True):
    """First message of a client that could not send its token in a header or subprotocol."""

    token: str
    id: str | None = None


class Recover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to where a client knows the events of a trip: what it last heard in a message about it."""

    epoch: str
    offset: Annotated[int, msgspec.Meta(ge=0)]


class Subscribe(msgspec.Struct, tag_field="type", tag="subscribe", forbid_unknown_fields=True):
    """Watch the cars near a place (`channel` is `nearby`), or a trip (`trip`).

    `sub` is the client's own name for the subscription and comes back on every message about it.

    Nearby: `lat` and `lon`, and exactly one of `radius_m` and `rings` (H3 rings of resolution 9 around the place's
    cell). `limit` keeps the nearest so many. `vehicle_types` keeps only those categories.

    Trip: `trip_id`, and `recover` to go on where an earlier connection ended.
    """

    sub: str
    lat: float | None = None
    lon: float | None = None
    radius_m: float | None = None
    rings: int | None = None
    limit: int | None = None
    vehicle_types: list[str] | None = None
    trip_id: str | None = None
    recover: Recover | None = None
    channel: str = NEARBY
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError("not JSON in UTF-8; send one JSON object with a `type`") from None
    if isinstance(message, Subscribe) and message.channel in _MEMBERS:
        needed, foreign = _MEMBERS[message.channel]
        for name in needed:
            if getattr(message, name) is None:
                raise ProtocolError(f"Object missing required field `{name}`")
        for name in foreign:
            if getattr(message, name) is not None:
                raise ProtocolError(f"Object contains field `{name}`, which the channel {message.channel} has not")
    return message


def encode_server(type_: str, fields: Mapping[str, object]) -> bytes:
    """One server message as compact JSON; `type` comes first. Fields that are None are left out."""
    return _encoder.encode({"type": type_, **{name: value for name, value in fields.items() if value is not None}})


class CarMessage(msgspec.Struct, omit_defaults=True, gc=False):
    """One car in a `snapshot` or `update`. Degrees, metres, metres per second, epoch milliseconds.

    `age_ms` is as of the message's `server_time_ms`; `cell` is the H3 cell of resolution 9. What the driver's phone
    did not say is left out.
    """

    driver_id: str
    lat: float
    lon: float
    fix_time_ms: int
    age_ms: int
    freshness: str
    cell: str
    heading_deg: float | None = None
    speed_mps: float | None = None
    accuracy_m: float | None = None
    vehicle_type: str = ""


def encode_car(car: Car, now_ms: int, stale: bool) -> bytes:
    """A car's JSON object as of `now_ms` (event time)."""
    return _encoder.encode(
        CarMessage(
            car.driver_id,
            car.lat,
            car.lon,
            car.fix_time_ms,
            max(0, now_ms - car.fix_time_ms),
            STALE if stale else LIVE,
            f"{car.cell:x}",
            car.heading_deg,
            car.speed_mps,
            car.accuracy_m,
            car.vehicle_type,
        )
    )


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


def update_tail(enter: Iterable[bytes], move: Iterable[bytes], leave: Iterable[str]) -> bytes:
    """The part of an `update` that all riders who share a query share: what entered, moved, and left (driver ids)."""
    return b'"enter":[%b],"move":[%b],"leave":%b}' % (
        b",".join(enter),
        b",".join(move),
        _encoder.encode(leave),
    )


def join_update(quoted_sub: bytes, seq: int, now_ms: int, tail: bytes) -> bytes:
    """`update`: what changed since the message with the sequence number before."""
    return b'{"type":"update","sub":%b,"seq":%d,"server_time_ms":%d,%b' % (quoted_sub, seq, now_ms, tail)
