"""The driver index in Redis: every key and script, written by stream, read by push. All other code asks this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import redis.asyncio

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
from stream.regions import RegionChange as RegionChange
from stream.scripts import Call, Scripts

#: A region nobody writes to any more disappears after this long (wall clock), so that a city that was closed
#: does not stay in Redis for ever. Far above any `gone_after_ms`: it never hides a driver.
REGION_TTL_MS = 7 * 24 * 3_600_000

#: `unpack` is bounded by Lua's C stack (8,000 values); a rewritten region may hold more drivers than that.
_SLICES = """
local function in_slices(first, last, call)
  for i = first, last, 4000 do call(unpack(ARGV, i, math.min(i + 3999, last))) end
end
"""

# KEYS drivers, meta · ARGV channel, fence field ('' for none), fence, ttl_ms, body, number of cars,
# (driver, car)*, drivers to remove* · returns seq, or 0 when the fence says it was applied already.
# A fence field N+ is that of removals after all regions of a frame were written. They come with the fix time of each
# (driver, fix time)*, and leave a car with a newer fix: another worker, who is ahead of this one, has set it.
# One script is one atomic step: write, sequence and publish cannot be seen apart. A call that changes nothing (all
# removals of drivers who are not there) does not count and is not published.
# A region's epoch is the microsecond of Redis's clock at which it came into being: one that was wiped and written
# anew, by whichever worker and before any knew of the wipe, is never taken for the one that readers hold.
APPLY = (
    _SLICES
    + """
local meta = KEYS[2]
if ARGV[2] ~= '' then
  local applied = redis.call('HGET', meta, ARGV[2])
  if applied and tonumber(applied) >= tonumber(ARGV[3]) then return 0 end
  redis.call('HSET', meta, ARGV[2], ARGV[3])
end
local cars = tonumber(ARGV[6])
local first_removal = 7 + 2 * cars
local removed = 0
in_slices(7, first_removal - 1, function(...) redis.call('HSET', KEYS[1], ...) end)
if string.sub(ARGV[2], -1) == '+' then
  for i = first_removal, #ARGV, 2 do
    local car = redis.call('HGET', KEYS[1], ARGV[i])
    if car and cmsgpack.unpack(car)[2] <= tonumber(ARGV[i + 1]) then
      removed = removed + redis.call('HDEL', KEYS[1], ARGV[i])
    end
  end
else
  in_slices(first_removal, #ARGV, function(...) removed = removed + redis.call('HDEL', KEYS[1], ...) end)
end
if cars == 0 and removed == 0 then
  redis.call('PEXPIRE', meta, ARGV[4])
  return tonumber(redis.call('HGET', meta, 'seq') or '0')
end
local seq = redis.call('HINCRBY', meta, 'seq', 1)
if seq == 1 then
  local now = redis.call('TIME')
  redis.call('HSET', meta, 'epoch', now[1] .. string.format('%06d', now[2]))
end
local epoch = redis.call('HGET', meta, 'epoch')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', meta, ARGV[4])
redis.call('SPUBLISH', ARGV[1], struct.pack('>dd', tonumber(epoch), seq) .. ARGV[5])
return seq
"""
)

# KEYS drivers, meta · ARGV channel, body, (driver, car)* · removes each driver whose stored car is byte for byte
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


@dataclass(frozen=True, slots=True)
class RegionWrite:
    """One script call: a region's change, and the fence that makes it once only."""

    region: int
    change: RegionChange
    fence_field: str
    fence: int


class DriverIndex:
    """Reads and writes the regions. Methods raise redis.exceptions.RedisError; nothing here retries."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._scripts = Scripts(client)

    async def apply(self, changes: Mapping[int, RegionChange], fence_field: str, fence: int) -> dict[int, int]:
        """Write each region's change, one script a region, pipelined in the mapping's order.

        `fence_field` names the Kafka partition (or "" for a write that is not a frame) and `fence` grows with each
        frame: a frame that a region has seen is not applied to it again. Returns region -> seq, 0 where it was seen.
        """
        return await self.write([RegionWrite(region, change, fence_field, fence) for region, change in changes.items()])

    async def write(self, writes: Sequence[RegionWrite]) -> dict[int, int]:
        """`apply` for the changes of several partitions, and for a region more than once, in the order given."""
        replies = await self._scripts.run(APPLY, writes, _apply_call)
        return {write.region: int(seq) for write, seq in zip(writes, replies, strict=True)}

    async def evict(self, region: int, cars: Sequence[Car]) -> int:
        """Remove these cars from a region if they are still exactly these. Returns how many went."""
        return await self.evict_all({region: cars})

    async def evict_all(self, cars: Mapping[int, Sequence[Car]]) -> int:
        """`evict` in several regions, in one round trip."""
        return sum(int(gone) for gone in await self._scripts.run(EVICT, list(cars.items()), _evict_call))

    async def snapshot(self, region: int) -> RegionSnapshot:
        """A region as of one moment, with the sequence number that moment has."""
        return (await self.snapshots([region]))[0]

    async def snapshots(self, regions: Sequence[int]) -> list[RegionSnapshot]:
        """Some regions in one round trip, each as of one moment of its own."""
        replies = await self._scripts.run(SNAPSHOT, regions, _snapshot_call)
        return [
            RegionSnapshot(int(epoch), int(seq), [unpack_car(value) for value in flat[1::2]])
            for epoch, seq, flat in replies
        ]

    async def car(self, region: int, driver_id: str) -> Car | None:
        """One driver as a region has it, if it has."""
        packed: bytes | None = await self._redis.hget(drivers_key(region), driver_id)  # type: ignore[assignment]
        return None if packed is None else unpack_car(packed)

    async def positions_of(self, regions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """(epoch, seq) of each region, for readers who want to know whether they missed the last delta."""
        wanted = list(regions)
        pipeline = self._redis.pipeline(transaction=False)
        for region in wanted:
            pipeline.hmget(meta_key(region), ["epoch", "seq"])
        replies = await pipeline.execute()
        return {region: (int(epoch or 0), int(seq or 0)) for region, (epoch, seq) in zip(wanted, replies, strict=True)}


def _keys(region: int) -> list[str]:
    return [drivers_key(region), meta_key(region)]


def _snapshot_call(region: int) -> Call:
    return _keys(region), ()


def _evict_call(leaving: tuple[int, Sequence[Car]]) -> Call:
    region, cars = leaving
    removals = [Removal(car.driver_id, car.fix_time_ms) for car in cars]
    args: list[Any] = [channel_of(region), pack_body([], removals)]
    for car in cars:
        args += (car.driver_id, pack_car(car))
    return _keys(region), args


def _apply_call(write: RegionWrite) -> Call:
    change = write.change
    packed = [pack_car(car) for car in change.cars.values()]
    body = pack_body(packed, list(change.removals.values()))
    args: list[Any] = [
        channel_of(write.region),
        write.fence_field,
        write.fence,
        REGION_TTL_MS,
        body,
        len(packed),
    ]
    args.extend(chain.from_iterable(zip(change.cars, packed, strict=True)))
    if write.fence_field.endswith("+"):
        args.extend(chain.from_iterable((one.driver_id, one.fix_time_ms) for one in change.removals.values()))
    else:
        args.extend(change.removals)
    return _keys(write.region), args
