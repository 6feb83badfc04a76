"""Trips in Redis: every key and script of a trip, written by stream, read by push. All other code asks this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import redis.asyncio

from stream.scripts import Call, Scripts
from stream.trip_channels import (
    LogEntry,
    TrackFix,
    TripLog,
    TripOutcome,
    TripReply,
    TripSnapshot,
    TripWrite,
    ids_key,
    log_key,
    pack_event,
    pack_fix,
    pack_trip,
    pack_trip_body,
    pack_trip_car,
    track_key,
    trip_channel,
    trip_key,
    unpack_event,
    unpack_fix,
    unpack_trip,
    unpack_trip_car,
)

# KEYS trip, log, ids, track · ARGV channel, version, assignment, trip ('' unchanged), car ('' unchanged, '-' gone),
# the car's fix time, published, kept events, ttl_ms, body, the log's last offset as the writer knows it ('' any),
# number of events, (event id, event)*, (fix time, fix or '' for one that is to be forgotten)*
# Returns {outcome, offset, published}: 'written'; 'superseded' when the trip has another driver, a higher version or
# another last offset by now, and this worker is behind; 'missing' when Redis does not know the trip and was not given
# it.
# One script is one atomic step: the log, the sequence and the publication cannot be seen apart. An event is logged
# once, by its id; a car never goes back; a new driver begins a new track.
APPLY = """
local meta = redis.call('HMGET', KEYS[1], 'version', 'assignment', 'offset', 'published', 'epoch')
local version, assignment = tonumber(ARGV[2]), tonumber(ARGV[3])
local offset, published = tonumber(meta[3] or '0'), math.max(tonumber(meta[4] or '0'), tonumber(ARGV[7]))
if meta[1] then
  if tonumber(meta[2]) > assignment or tonumber(meta[1]) > version or (ARGV[11] ~= '' and tonumber(ARGV[11]) ~= offset)
  then return {'superseded', offset, published} end
elseif ARGV[4] == '' then
  return {'missing', 0, 0}
end
local changed = ARGV[4] ~= '' and (not meta[1] or tonumber(meta[1]) < version)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'version', version, 'assignment', assignment, 'trip', ARGV[4])
end
if meta[2] and tonumber(meta[2]) < assignment then
  redis.call('DEL', KEYS[4])
  redis.call('HDEL', KEYS[1], 'car', 'car_time')
end
local epoch = meta[5]
if not epoch then
  local now = redis.call('TIME')
  epoch = now[1] .. string.format('%06d', now[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch)
end
if ARGV[5] == '-' then
  changed = redis.call('HDEL', KEYS[1], 'car', 'car_time') > 0 or changed
elseif ARGV[5] ~= '' then
  local before = redis.call('HGET', KEYS[1], 'car_time')
  if not before or tonumber(before) <= tonumber(ARGV[6]) then
    redis.call('HSET', KEYS[1], 'car', ARGV[5], 'car_time', ARGV[6])
    changed = true
  end
end
local count, fresh = tonumber(ARGV[12]), 0
local trailing = true
for i = 13, 12 + 2 * count, 2 do
  if redis.call('HSETNX', KEYS[3], ARGV[i], offset + 1) == 1 then
    offset = offset + 1
    fresh = fresh + 1
    redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[8], offset .. '-0', 'e', ARGV[i + 1])
  elseif fresh > 0 then
    trailing = false
  end
end
for i = 13 + 2 * count, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[4], ARGV[i])
  else redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', KEYS[1], 'offset', offset, 'published', published)
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[9]) end
if fresh > 0 or changed then
  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  redis.call('SPUBLISH', ARGV[1],
    struct.pack('>dddd', tonumber(epoch), seq, offset, trailing and fresh or -1) .. ARGV[10])
end
return {'written', offset, published}
"""

# KEYS trip, log · returns {epoch, seq, offset, trip, car, {{id, {'e', event}}, ...}} of one moment.
SNAPSHOT = """
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'offset', 'trip', 'car')
return {tonumber(meta[1] or '0'), tonumber(meta[2] or '0'), tonumber(meta[3] or '0'), meta[4], meta[5],
  redis.call('XRANGE', KEYS[2], '-', '+')}
"""

# KEYS trip · ARGV published · nothing is brought back to life by it.
MARK_PUBLISHED = """
local before = redis.call('HGET', KEYS[1], 'published')
if before and tonumber(before) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'published', ARGV[1]) end
return 0
"""


class TripIndex:
    """Reads and writes trips. Methods raise redis.exceptions.RedisError; nothing here retries."""

    def __init__(self, client: redis.asyncio.Redis, kept_events: int = 1_000) -> None:
        """The log of a trip keeps its last `kept_events` events."""
        self._redis, self._kept_events = client, kept_events
        self._scripts = Scripts(client)

    async def apply(self, writes: Sequence[TripWrite]) -> list[TripReply]:
        """Write some trips in one round trip, one script each."""
        replies = await self._scripts.run(APPLY, writes, self._apply_call)
        return [TripReply(TripOutcome(reply[0]), int(reply[1]), int(reply[2])) for reply in replies]

    async def mark_published(self, offsets: Mapping[str, int]) -> None:
        """Note up to which offset each trip's events are in Kafka."""
        await self._scripts.run(MARK_PUBLISHED, list(offsets.items()), lambda one: ([trip_key(one[0])], [one[1]]))

    async def snapshot(self, trip_id: str) -> TripSnapshot | None:
        """A trip as of one moment; None where Redis does not know it."""
        (reply,) = await self._scripts.run(SNAPSHOT, [trip_id], _snapshot_call)
        return _snapshot(reply)

    async def track(self, trip_id: str) -> list[TrackFix]:
        """The present driver's fixes on the trip, oldest first."""
        packed: dict[bytes, bytes] = await self._redis.hgetall(track_key(trip_id))  # type: ignore[assignment]
        return sorted((unpack_fix(value) for value in packed.values()), key=lambda fix: fix.fix_time_ms)

    async def load(self, trip_ids: Iterable[str]) -> dict[str, TripLog]:
        """Everything Redis keeps of some trips, for the worker that takes them over."""
        wanted = list(trip_ids)
        snapshots = await self._scripts.run(SNAPSHOT, wanted, _snapshot_call)
        pipeline = self._redis.pipeline(transaction=False)
        for trip_id in wanted:
            pipeline.hgetall(track_key(trip_id))
            pipeline.hget(trip_key(trip_id), "published")
        replies = iter(await pipeline.execute() if wanted else ())
        found = {}
        for trip_id, reply in zip(wanted, snapshots, strict=True):
            fixes = [unpack_fix(value) for value in next(replies).values()]
            published = int(next(replies) or 0)
            found[trip_id] = TripLog(_snapshot(reply), sorted(fixes, key=lambda fix: fix.fix_time_ms), published)
        return found

    async def positions_of(self, trip_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """(epoch, seq) of each trip, (0, 0) where there is none: whether a reader missed the last delta."""
        wanted = list(trip_ids)
        if not wanted:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for trip_id in wanted:
            pipeline.hmget(trip_key(trip_id), ["epoch", "seq"])
        replies = await pipeline.execute()
        return {one: (int(epoch or 0), int(seq or 0)) for one, (epoch, seq) in zip(wanted, replies, strict=True)}

    def _apply_call(self, write: TripWrite) -> Call:
        trip, car = write.trip, write.car
        keys = [of(trip.trip_id) for of in (trip_key, log_key, ids_key, track_key)]
        args: list[Any] = [
            trip_channel(trip.trip_id),
            trip.version,
            trip.assignment,
            pack_trip(trip) if write.whole else "",
            "-" if write.car_gone else pack_trip_car(car) if car is not None else "",
            car.fix_time_ms if car is not None else 0,
            write.published,
            self._kept_events,
            write.ttl_ms,
            pack_trip_body(trip if write.whole else None, car, write.car_gone, write.events),
            "" if write.log_offset is None else write.log_offset,
            len(write.events),
        ]
        args.extend(chain.from_iterable((event.event_id, pack_event(event)) for event in write.events))
        args.extend(chain.from_iterable((fix_time_ms, b"") for fix_time_ms in write.removed))
        args.extend(chain.from_iterable((fix.fix_time_ms, pack_fix(fix)) for fix in write.fixes))
        return keys, args


def _snapshot_call(trip_id: str) -> Call:
    return [trip_key(trip_id), log_key(trip_id)], ()


def _snapshot(reply: Sequence[Any]) -> TripSnapshot | None:
    epoch, seq, offset, trip, car, log = reply
    if trip is None:
        return None
    entries = [LogEntry(int(entry_id.partition(b"-")[0]), unpack_event(fields[1])) for entry_id, fields in log]
    return TripSnapshot(
        int(epoch), int(seq), int(offset), unpack_trip(trip), unpack_trip_car(car) if car else None, entries
    )
