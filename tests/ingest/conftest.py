"""A real broker and a real Redis for ingest's tests, and ingest as the process that `make run` starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

from infra.local.engines import TANSU, VALKEY, Engine
from infra.redis import connect
from tests.ingest.service import IngestService


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Engine]:
    """A Kafka of this test's own, empty: it may be killed."""
    engine = Engine.start(TANSU, tmp_path)
    yield engine
    engine.process.stop()


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
    return _redis_of_session


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of that Redis."""
    async with connect(f"redis://{engine.address}/0", timeout_s=30.0) as client:
        yield client


@pytest.fixture
def service(broker: Engine, tmp_path: Path) -> Iterator[IngestService]:
    """Ingest on that broker, its topics created, not started yet: settings may still be changed."""
    service = IngestService(broker.address, tmp_path)
    yield service
    service.process.stop()
    assert service.log_is_clean(), "no position and no token reaches a log line"
