"""Drivers who cross regions while a write is cut off half way: wherever it is cut, they end up in one region."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from infra.clock import WallClock
from infra.local.engines import VALKEY, Engine
from ingest.events import Ping, encode_frame
from stream.channels import cell_of, region_of
from stream.handlers import FrameHandler
from stream.index import DriverIndex
from stream.metrics import StreamMetrics
from stream.partitions import PartitionWrite
from stream.records import Outcome, PartitionRecords
from stream.settings import StreamSettings

#: Three places in three regions, each some minutes by car from the next.
PLACES = [(41.15, -8.65), (41.15, -8.55), (41.15, -8.45)]
REGIONS = [region_of(cell_of(*place)) for place in PLACES]
START_MS = WallClock().now_ms() - 3_600_000


def frame(offset: int, *cars: tuple[str, int]) -> bytes:
    """A frame in which drivers report from PLACES, ten minutes after the frame before."""
    now_ms = START_MS + offset * 600_000
    return encode_frame([Ping(driver_id, now_ms, *PLACES[at], now_ms) for driver_id, at in cars])


class CutOff(PartitionRecords):
    """Does something else where it should write, once."""

    def __init__(self, client: redis.asyncio.Redis, instead: Callable[[], Awaitable[None]]) -> None:
        super().__init__(client)
        self.instead: Callable[[], Awaitable[None]] | None = instead

    async def write(self, writes: Sequence[PartitionWrite]) -> list[Outcome]:
        if self.instead is not None:
            instead, self.instead = self.instead, None
            await instead()
        return await super().write(writes)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[redis.asyncio.Redis]:
    engine = Engine.start(VALKEY, tmp_path)
    try:
        async with redis.asyncio.Redis.from_url(f"redis://{engine.address}/0") as client:
            yield client
    finally:
        engine.process.stop()


async def _refuse(partition: int, offset: int, value: bytes, reason: str) -> None:
    raise AssertionError(reason)


def worker(client: redis.asyncio.Redis, records: PartitionRecords) -> FrameHandler:
    metrics = StreamMetrics("driver.pings", CollectorRegistry())
    settings = StreamSettings(gone_after_ms=86_400_000)
    return FrameHandler(DriverIndex(client), records, WallClock(), settings, _refuse, metrics)


async def where(client: redis.asyncio.Redis) -> list[set[str]]:
    """The drivers in each of REGIONS."""
    return [{car.driver_id for car in (await DriverIndex(client).snapshot(region)).cars} for region in REGIONS]


def test_the_places_are_in_three_regions() -> None:
    assert len(set(REGIONS)) == 3


async def test_a_worker_that_died_after_the_regions_leaves_nobody_behind(client: redis.asyncio.Redis) -> None:
    """It wrote frame 1; its successor repeats frames 1 and 2 as one, in which `a` only passes through region 1."""
    frames = [frame(0, ("a", 0), ("b", 0)), frame(1, ("a", 1)), frame(2, ("a", 2))]
    first = worker(client, PartitionRecords(client))
    await first.assign({0: 0})
    await first.handle(0, 0, frames[0])

    async def die() -> None:
        raise asyncio.CancelledError

    dying = worker(client, CutOff(client, die))
    await dying.assign({0: 1})
    with pytest.raises(asyncio.CancelledError):
        await dying.handle(0, 1, frames[1])
    assert await where(client) == [{"b"}, {"a"}, set()]

    successor = worker(client, PartitionRecords(client))
    assert await successor.assign({0: 3}) == {0: 1}
    for offset in (1, 2):
        await successor.accept(0, offset, frames[offset], lambda: None)
    await successor.settle()
    assert await where(client) == [{"b"}, set(), {"a"}]


async def test_a_worker_that_is_only_late_adds_nobody_twice(client: redis.asyncio.Redis) -> None:
    """It writes the regions of frame 1 when its successor has written frames 1 and 2."""
    frames = [frame(0, ("a", 0)), frame(1, ("a", 1)), frame(2, ("a", 2))]
    first = worker(client, PartitionRecords(client))
    await first.assign({0: 0})
    await first.handle(0, 0, frames[0])
    late, successor = worker(client, PartitionRecords(client)), worker(client, PartitionRecords(client))
    await late.assign({0: 2})
    await late.accept(0, 1, frames[1], lambda: None)
    await successor.assign({0: 3})
    for offset in (1, 2):
        await successor.accept(0, offset, frames[offset], lambda: None)
    await successor.settle()
    await late.settle()
    assert await where(client) == [set(), set(), {"a"}]


async def test_a_driver_who_crosses_while_a_wipe_is_noticed_is_in_one_region(client: redis.asyncio.Redis) -> None:
    frames = [frame(0, ("a", 0), ("b", 2)), frame(1, ("a", 1)), frame(2, ("a", 2))]
    first = worker(client, PartitionRecords(client))
    await first.assign({0: 0})
    await first.handle(0, 0, frames[0])

    async def fold_the_next() -> None:
        await wiped.accept(0, 2, frames[2], lambda: None)

    wiped = worker(client, CutOff(client, fold_the_next))
    await wiped.assign({0: 1})
    await client.flushall()
    await wiped.handle(0, 1, frames[1])
    await wiped.settle()
    assert await where(client) == [set(), set(), {"a", "b"}]
