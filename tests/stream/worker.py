"""A worker as a process, the frames that are sent to it, and what is in Redis of them."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from pathlib import Path

import redis.asyncio
from kafka import KafkaProducer

from infra.kafka import create_topics
from infra.local.engines import Engines, free_port
from infra.local.processes import Process
from infra.settings import DEFAULT_PARTITIONS
from ingest.events import PINGS_TOPIC, Ping, encode_frame, partition_of
from ingest.topics import topics
from stream.audit import verdicts
from tests.pipeline.polling import until
from tests.stream.frames import START_MS

#: A day: the frames of these tests are from another year, and the clock stands still beside them.
DAY_MS = 86_400_000


class Workers:
    """Workers that share one consumer group on these engines."""

    def __init__(self, engines: Engines, log_dir: Path) -> None:
        self.engines, self._log_dir = engines, log_dir
        self._started: list[tuple[Process, int]] = []
        create_topics(engines.kafka.address, topics(DEFAULT_PARTITIONS, 1))
        self.producer = KafkaProducer(bootstrap_servers=[engines.kafka.address], linger_ms=0)

    def start(self, **variables: object) -> Process:
        """Start one and wait until it is ready."""
        process = self.launch(**variables)
        return process.wait_until(lambda: self.ready(process), 120.0)

    def launch(self, **variables: object) -> Process:
        """Start one."""
        port = free_port()
        environment = {
            **self.engines.env,
            "RIDESTREAM_CLOCK": f"replay:event_start_ms={START_MS},event_end_ms={START_MS},speed=1,wall_start_ms=0",
            "RIDESTREAM_STREAM_METRICS_PORT": str(port),
            "RIDESTREAM_GONE_AFTER_MS": str(DAY_MS),
            "RIDESTREAM_SESSION_TIMEOUT_S": "6",
            "RIDESTREAM_REBALANCE_TIMEOUT_S": "2",
            **{f"RIDESTREAM_{name.upper()}": str(value) for name, value in variables.items()},
        }
        process = Process(
            f"worker-{len(self._started)}",
            [sys.executable, "-m", "stream", "worker"],
            self._log_dir / f"worker-{len(self._started)}.log",
            env=environment,
        ).start()
        self._started.append((process, port))
        return process

    def ready(self, process: Process) -> bool:
        return self.answers(process, "/readyz") is not None

    def answers(self, process: Process, path: str) -> str | None:
        """What the worker serves there, or None if that is not 200."""
        port = next(port for started, port in self._started if started is process)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def send(self, pings: list[Ping]) -> int:
        """One frame for each partition that these pings belong to; returns how many pings."""
        by_partition: dict[int, list[Ping]] = {}
        for one in pings:
            by_partition.setdefault(partition_of(one.driver_id, DEFAULT_PARTITIONS), []).append(one)
        for partition, those in by_partition.items():
            self.producer.send(PINGS_TOPIC, value=encode_frame(those), partition=partition)
        return len(pings)

    def totals(self) -> dict[str, int]:
        """The verdicts that are written."""

        async def read() -> dict[str, int]:
            async with redis.asyncio.Redis.from_url(f"redis://{self.engines.redis.address}/0") as client:
                return await verdicts(client)

        return asyncio.run(read())

    def until_folded(self, count: int, within_s: float = 120.0) -> None:
        """Wait until exactly so many pings got a verdict. Fails at once when there are more."""

        def folded() -> bool:
            total = sum(self.totals().values())
            assert total <= count, f"{total} verdicts for {count} pings"
            return total == count

        until(folded, within_s, lambda: f"{self.totals()} of {count}")

    def stop(self) -> None:
        self.producer.close()
        for process, _ in self._started:
            process.stop(2.0)
