"""The driver index in Redis: every key and script, written by stream, read by push. All other code asks this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from stream.channels import (
    Car,
    RegionSnapshot,
    Removal,
    channel_of,
    drivers_key,
    meta_key,
    pack_body,
    pack_car,
    unpack_car,
)

#: A region nobody writes to any more disappears after this long (wall clock), so that a city that was closed
#: does not stay in Redis for ever. Far above any `gone_after_ms`: it never hides a driver.
REGION_TTL_MS = 7 * 24 * 3_600_000

# KEYS drivers, meta · ARGV channel, epoch candidate, fence field ('' for none), fence, ttl_ms, body, number of cars,
# (driver, car)*, drivers to remove* · returns {seq, epoch}, or {0, 0} when the fence says it was applied already.
# One script is one atomic step: write, sequence and publish cannot be seen apart.
APPLY = """
local meta = KEYS[2]
if ARGV[3] ~= '' then
  local applied = redis.call('HGET', meta, ARGV[3])
  if applied and tonumber(applied) >= tonumber(ARGV[4]) then return {0, 0} end
  redis.call('HSET', meta, ARGV[3], ARGV[4])
end
local cars = tonumber(ARGV[7])
local first_removal = 8 + 2 * cars
if cars > 0 then redis.call('HSET', KEYS[1], unpack(ARGV, 8, first_removal - 1)) end
if #ARGV >= first_removal then redis.call('HDEL', KEYS[1], unpack(ARGV, first_removal, #ARGV)) end
local seq = redis.call('HINCRBY', meta, 'seq', 1)
if seq == 1 then redis.call('HSET', meta, 'epoch', ARGV[2]) end
local epoch = redis.call('HGET', meta, 'epoch')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', meta, ARGV[5])
redis.call('SPUBLISH', ARGV[1], struct.pack('>dd', tonumber(epoch), seq) .. ARGV[6])
return {seq, tonumber(epoch)}
"""

# that one, and publishes if any was removed. A worker that lost its partition so never removes a fresh car; readers
# that one, and publishes if any was removed. So a worker that lost its partition never removes a fresh car; readers
# are safe from the body naming one that stayed, because a removal never beats a newer fix.
EVICT = """
local gone = 0
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then gone = gone + redis.call('HDEL', KEYS[1], ARGV[i]) end
end
if gone > 0 then
  local seq = redis.call('HINCRBY', KEYS[2], 'seq', 1)
  local epoch = tonumber(redis.call('HGET', KEYS[2], 'epoch') or '0')
  redis.call('SPUBLISH', ARGV[1], struct.pack('>dd', epoch, seq) .. ARGV[2])
end
return gone
"""

# KEYS drivers, meta · returns {epoch, seq, {driver, car, ...}} of one moment.
SNAPSHOT = """
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'seq')
return {tonumber(meta[1] or '0'), tonumber(meta[2] or '0'), redis.call('HGETALL', KEYS[1])}
"""


@dataclass(slots=True)
class RegionChange:
    """What one frame does to one region: cars to set, and drivers who left with the fix that took them away."""

    cars: dict[str, Car] = field(default_factory=dict)
    removals: dict[str, Removal] = field(default_factory=dict)


class DriverIndex:
    """Reads and writes the regions. Methods raise redis.exceptions.RedisError; nothing here retries."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._sha: dict[str, str] = {}

    async def _run(self, script: str, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run one script per (keys, args) in one round trip; a Redis that lost its scripts is given them again."""
        for attempt in (1, 2):
            if script not in self._sha:
                self._sha[script] = await self._redis.script_load(script)
            pipeline = self._redis.pipeline(transaction=False)
            for keys, args in calls:
                pipeline.evalsha(self._sha[script], len(keys), *keys, *args)
            try:
                return list(await pipeline.execute())
            except NoScriptError:
                del self._sha[script]
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    async def apply(
        self, changes: Mapping[int, RegionChange], epoch: int, fence_field: str, fence: int
    ) -> dict[int, tuple[int, int]]:
        """Write each region's change, one script a region, pipelined in the mapping's order.

        `epoch` is used by regions that do not exist yet. `fence_field` names the Kafka partition (or "" for a write
        that is not a frame) and `fence` grows with each frame: a frame that a region has seen is not applied to it
        again. Returns region -> (seq, epoch), (0, 0) where it was seen.
        """
        replies = await self._run(
            APPLY,
            [
                ([drivers_key(region), meta_key(region)], _apply_args(region, change, epoch, fence_field, fence))
                for region, change in changes.items()
            ],
        )
        return {region: (int(seq), int(at)) for region, (seq, at) in zip(changes, replies, strict=True)}

    async def evict(self, region: int, cars: Sequence[Car]) -> int:
        """Remove these cars from a region if they are still exactly these. Returns how many went."""
        removals = [Removal(car.driver_id, car.fix_time_ms) for car in cars]
        args: list[Any] = [channel_of(region), pack_body([], removals)]
        for car in cars:
            args += (car.driver_id, pack_car(car))
        (gone,) = await self._run(EVICT, [([drivers_key(region), meta_key(region)], args)])
        return int(gone)

    async def snapshot(self, region: int) -> RegionSnapshot:
        """A region as of one moment, with the sequence number that moment has."""
        ((epoch, seq, flat),) = await self._run(SNAPSHOT, [([drivers_key(region), meta_key(region)], [])])
        return RegionSnapshot(int(epoch), int(seq), [unpack_car(value) for value in flat[1::2]])

    async def positions_of(self, regions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """(epoch, seq) of each region, for readers who want to know whether they missed the last delta."""
        wanted = list(regions)
        pipeline = self._redis.pipeline(transaction=False)
        for region in wanted:
            pipeline.hmget(meta_key(region), ["epoch", "seq"])
        replies = await pipeline.execute()
        return {region: (int(epoch or 0), int(seq or 0)) for region, (epoch, seq) in zip(wanted, replies, strict=True)}


def _apply_args(region: int, change: RegionChange, epoch: int, fence_field: str, fence: int) -> list[Any]:
    packed = [pack_car(car) for car in change.cars.values()]
    body = pack_body(packed, list(change.removals.values()))
    args: list[Any] = [channel_of(region), epoch, fence_field, fence, REGION_TTL_MS, body, len(packed)]
    for driver_id, car in zip(change.cars, packed, strict=True):
        args += (driver_id, car)
    args += change.removals
    return args
