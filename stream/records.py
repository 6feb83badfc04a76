"""The partition records in Redis: what makes a frame count once. Written after the regions, read on assignment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import chain
from typing import Any

import redis.asyncio

from ingest.events import Ping
from stream.partitions import PartitionWrite, Record
from stream.positions import unpack_fixes
from stream.scripts import Call, Scripts

# KEYS drivers, meta · ARGV epoch, rewrite ('1' or ''), fence, number of meta values, (meta field, value)*,
# number of state values, (driver, fixes)*, drivers to forget* · returns 'written', 'lost' when another worker has
# applied newer frames (this one has lost the partition), or 'wiped' when the record is not the one it was.
# Repeating the newest write is harmless: two workers that applied the same frames hold the same states.
WRITE = """
local epoch, fence = redis.call('HGET', KEYS[2], 'epoch'), redis.call('HGET', KEYS[2], 'fence')
if fence and tonumber(fence) > tonumber(ARGV[3]) then return 'lost' end
if epoch ~= ARGV[1] and ARGV[2] == '' then return 'wiped' end
local last_meta = 4 + tonumber(ARGV[4])
local last_state = last_meta + 1 + tonumber(ARGV[last_meta + 1])
local function in_slices(first, last, call)
  for i = first, last, 4000 do call(unpack(ARGV, i, math.min(i + 3999, last))) end
end
in_slices(last_meta + 2, last_state, function(...) redis.call('HSET', KEYS[1], ...) end)
in_slices(last_state + 1, #ARGV, function(...) redis.call('HDEL', KEYS[1], ...) end)
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'fence', ARGV[3], unpack(ARGV, 5, last_meta))
return 'written'
"""

_TOTAL = "total:"


class Outcome(Enum):
    """What became of a write; see WRITE."""

    WRITTEN = b"written"
    LOST = b"lost"
    WIPED = b"wiped"


def drivers_key(partition: int) -> str:
    """Hash of driver id -> the driver's kept fixes (msgpack). The braces make one partition one Cluster slot."""
    return f"{{p:{partition}}}:drivers"


def meta_key(partition: int) -> str:
    """Hash of `epoch`, `base`, `fence` and `total:<verdict>`."""
    return f"{{p:{partition}}}:meta"


class PartitionRecords:
    """Reads and writes the records. Methods raise redis.exceptions.RedisError; nothing here retries."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._scripts = Scripts(client)

    async def load(self, partition: int, new_epoch: int) -> Record:
        """The record, or an empty one of `new_epoch` where there is none (drivers may have survived it)."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(meta_key(partition))
        pipeline.hgetall(drivers_key(partition))
        meta, packed = await pipeline.execute()
        drivers = {driver_id.decode(): fixes for driver_id, fixes in packed.items()}
        if b"fence" not in meta:
            return Record(new_epoch, drivers=drivers)
        return Record(int(meta[b"epoch"]), int(meta[b"base"]), int(meta[b"fence"]), _totals(meta), drivers)

    async def driver(self, partition: int, driver_id: str) -> list[Ping]:
        """One driver's kept fixes, oldest first; empty where there is no such driver. Raises msgspec.DecodeError."""
        packed: bytes | None = await self._redis.hget(drivers_key(partition), driver_id)  # type: ignore[assignment]
        return [] if packed is None else unpack_fixes(packed)

    async def write(self, writes: Sequence[PartitionWrite]) -> list[Outcome]:
        """Write the records of some partitions in one round trip."""
        return [Outcome(reply) for reply in await self._scripts.run(WRITE, writes, _write_call)]

    async def marks(self, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """(epoch, fence) of each record; (0, -1) where there is none. A worker sees by it that Redis was wiped."""
        wanted = list(partitions)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.ping()  # so that it asks Redis something even for no partition
        for partition in wanted:
            pipeline.hmget(meta_key(partition), ["epoch", "fence"])
        _, *replies = await pipeline.execute()
        return {
            partition: (int(epoch or 0), int(-1 if fence is None else fence))
            for partition, (epoch, fence) in zip(wanted, replies, strict=True)
        }

    async def totals(self, partitions: int) -> dict[str, int]:
        """Pings by verdict over all partitions, as far as they are written."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in range(partitions):
            pipeline.hgetall(meta_key(partition))
        found: dict[str, int] = {}
        for meta in await pipeline.execute():
            for name, count in _totals(meta).items():
                found[name] = found.get(name, 0) + count
        return found


def _write_call(write: PartitionWrite) -> Call:
    record = write.record
    meta: list[Any] = ["base", record.base]
    for name, count in record.totals.items():
        meta += (_TOTAL + name, count)
    args: list[Any] = [record.epoch, "1" if write.rewrite else "", record.fence, len(meta), *meta]
    args.append(2 * len(record.drivers))
    args.extend(chain.from_iterable(record.drivers.items()))
    args.extend(write.forgotten)
    return [drivers_key(write.partition), meta_key(write.partition)], args


def _totals(meta: dict[bytes, bytes]) -> dict[str, int]:
    prefix = _TOTAL.encode()
    return {name[len(prefix) :].decode(): int(count) for name, count in meta.items() if name.startswith(prefix)}
