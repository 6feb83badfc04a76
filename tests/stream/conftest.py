"""A Redis for the tests of stream: shared by those that leave it standing, and one to stop and to break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from infra.local.engines import VALKEY, Engine, Engines
from infra.redis import connect


@pytest.fixture(scope="session")
def _redis_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine.start(VALKEY, tmp_path_factory.mktemp("redis"))
    yield engine
    engine.process.stop()


@pytest.fixture
def engine(_redis_of_session: Engine) -> Engine:
    """An empty Redis."""
    with redis.Redis(port=_redis_of_session.port) as client:
        client.flushall()
        client.script_flush()
    return _redis_of_session


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[Engine]:
    """A Redis that the test may stop or kill."""
    engine = Engine.start(VALKEY, tmp_path)
    yield engine
    engine.process.stop()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of the shared Redis, as a worker makes it."""
    async with connect(f"redis://{engine.address}/0", timeout_s=30.0) as client:
        yield client


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    """A Kafka and a Redis of the test's own."""
    with Engines(tmp_path) as engines:
        yield engines
