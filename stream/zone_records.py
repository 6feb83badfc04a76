"""Which zones each driver is in, in Redis, for the worker that takes a partition over."""

from __future__ import annotations

from collections.abc import Mapping

import redis.asyncio


def zones_key(partition: int) -> str:
    """Hash of driver id -> what `ZoneTracker.save` gave."""
    return f"{{p:{partition}}}:zones"


class ZoneRecords:
    """Methods raise redis.exceptions.RedisError; nothing here retries."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client

    async def load(self, partition: int) -> dict[str, bytes]:
        packed: dict[bytes, bytes] = await self._redis.hgetall(zones_key(partition))  # type: ignore[assignment]
        return {driver_id.decode(): saved for driver_id, saved in packed.items()}

    async def save(self, partition: int, drivers: Mapping[str, bytes | None]) -> None:
        """Write what changed; None for a driver who is in no zone any more."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for driver_id, saved in drivers.items():
                if saved is None:
                    pipeline.hdel(zones_key(partition), driver_id)
                else:
                    pipeline.hset(zones_key(partition), driver_id, saved)
            await pipeline.execute()
