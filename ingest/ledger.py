"""The ledger of trips in Redis: which version of a trip counts, who was answered what, and whether Kafka has it.

Redis may lose it all. Then stream's workers, who hold the trips, give it back, and until they have, a trip that is not
in it is not called unknown. What the ledger says of a trip and of the requests to it is in one slot, {t:ID}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec
import redis.asyncio

from ingest.idempotency import Answered, RequestKey, pack_answered, unpack_answered
from ingest.trips import Trip

#: Wall clock. A trip to which nothing happens for so long is forgotten; no ride is that long.
ACTIVE_TTL_MS = 7 * 24 * 3_600_000
#: A trip that has ended is told for a day, as stream keeps its log (RIDESTREAM_TRIP_KEPT_MS).
ENDED_TTL_MS = 24 * 3_600_000
#: How long the same Idempotency-Key gets the same answer. Longer than any client goes on trying.
ANSWER_TTL_MS = 24 * 3_600_000
#: Trips in one round trip when the ledger is given back: a few MB at most.
RESTORED_AT_ONCE = 200

# KEYS ledger, answer · ARGV the version that the decision was made on (0: no trip), version, trip, ttl_ms,
# answer ('' none), answer_ttl_ms · returns 1, or 0 when somebody else was first: then nothing is written.
COMMIT = """
if tonumber(redis.call('HGET', KEYS[1], 'version') or '0') ~= tonumber(ARGV[1]) then return 0 end
if ARGV[5] ~= '' and not redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6], 'NX') then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'trip', ARGV[3])
redis.call('HDEL', KEYS[1], 'restored')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""

# KEYS ledger · ARGV version, trip · returns the ledger's trip, or nil when it has none or an older one: Redis was wiped
# while the record was on its way. Nothing is brought back to life by it. `published` does not go back, it is never
# above `version`, and it is not said of another trip of the same version.
MARK_PUBLISHED = """
local now = redis.call('HMGET', KEYS[1], 'version', 'trip', 'published')
local ours, version, published = tonumber(ARGV[1]), tonumber(now[1] or '0'), tonumber(now[3] or '0')
if version < ours then return false end
if (version > ours or now[2] == ARGV[2]) and (published < ours or published > version) then
  redis.call('HSET', KEYS[1], 'published', ours)
end
return now[2]
"""

# KEYS ledger · ARGV version, trip, ttl_ms · what the ledger knows better stays. Whether Kafka has the trip in the
# partitions of all its drivers is known to nobody: it is in doubt.
RESTORE = """
if tonumber(redis.call('HGET', KEYS[1], 'version') or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'trip', ARGV[2], 'published', '0', 'restored', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class Entry(NamedTuple):
    """A trip in the ledger. Versions up to `published` are in Kafka, for all its drivers. A `restored` one came back
    after Redis lost it: there may be a newer version that is still to come back."""

    trip: Trip
    published: int
    restored: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Trip)


def ledger_key(trip_id: str) -> str:
    """Hash of `version`, `trip` (MessagePack), `published`, `restored`."""
    return f"{{t:{trip_id}}}:ledger"


def answer_key(trip_id: str, key: RequestKey) -> str:
    """What was answered to a request with an Idempotency-Key: MessagePack [digest, status, body]."""
    return f"{{t:{trip_id}}}:answer:{key.scope_id}"


def claim_key(key: RequestKey) -> str:
    """Digest of the trip that was ordered with an Idempotency-Key: the order may name a trip, and so another slot."""
    return f"{{i:{key.scope_id}}}:claim"


def restored_key(partition: int) -> str:
    """There when the ledger has everything that stream's worker of the partition has."""
    return f"{{p:{partition}}}:trips-restored"


class Ledger:
    """Methods raise redis.exceptions.RedisError; nothing here tries again."""

    def __init__(self, client: redis.asyncio.Redis, partitions: int) -> None:
        self._redis, self._partitions = client, partitions

    async def read(self, trip_id: str, key: RequestKey | None = None) -> tuple[Entry | None, Answered | None]:
        """The trip, and what was answered to `key`, as of one moment."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hmget(ledger_key(trip_id), ["trip", "published", "restored"])
            if key is not None:
                pipeline.get(answer_key(trip_id, key))
            (packed, published, restored), *answers = await pipeline.execute()
        entry = None
        if packed is not None:
            entry = Entry(_decoder.decode(packed), int(published or 0), restored is not None)
        answer = answers[0] if answers else None
        return entry, None if answer is None else unpack_answered(answer)

    async def claim(self, key: RequestKey) -> bool:
        """Bind an Idempotency-Key to what is ordered with it; False when it is bound to something else."""
        before = await self._redis.set(claim_key(key), key.digest, px=ANSWER_TTL_MS, nx=True, get=True)
        return before is None or before == key.digest

    async def commit(self, trip: Trip, answer: tuple[RequestKey, Answered] | None) -> bool:
        """Make this the trip, if the version before it still is. False: somebody else was first; read again."""
        keys = [ledger_key(trip.trip_id), ledger_key(trip.trip_id)]
        packed = b""
        if answer is not None:
            keys[1] = answer_key(trip.trip_id, answer[0])
            packed = pack_answered(answer[1])
        args = [trip.version - 1, trip.version, _encoder.encode(trip), _ttl_ms(trip), packed, ANSWER_TTL_MS]
        return bool(await self._run(COMMIT, keys, args))

    async def mark_published(self, trip: Trip) -> bool:
        """Note that Kafka has this version. False: the ledger's trip is not this one, nor did it come from this one."""
        packed = await self._run(MARK_PUBLISHED, [ledger_key(trip.trip_id)], [trip.version, _encoder.encode(trip)])
        if packed is None:
            return False
        now = _decoder.decode(cast(bytes, packed))
        return now == trip if now.version == trip.version else now.history[: trip.version] == trip.history

    async def is_restored(self, partition: int) -> bool:
        """Whether the ledger has everything of a partition; False after Redis was wiped, and before the first start."""
        return bool(await self._redis.exists(restored_key(partition)))

    async def missing_partitions(self) -> list[int]:
        """The partitions of which trips may be missing."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for partition in range(self._partitions):
                pipeline.exists(restored_key(partition))
            found = await pipeline.execute()
        return [partition for partition, there in enumerate(found) if not there]

    async def restore(self, trips: Sequence[Trip]) -> None:
        """Give the ledger trips that it lost; what it knows better stays.

        For stream's worker, of every trip that it keeps, also of those that were given to another driver: of a
        reassignment Kafka may have the former driver's half only. Versions may come in any order, the highest stays,
        and none is decided on or told before all partitions are there. They count as not published: whoever asks for
        one next publishes it first, to all its drivers. Then `mark_restored`.
        """
        for start in range(0, len(trips), RESTORED_AT_ONCE):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for trip in trips[start : start + RESTORED_AT_ONCE]:
                    args = [str(trip.version), _encoder.encode(trip), str(_ttl_ms(trip))]
                    pipeline.eval(RESTORE, 1, ledger_key(trip.trip_id), *cast(list[str], args))
                await pipeline.execute()

    async def mark_restored(self, partition: int) -> None:
        """Say that all trips of a partition are in the ledger, as of a moment after `is_restored` said False."""
        await self._redis.set(restored_key(partition), b"1")

    async def _run(self, script: str, keys: Sequence[str], args: Sequence[object]) -> object:
        # A few hundred bytes at a few requests a second: sending the script saves knowing whether Redis has it.
        return await self._redis.eval(script, len(keys), *keys, *cast(Sequence[str], args))


def _ttl_ms(trip: Trip) -> int:
    return ENDED_TTL_MS if trip.ended else ACTIVE_TTL_MS
