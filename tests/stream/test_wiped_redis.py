"""A Redis that was wiped between two frames, seen by the worker only when it writes the second."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
from stream.records import PartitionRecords
from stream.settings import StreamSettings


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[redis.asyncio.Redis]:
    engine = Engine.start(VALKEY, tmp_path)
    try:
        async with redis.asyncio.Redis.from_url(f"redis://{engine.address}/0") as client:
            yield client
    finally:
        engine.process.stop()


def _frame(driver_id: str, now_ms: int) -> bytes:
    return encode_frame([Ping(driver_id, now_ms, 41.15, -8.61, now_ms)])


async def _refuse(partition: int, offset: int, value: bytes, reason: str) -> None:
    raise AssertionError(reason)


async def test_a_frame_written_after_a_wipe_does_not_keep_the_others_of_its_region_from_coming_back(
    client: redis.asyncio.Redis,
) -> None:
    clock, index = WallClock(), DriverIndex(client)
    metrics = StreamMetrics("driver.pings", CollectorRegistry())
    handler = FrameHandler(index, PartitionRecords(client), clock, StreamSettings(), _refuse, metrics)
    await handler.assign({0: 0})
    for offset, driver_id in enumerate(["a", "b"]):
        await handler.handle(0, offset, _frame(driver_id, clock.now_ms()))
    await client.flushall()
    await handler.handle(0, 2, _frame("c", clock.now_ms()))
    region = region_of(cell_of(41.15, -8.61))
    assert {car.driver_id for car in (await index.snapshot(region)).cars} == {"a", "b", "c"}
    await client.flushall()
    await handler.beat()
    assert {car.driver_id for car in (await index.snapshot(region)).cars} == {"a", "b", "c"}
    await handler.handle(0, 3, _frame("d", clock.now_ms()))
    assert {car.driver_id for car in (await index.snapshot(region)).cars} == {"a", "b", "c", "d"}
