"""A Redis for the tests of push: shared by those that leave it standing, and one to break."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from infra.local.engines import Engine
from tests.push.node import start_redis


@pytest.fixture(scope="session")
def _redis_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = start_redis(tmp_path_factory.mktemp("redis"))
    yield engine
    engine.process.stop()


@pytest.fixture
def engine(_redis_of_session: Engine) -> Engine:
    """An empty Redis."""
    with redis.Redis(port=_redis_of_session.port) as client:
        client.flushall()
    return _redis_of_session


@pytest.fixture
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Redis that the test may kill."""
    engine = start_redis(tmp_path_factory.mktemp("redis"))
    yield engine
    engine.process.stop()
