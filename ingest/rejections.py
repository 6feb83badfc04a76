"""The last few rejected pings of each driver, in Redis, for whoever asks why a driver is not shown. No positions.

Off the hot path, and worth less than a ping: they are kept in memory until they are written once a second, and are
dropped where there are too many or Redis is away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from ingest.schemas import valid_id

#: Enough to see what is wrong with an app: they are mostly of one reason.
KEPT = 10
#: An hour after the last one there is nothing to explain any more.
TTL_MS = 3_600_000
#: How often they are written.
FLUSH_EVERY_S = 1.0
#: Drivers whose rejections wait to be written: 10 of each are some 10 MB at most.
MAX_DRIVERS = 10_000
#: Drivers written in one round trip.
DRIVERS_AT_ONCE = 1_000


class RejectedPing(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`received_at_ms` is ingest's wall clock; `fix_time_ms` is None where the ping had none. `reason` is a code of
    docs/wire/pings.md."""

    received_at_ms: int
    fix_time_ms: int | None
    reason: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RejectedPing)
_64_BITS = 2**63


def rejections_key(driver_id: str) -> str:
    """List of MessagePack RejectedPing, newest first."""
    return f"{{d:{driver_id}}}:rejections"


async def rejections_of(client: redis.asyncio.Redis, driver_id: str) -> list[RejectedPing]:
    """What was rejected of a driver lately, newest first. Raises RedisError."""
    packed = cast(list[bytes], await client.lrange(rejections_key(driver_id), 0, KEPT - 1))
    return [_decoder.decode(each) for each in packed]


class RejectionLog:
    """Takes rejections with `note`, writes them from `run`. `lost` is told how many were dropped."""

    def __init__(self, client: redis.asyncio.Redis, lost: Callable[[int], None]) -> None:
        self._redis, self._lost = client, lost
        self._waiting: dict[str, deque[RejectedPing]] = {}

    def note(self, driver_id: str, received_at_ms: int, fix_time_ms: int | None, reason: str) -> None:
        """Remember one rejected ping, if it says whose it was."""
        if not valid_id(driver_id):
            return
        theirs = self._waiting.get(driver_id)
        if theirs is None:
            if len(self._waiting) >= MAX_DRIVERS:
                self._lost(1)
                return
            theirs = self._waiting[driver_id] = deque(maxlen=KEPT)
        if fix_time_ms is not None and not -_64_BITS <= fix_time_ms < _64_BITS:
            fix_time_ms = None  # JSON has larger ones than MessagePack
        theirs.append(RejectedPing(received_at_ms, fix_time_ms, reason))

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what was noted, or drop it."""
        waiting, self._waiting = list(self._waiting.items()), {}
        for start in range(0, len(waiting), DRIVERS_AT_ONCE):
            part = waiting[start : start + DRIVERS_AT_ONCE]
            try:
                await self._write(part)
            except RedisError:
                self._lost(sum(len(theirs) for _, theirs in waiting[start:]))
                return

    async def _write(self, part: list[tuple[str, deque[RejectedPing]]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for driver_id, theirs in part:
                key = rejections_key(driver_id)
                pipeline.lpush(key, *map(_encoder.encode, theirs))
                pipeline.ltrim(key, 0, KEPT - 1)
                pipeline.pexpire(key, TTL_MS)
            await pipeline.execute()
