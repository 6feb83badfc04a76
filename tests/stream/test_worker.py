"""Workers as processes on a real Kafka and a real Redis: killed, joined, left, misled, and told to stop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio
from kafka import KafkaConsumer

from infra.local.engines import Engines, free_port
from infra.settings import DEFAULT_PARTITIONS
from ingest.events import PINGS_TOPIC, REJECTED_TOPIC
from stream.audit import cars
from tests.pipeline.polling import until
from tests.stream.frames import START_MS, ping
from tests.stream.worker import Workers

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]

DRIVERS = 40


@pytest.fixture
def workers(engines: Engines, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(engines, tmp_path)
    yield workers
    workers.stop()


def shown(workers: Workers) -> dict[str, int]:
    """Driver -> the step it is shown at. Fails when a driver is in two regions."""

    async def read() -> dict[str, int]:
        found: dict[str, int] = {}
        async with redis.asyncio.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
            for _, car in await cars(client):
                assert car.driver_id not in found, f"{car.driver_id} is shown twice"
                found[car.driver_id] = (car.fix_time_ms - START_MS) // 10_000
        return found

    return asyncio.run(read())


def drive(workers: Workers, steps: range) -> int:
    """Every driver pings at each of these steps; returns how many pings."""
    return sum(workers.send([ping(driver, step) for driver in range(DRIVERS)]) for step in steps)


def everyone_at(step: int) -> dict[str, int]:
    return {f"driver-{driver}": step for driver in range(DRIVERS)}


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(workers: Workers) -> None:
    first = workers.start()
    sent = drive(workers, range(60))
    until(lambda: sum(workers.totals().values()) > 0, 60.0, "the first worker folds nothing")
    first.kill()
    sent += drive(workers, range(60, 100))
    workers.start()
    workers.until_folded(sent)
    assert shown(workers) == everyone_at(99)
    assert workers.totals()["live"] == sent


@pytest.mark.timeout(600)
def test_a_second_worker_joins_and_leaves_without_a_lost_or_doubled_driver(workers: Workers) -> None:
    first = workers.start()
    sent, step = 0, 0

    def drive_until(condition: object) -> None:
        nonlocal sent, step
        deadline = time.monotonic() + 120
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline
            sent += drive(workers, range(step, step + 1))
            step += 1
            time.sleep(0.05)

    def partitions_of(process: object) -> int:
        metrics = workers.answers(process, "/metrics") or ""  # type: ignore[arg-type]
        return metrics.count("kafka_consumer_lag_records{")

    drive_until(lambda: partitions_of(first) == DEFAULT_PARTITIONS)
    second = workers.start()
    drive_until(lambda: partitions_of(first) == partitions_of(second) == DEFAULT_PARTITIONS // 2)
    second.terminate()
    drive_until(lambda: not second.running and partitions_of(first) == DEFAULT_PARTITIONS)
    assert second.returncode == 0
    workers.until_folded(sent)
    assert shown(workers) == everyone_at(step - 1)
    assert workers.totals()["live"] == sent


def test_a_record_that_is_no_frame_goes_to_the_rejected_topic_with_its_reason(workers: Workers) -> None:
    workers.start()
    workers.producer.send(PINGS_TOPIC, value=b"\x00 no frame", partition=1)
    sent = drive(workers, range(2))
    workers.until_folded(sent + 1)  # a rejected record is counted, too
    assert workers.totals()["rejected_records"] == 1
    consumer = KafkaConsumer(
        REJECTED_TOPIC,
        bootstrap_servers=[workers.engines.kafka.address],
        auto_offset_reset="earliest",
        consumer_timeout_ms=60_000,
        group_id=None,
    )
    record = next(iter(consumer))
    consumer.close()
    assert record.value == b"\x00 no frame"
    assert dict(record.headers) == {"reason": b"undecodable", "source": b"driver.pings/1/0"}


def test_told_to_stop_it_finishes_leaves_and_says_nothing_but_json(workers: Workers) -> None:
    worker = workers.start()
    sent = drive(workers, range(20))
    workers.until_folded(sent)
    counted = (
        f'ride_pings_folded_total{{verdict="live"}} {float(sent)}',
        f'ride_drivers{{state="live"}} {float(DRIVERS)}',
    )
    # It counts what it has written when Redis has answered it, which is after we can see it there.
    until(lambda: all(one in (workers.answers(worker, "/metrics") or "") for one in counted), 60.0, f"not {counted}")
    assert workers.answers(worker, "/livez") is not None
    worker.terminate()
    assert worker.wait(60.0) == 0
    lines = worker.log.read_text().splitlines()
    assert lines
    assert all(line.startswith("{") for line in lines)
    # It left the group: the next one need not wait for its session to end, and reads nothing twice.
    heir = workers.start()
    until(lambda: "kafka_consumer_lag_records{" in (workers.answers(heir, "/metrics") or ""), 60.0, "no lag is known")
    assert "ride_frames_repeated_total 0.0" in (workers.answers(heir, "/metrics") or "")


def test_redis_away_makes_it_unready_and_loses_nothing(workers: Workers) -> None:
    worker = workers.start(redis_timeout_s=1)
    sent = drive(workers, range(5))
    workers.until_folded(sent)
    workers.engines.redis.process.kill()
    sent += drive(workers, range(5, 10))
    until(lambda: workers.answers(worker, "/readyz") is None, 60.0, "still ready")
    assert workers.answers(worker, "/livez") is not None
    workers.engines.redis.restart()
    workers.until_folded(sent)
    assert shown(workers) == everyone_at(9)
    until(lambda: workers.answers(worker, "/readyz") is not None, 60.0, "not ready again")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("RIDESTREAM_CLOCK", "sundial", "RIDESTREAM_CLOCK must be"),
        ("RIDESTREAM_GONE_AFTER_MS", "soon", "RIDESTREAM_GONE_AFTER_MS"),
        ("RIDESTREAM_STALE_AFTER_MS", "500000", "RIDESTREAM_GONE_AFTER_MS must be above"),
        ("RIDESTREAM_REDIS", "postgres://here", "RIDESTREAM_REDIS"),
    ],
)
def test_a_misconfiguration_is_one_line_and_exit_code_2(variable: str, value: str, says: str) -> None:
    environment = {**os.environ, "RIDESTREAM_STREAM_METRICS_PORT": str(free_port()), variable: value}
    done = subprocess.run(
        [sys.executable, "-m", "stream", "worker"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ridestream stream: ")
    assert says in done.stderr
