"""`python -m ingest` as a process, posted to over its socket and compared with what Kafka holds."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx
from kafka import KafkaConsumer, TopicPartition

from infra.local.services import INGEST, Service, free_ports, task
from ingest.events import PINGS_TOPIC, Ping, decode_frame
from tests.ingest import wire
from tests.pipeline.polling import until as until

PARTITIONS = 8


class IngestService:
    """One ingest process. Where Kafka is to fall silent, a test shortens RIDESTREAM_ACK_TIMEOUT_S."""

    def __init__(self, kafka: str, directory: Path) -> None:
        self.kafka, self._directory = kafka, directory
        self.env = {
            "RIDESTREAM_KAFKA": kafka,
            # Nobody listens there: pings must go on without Redis. Tests of trips say where one is.
            "RIDESTREAM_REDIS": "redis://127.0.0.1:1/0",
            "RIDESTREAM_REDIS_TIMEOUT_S": "5",
            "RIDESTREAM_JWT_KEY": wire.KEY,
            "RIDESTREAM_PARTITIONS": str(PARTITIONS),
            "RIDESTREAM_ACK_TIMEOUT_S": "20",
            "RIDESTREAM_BODY_TIMEOUT_S": "20",
            "RIDESTREAM_DRAIN_S": "30",
            "RIDESTREAM_LOG_LEVEL": "debug",
            **free_ports(INGEST),
        }
        self.process = Service(INGEST, self.env, directory)

    def create_topics(self) -> None:
        topics = task("topics", "ingest", "topics", env=self.env, log_dir=self._directory).start()
        assert topics.wait(120) == 0, topics.last_line()

    def start(self, ready: bool = True) -> IngestService:
        self.process = Service(INGEST, self.env, self._directory).start()
        if ready:
            self.process.wait_ready(120)
        return self

    @property
    def url(self) -> str:
        return self.process.health_url

    @property
    def port(self) -> int:
        return self.process.port("RIDESTREAM_INGEST_PORT")

    def post(self, pings: Any, bearer: str | None = None) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/pings", json=pings, headers=wire.headers(bearer), timeout=60)

    def counters(self) -> dict[str, float]:
        """Verdict ("received", "accepted", "rejected", "unacknowledged") -> pings."""
        deadline_s = time.monotonic() + 60
        while not (text := self.process.metrics()):  # no answer in time is none, and not a count of zero
            assert time.monotonic() < deadline_s, "/metrics does not answer"
        found = {"received": float(_sample(text, r"ride_pings_received_total"))}
        for verdict in ("accepted", "rejected", "unacknowledged"):
            lines = re.findall(rf'^ride_pings_total{{.*verdict="{verdict}".*}} (\S+)$', text, re.MULTILINE)
            found[verdict] = sum(map(float, lines))
        return found

    def stored(self) -> list[tuple[int, Ping]]:
        """Every ping that Kafka holds, with its partition, in order within each."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.kafka, auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=20
        )
        try:
            partitions = [TopicPartition(PINGS_TOPIC, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            consumer.seek_to_beginning(*partitions)
            stored: list[tuple[int, Ping]] = []
            deadline_s = time.monotonic() + 120
            while any(consumer.position(each) < ends[each] for each in partitions):
                assert time.monotonic() < deadline_s, "Kafka does not give back what it holds"
                for records in consumer.poll(200).values():
                    stored += [(record.partition, each) for record in records for each in decode_frame(record.value)]
            return stored
        finally:
            consumer.close()

    def log_is_clean(self) -> bool:
        log = self.process.log.read_text() if self.process.log.exists() else ""
        return str(wire.LAT)[:7] not in log and str(wire.LON)[1:6] not in log and "eyJ" not in log


def _sample(text: str, name: str) -> str:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in /metrics"
    return found[1]
