"""The Kafka wire from ingest to stream: pings, the frames that carry them, topic names and the partitioner. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from ingest.partitioner import murmur2

PINGS_TOPIC = "driver.pings"
#: Records that stream could not decode, each with its reason in a header. They hold positions: keep retention short.
REJECTED_TOPIC = "driver.pings.rejected"
TRIP_EVENTS_TOPIC = "trip.events"
#: Written by stream: what happened to trips, for webhooks; zone events of drivers without a trip; its table of trips.
TRIP_UPDATES_TOPIC = "trip.updates"
ZONE_EVENTS_TOPIC = "zone.events"
TRIPS_TABLE_TOPIC = "trips.table"

#: First element of every frame. A worker refuses a frame of another version instead of guessing.
FRAME_VERSION = 1

#: Fleet Engine's vehicle categories; "" where a driver app does not say.
VEHICLE_TYPES = frozenset({"", "AUTO", "TAXI", "TRUCK", "TWO_WHEELER", "BICYCLE", "PEDESTRIAN"})
#: Fleet Engine's vehicle states. A driver whose newest fix says OFFLINE is not shown.
ONLINE, OFFLINE = "ONLINE", "OFFLINE"


class Ping(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One admitted fix of one driver. WGS84 degrees, metres, metres per second, epoch milliseconds.

    `fix_time_ms` is the phone's GPS time and the only clock that orders a driver's fixes; `received_at_ms` is
    ingest's wall clock and only measures latency.
    """

    driver_id: str
    fix_time_ms: int
    lat: float
    lon: float
    received_at_ms: int
    ping_id: str = ""
    accuracy_m: float | None = None
    heading_deg: float | None = None
    speed_mps: float | None = None
    altitude_m: float | None = None
    vehicle_type: str = ""
    vehicle_state: str = ONLINE


class PingFrame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Pings that share a partition and arrived within a few milliseconds: one Kafka record."""

    version: int
    pings: list[Ping]


class FrameError(ValueError):
    """A record is not a frame this version can read; `args[0]` is a reason code without content."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PingFrame)
#: Everything of a frame before its array of pings: an empty one, without the one byte of its empty array.
_FRAME_HEAD = _encoder.encode(PingFrame(FRAME_VERSION, []))[:-1]


def encode_frame(pings: list[Ping]) -> bytes:
    """Pack pings of one partition into a record value, ~82 bytes a ping."""
    return _encoder.encode(PingFrame(FRAME_VERSION, pings))


def pack_pings(pings: Sequence[Ping]) -> bytes:
    """The pings as they stand in a frame, one after the other, without the frame around them."""
    packed = _encoder.encode(pings)
    return packed[_array_head_bytes(len(pings)) :]


def frame_of_packed(count: int, packed: Iterable[bytes]) -> bytes:
    """The record value of `count` pings that `pack_pings` has packed: what `encode_frame` gives for all of them."""
    head = _encoder.encode([None] * count)[: _array_head_bytes(count)]
    return b"".join((_FRAME_HEAD, head, *packed))


def _array_head_bytes(count: int) -> int:
    """MessagePack: the head of an array is 1 byte below 16 elements, 3 below 65,536, else 5."""
    return 1 if count < 16 else 3 if count < 65_536 else 5


def decode_frame(value: bytes | None) -> list[Ping]:
    """Unpack a record value. Raises FrameError(`empty_record` | `undecodable` | `unknown_version`)."""
    if not value:
        raise FrameError("empty_record")
    try:
        frame = _decoder.decode(value)
    except (msgspec.DecodeError, RecursionError):
        raise FrameError("undecodable") from None
    if frame.version != FRAME_VERSION:
        raise FrameError("unknown_version")
    return frame.pings


@lru_cache(maxsize=262_144)
def partition_of(driver_id: str, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a record keyed by this driver (murmur2, positive, mod N)."""
    return (murmur2(driver_id.encode()) & 0x7FFFFFFF) % partitions
