"""Connect to Redis so that a server that hangs is noticed, and nothing is repeated behind our back."""

from __future__ import annotations

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect(url: str, timeout_s: float) -> redis.asyncio.Redis:
    """A client that never waits longer than `timeout_s` and tries once. Raises ValueError for a bad address."""
    try:
        client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise ValueError(f"RIDESTREAM_REDIS: {error}") from None
    return client
