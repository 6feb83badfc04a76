"""The Redis wire from stream to push: key and channel names, the car, the region delta, and their packing. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import h3.api.basic_int as h3
import msgspec

#: A region is ~36 km² (6.4 km across): measured, bigger regions write faster, and a city is a few dozen of them.
REGION_RESOLUTION = 6
#: A small cell is ~0.1 km² (350 m across): what riders' circles are covered with, in push's memory.
CELL_RESOLUTION = 9


class Car(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One driver as the index shows it: the newest fix that may be shown. Degrees, metres, epoch milliseconds.

    `cell` is the H3 cell of resolution 9; `received_at_ms` is ingest's wall clock, for latency only.
    """

    driver_id: str
    fix_time_ms: int
    lat: float
    lon: float
    cell: int
    received_at_ms: int
    accuracy_m: float | None = None
    heading_deg: float | None = None
    speed_mps: float | None = None
    vehicle_type: str = ""


class Removal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A driver left the region. A reader drops the car only if it knows no newer fix than `fix_time_ms`."""

    driver_id: str
    fix_time_ms: int


class RegionDelta(msgspec.Struct, frozen=True, gc=False):
    """One atomic change of one region. `seq` counts by one within an `epoch`; anything else is a gap."""

    epoch: int
    seq: int
    cars: list[Car]
    removals: list[Removal]


class RegionSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A region as it stands after the delta `seq` of `epoch`; (0, 0) where the region has never been written."""

    epoch: int
    seq: int
    cars: list[Car]


class _Body(msgspec.Struct, array_like=True, frozen=True, gc=False):
    cars: list[Car]
    removals: list[Removal]


#: The script prepends epoch and sequence as two big-endian doubles, which Lua can write and which are exact to 2^53.
_HEADER = struct.Struct(">dd")
_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(_Body)
_car_decoder = msgspec.msgpack.Decoder(Car)


def cell_of(lat: float, lon: float) -> int:
    """The small cell a position is in."""
    return int(h3.latlng_to_cell(lat, lon, CELL_RESOLUTION))


def region_of(cell: int) -> int:
    """The region a small cell is indexed under: its H3 ancestor (exact for the cell, approximate for its rim)."""
    return int(h3.cell_to_parent(cell, REGION_RESOLUTION))


def drivers_key(region: int) -> str:
    """Hash of driver id -> packed Car. The braces make one region one Redis Cluster slot."""
    return f"{{r:{region:x}}}:drivers"


def meta_key(region: int) -> str:
    """Hash of `epoch`, `seq` and, per Kafka partition, the last frame offset applied."""
    return f"{{r:{region:x}}}:meta"


def channel_of(region: int) -> str:
    """Sharded channel that carries the region's deltas."""
    return f"{{r:{region:x}}}:deltas"


def region_of_channel(channel: bytes | str) -> int:
    """Inverse of `channel_of`."""
    text = channel.decode() if isinstance(channel, bytes) else channel
    return int(text[3 : text.index("}")], 16)


def pack_car(car: Car) -> bytes:
    """A car as it is stored and published."""
    return _encoder.encode(car)


def unpack_car(value: bytes) -> Car:
    """Inverse of `pack_car`. Raises msgspec.DecodeError."""
    return _car_decoder.decode(value)


def pack_body(packed_cars: Sequence[bytes], removals: Sequence[Removal]) -> bytes:
    """The part of a delta that the writer packs; cars come packed already, because they are also stored.

    It is a `_Body`, put together by hand: seven times faster than wrapping each car for the encoder.
    """
    count = len(packed_cars)
    head = bytes((0x92, 0x90 | count)) if count < 16 else b"\x92\xdd" + count.to_bytes(4, "big")
    return b"".join((head, *packed_cars, _encoder.encode(removals)))


def unpack_delta(payload: bytes) -> RegionDelta:
    """Read a published delta. Raises ValueError (msgspec.DecodeError or struct.error wrapped) if it is not one."""
    try:
        epoch, seq = _HEADER.unpack_from(payload)
        body = _body_decoder.decode(memoryview(payload)[_HEADER.size :])
    except (struct.error, msgspec.DecodeError) as error:
        raise ValueError(f"not a region delta: {error}") from None
    return RegionDelta(int(epoch), int(seq), body.cars, body.removals)
