"""Frames for the tests: drivers who drive north, 100 m in 10 s, and a handler that takes them without Faust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.asyncio
from prometheus_client import CollectorRegistry

from ingest.events import PINGS_TOPIC, Ping, encode_frame
from stream.handlers import FrameHandler
from stream.index import DriverIndex
from stream.metrics import StreamMetrics
from stream.records import PartitionRecords
from stream.settings import StreamSettings

#: A start far from now, so that only the test's own clock makes sense of it.
START_MS = 1_000_000_000_000


class StandingClock:
    """A clock that the test moves."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


def ping(driver: int, step: int, **fields: Any) -> Ping:
    return Ping(
        f"driver-{driver}",
        START_MS + step * 10_000,
        41.0 + driver * 0.01 + step * 0.001,
        -8.6,
        received_at_ms=START_MS + step,
        **fields,
    )


def frame(step: int, drivers: Sequence[int] = range(5), **fields: Any) -> bytes:
    """All these drivers' pings of one moment."""
    return encode_frame([ping(driver, step, **fields) for driver in drivers])


class Rejected(list[tuple[int, int, bytes, str]]):
    """The records that were put aside."""

    async def __call__(self, partition: int, offset: int, value: bytes, reason: str) -> None:
        self.append((partition, offset, value, reason))


class Bench:
    """A handler on a Redis, and what is needed to look at both."""

    def __init__(self, client: redis.asyncio.Redis, clock: StandingClock | None = None, **settings: Any) -> None:
        self.clock = clock or StandingClock()
        self.rejected = Rejected()
        self.records = PartitionRecords(client)
        self.metrics = StreamMetrics(PINGS_TOPIC, CollectorRegistry())
        self.handler = FrameHandler(
            DriverIndex(client), self.records, self.clock, StreamSettings(**settings), self.rejected, self.metrics
        )
