"""The Redis wire of trips from stream to push: key and channel names, the car, deltas, and their packing. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import msgspec

from ingest.trips import Trip, TripEvent

#: A trip nobody writes to any more disappears after this long (wall clock), should its end never be told.
ACTIVE_TTL_MS = 7 * 24 * 3_600_000


class TripCar(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where a trip's car is and how far it has to go. Degrees, metres, seconds, epoch milliseconds.

    `leg` names the next stop ("pickup", "waypoint:0", "dropoff"; "" while the car stands at one). `remaining_m` and
    `eta_s` are to that stop, as of the fix; None where there is none. `distance_m` is what this driver has driven.
    `route_m` is how far along the polyline of the leg the car is; None without a polyline, or off it.
    """

    assignment: int
    driver_id: str
    fix_time_ms: int
    lat: float
    lon: float
    received_at_ms: int
    accuracy_m: float | None = None
    heading_deg: float | None = None
    speed_mps: float | None = None
    vehicle_type: str = ""
    leg: str = ""
    remaining_m: float | None = None
    eta_s: float | None = None
    route_m: float | None = None
    off_route: bool = False
    distance_m: float = 0.0


class TrackFix(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One fix of a trip's track. Degrees, metres per second, epoch milliseconds."""

    fix_time_ms: int
    lat: float
    lon: float
    accuracy_m: float | None = None
    speed_mps: float | None = None
    altitude_m: float | None = None


class LogEntry(msgspec.Struct, frozen=True):
    """One event with its place in the trip's log. Offsets count from 1, without gaps."""

    offset: int
    event: TripEvent


class TripDelta(msgspec.Struct, frozen=True, gc=False):
    """One atomic change of one trip. `seq` counts by one within an `epoch`; anything else is a gap.

    `trip` and `car` are None where they did not change; `car_gone` says that there is none any more. `offset` is the
    log's last. `entries` is None where the reader must look for itself.
    """

    epoch: int
    seq: int
    offset: int
    entries: list[LogEntry] | None
    trip: Trip | None
    car: TripCar | None
    car_gone: bool


class TripSnapshot(msgspec.Struct, frozen=True):
    """A trip as it stands after the delta `seq` of `epoch`, with as much of its log as is kept.

    `entries` may begin above offset 1 (trimmed), and ends at `offset`.
    """

    epoch: int
    seq: int
    offset: int
    trip: Trip
    car: TripCar | None
    entries: list[LogEntry]


@dataclass(slots=True)
class TripWrite:
    """What is to be written of one trip. `whole` gives Redis the trip itself too (it must, after a change or a wipe).

    `events` are in order; those that were logged before are passed over. `log_offset` is the log's last as the writer
    knows it: who is wrong about it is behind, and would put an event where it does not belong. None: any will do.
    `ttl_ms` is how long it stays from now. `removed` are the times of fixes that the track is to lose.
    """

    trip: Trip
    whole: bool
    car: TripCar | None = None
    car_gone: bool = False
    events: Sequence[TripEvent] = ()
    fixes: Sequence[TrackFix] = ()
    removed: Sequence[int] = ()
    published: int = 0
    ttl_ms: int = ACTIVE_TTL_MS
    log_offset: int | None = None


@dataclass(slots=True)
class TripLog:
    """What Redis kept of a trip for the worker that takes it over."""

    snapshot: TripSnapshot | None
    fixes: list[TrackFix] = field(default_factory=list)
    published: int = 0


class TripOutcome(Enum):
    """What became of a write: done; refused, because the trip has gone on without its writer; the trip is not there."""

    WRITTEN = b"written"
    SUPERSEDED = b"superseded"
    MISSING = b"missing"


class TripReply(NamedTuple):
    """`offset` is the log's last; events up to `published` are in Kafka's `trip.updates`."""

    outcome: TripOutcome
    offset: int
    published: int


class _Body(msgspec.Struct, array_like=True, frozen=True):
    trip: Trip | None
    car: TripCar | None
    car_gone: bool
    events: list[TripEvent]


#: Epoch, sequence, last offset, and how many of the body's events are the last ones of the log (-1: look for yourself).
_HEADER = struct.Struct(">dddd")
_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(_Body)
_trip_decoder = msgspec.msgpack.Decoder(Trip)
_car_decoder = msgspec.msgpack.Decoder(TripCar)
_event_decoder = msgspec.msgpack.Decoder(TripEvent)
_fix_decoder = msgspec.msgpack.Decoder(TrackFix)


def trip_key(trip_id: str) -> str:
    """Hash of `epoch`, `seq`, `offset`, `version`, `assignment`, `trip`, `car`, `car_time`, `published`."""
    return f"{{t:{trip_id}}}:trip"


def log_key(trip_id: str) -> str:
    """Redis stream of the trip's events, with entry ids `<offset>-0`."""
    return f"{{t:{trip_id}}}:log"


def ids_key(trip_id: str) -> str:
    """Hash of event id -> offset: what makes an event be logged once."""
    return f"{{t:{trip_id}}}:ids"


def track_key(trip_id: str) -> str:
    """Hash of fix time -> packed TrackFix, of the present driver."""
    return f"{{t:{trip_id}}}:track"


def shares_key(trip_id: str) -> str:
    """Hash of share id -> expiry (epoch ms) of the links that are good: what is not in it is revoked."""
    return f"{{t:{trip_id}}}:shares"


def trip_channel(trip_id: str) -> str:
    """Sharded channel that carries the trip's deltas."""
    return f"{{t:{trip_id}}}:deltas"


def trip_of_channel(channel: bytes | str) -> str:
    """Inverse of `trip_channel`."""
    text = channel.decode() if isinstance(channel, bytes) else channel
    return text[3 : text.index("}")]


def pack_trip(trip: Trip) -> bytes:
    return _encoder.encode(trip)


def unpack_trip(value: bytes) -> Trip:
    """Raises msgspec.DecodeError."""
    return _trip_decoder.decode(value)


def pack_trip_car(car: TripCar) -> bytes:
    return _encoder.encode(car)


def unpack_trip_car(value: bytes) -> TripCar:
    """Raises msgspec.DecodeError."""
    return _car_decoder.decode(value)


def pack_event(event: TripEvent) -> bytes:
    return _encoder.encode(event)


def unpack_event(value: bytes) -> TripEvent:
    """Raises msgspec.DecodeError."""
    return _event_decoder.decode(value)


def pack_fix(fix: TrackFix) -> bytes:
    return _encoder.encode(fix)


def unpack_fix(value: bytes) -> TrackFix:
    """Raises msgspec.DecodeError."""
    return _fix_decoder.decode(value)


def pack_trip_body(trip: Trip | None, car: TripCar | None, car_gone: bool, events: Sequence[TripEvent]) -> bytes:
    """The part of a delta that the writer packs; the script puts the header in front of it."""
    return _encoder.encode((trip, car, car_gone, events))


def unpack_trip_delta(payload: bytes) -> TripDelta:
    """Read a published delta. Raises ValueError if it is not one."""
    try:
        epoch, seq, offset, fresh = map(int, _HEADER.unpack_from(payload))
        body = _body_decoder.decode(memoryview(payload)[_HEADER.size :])
    except (struct.error, msgspec.DecodeError) as error:
        raise ValueError(f"not a trip delta: {error}") from None
    entries: list[LogEntry] | None = None
    if 0 <= fresh <= len(body.events):
        first = offset - fresh + 1
        news = body.events[len(body.events) - fresh :]
        entries = [LogEntry(first + at, event) for at, event in enumerate(news)]
    return TripDelta(epoch, seq, offset, entries, body.trip, body.car, body.car_gone)
