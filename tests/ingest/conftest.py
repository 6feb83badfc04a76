"""A real broker for ingest's tests, and ingest as the process that `make run` starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.engines import TANSU, Engine
from tests.ingest.service import IngestService


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Engine]:
    """A Kafka of this test's own, empty: it may be killed."""
    engine = Engine.start(TANSU, tmp_path)
    yield engine
    engine.process.stop()


@pytest.fixture
def service(broker: Engine, tmp_path: Path) -> Iterator[IngestService]:
    """Ingest on that broker, its topics created, not started yet: settings may still be changed."""
    service = IngestService(broker.address, tmp_path)
    yield service
    service.process.stop()
    assert service.log_is_clean(), "no position and no token reaches a log line"
