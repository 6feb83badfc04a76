"""A rebalance waits for frames to be written, but no longer than Kafka does; and a worker that hangs in one ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio
import uvloop
from aiokafka import AIOKafkaProducer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from infra.local.engines import Engines
from infra.local.processes import Process
from infra.settings import DEFAULT_PARTITIONS
from ingest.events import PINGS_TOPIC, encode_frame, partition_of
from stream.app import build_app
from stream.audit import cars
from stream.gaps import GapWatch
from stream.settings import StreamSettings
from stream.transport import NO_END
from tests.pipeline.polling import until
from tests.stream.frames import START_MS, ping
from tests.stream.worker import Workers

DRIVERS = 40
GIVES_UP = "frames were not written in the time of a rebalance"


# --- the waiting itself, in Faust's consumer ---------------------------------------------------------------------


async def nobody(*_: object) -> int:
    raise AssertionError("nothing is missing here")


def consumer_of(rebalance_timeout_s: float, assign: Any = None) -> Any:
    """Faust's consumer as the worker has it, not connected to anything."""
    handler: Any = SimpleNamespace(assign=assign)
    app = build_app(
        StreamSettings(rebalance_timeout_s=rebalance_timeout_s), handler, SimpleNamespace(), GapWatch(nobody, nobody)
    )
    app.finalize()
    app.topics._acking_topics.add(PINGS_TOPIC)
    return app.consumer


def taken(consumer: Any, offset: int) -> ConsumerMessage:
    """A frame that was given to the agent."""
    message = ConsumerMessage(PINGS_TOPIC, 0, offset, 0.0, 0, None, None, b"", None, tp=TP(PINGS_TOPIC, 0))
    message.incref()
    consumer.track_message(message)
    return message


async def test_a_rebalance_goes_on_without_a_frame_that_is_never_written() -> None:
    consumer = consumer_of(rebalance_timeout_s=0.5)
    message = taken(consumer, 7)
    async with asyncio.timeout(60):
        await consumer.wait_empty()
    assert not message.acked
    assert not consumer.unacked
    assert consumer._commit_fut is None  # no commit is under way that the next one would wait for


async def test_a_frame_written_after_its_rebalance_is_acknowledged_all_the_same() -> None:
    consumer = consumer_of(rebalance_timeout_s=0.1)
    late, message = taken(consumer, 7), taken(consumer, 8)
    async with asyncio.timeout(60):
        await consumer.wait_empty()
    for one in (late, message):
        one.ack(consumer)
    assert consumer._new_offset(TP(PINGS_TOPIC, 0)) == 9


async def test_a_rebalance_waits_for_frames_that_are_being_written() -> None:
    consumer = consumer_of(rebalance_timeout_s=60.0)
    consumer._thread._consumer = consumer._thread._create_consumer(asyncio.get_running_loop())
    message = taken(consumer, 7)
    waiting = asyncio.create_task(consumer.wait_empty())
    async with asyncio.timeout(60):
        while consumer._waiting_for_ack is None:
            await asyncio.sleep(0)
        assert not waiting.done()
        message.ack(consumer)
        await waiting


async def test_the_consumers_thread_has_a_loop_of_uvloop_and_closes_it() -> None:
    thread = consumer_of(rebalance_timeout_s=1.0)._thread
    assert isinstance(thread.thread_loop, uvloop.Loop)

    async def serve() -> None:
        pass

    thread._serve = serve
    await asyncio.to_thread(thread._start_thread)
    assert thread.thread_loop.is_closed()


# --- workers as processes ----------------------------------------------------------------------------------------


@pytest.fixture
def workers(engines: Engines, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(engines, tmp_path)
    yield workers
    workers.stop()


@contextmanager
def hanging(process: Process) -> Iterator[None]:
    """It keeps its connections and answers nobody."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def drive(workers: Workers, steps: range) -> int:
    """Every driver pings at each of these steps; returns how many pings."""
    return sum(workers.send([ping(driver, step) for driver in range(DRIVERS)]) for step in steps)


def metric(workers: Workers, process: Process, name: str) -> float:
    lines = (workers.answers(process, "/metrics") or "").splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def partitions_of(workers: Workers, process: Process) -> int:
    return (workers.answers(process, "/metrics") or "").count("kafka_consumer_lag_records{")


def says(process: Process, event: str) -> bool:
    """Whether a line of its log says so."""
    # The last line may be half written.
    lines = [
        json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{") and line[-1] == "}"
    ]
    return any(event in line["event"] for line in lines)


def shown(workers: Workers) -> list[tuple[str, int]]:
    """(driver, the step it is shown at) for every car of every region."""

    async def read() -> list[tuple[str, int]]:
        async with redis.asyncio.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
            found = await cars(client)
            return sorted((car.driver_id, (car.fix_time_ms - START_MS) // 10_000) for _, car in found)

    return asyncio.run(read())


def everyone_at(step: int) -> list[tuple[str, int]]:
    return sorted((f"driver-{driver}", step) for driver in range(DRIVERS))


@pytest.mark.chaos
@pytest.mark.pipeline
@pytest.mark.timeout(600)
def test_a_rebalance_while_redis_hangs_ends_and_every_ping_is_counted_once(workers: Workers) -> None:
    first = workers.start()
    sent = drive(workers, range(5))
    workers.until_folded(sent)
    until(lambda: partitions_of(workers, first) == DEFAULT_PARTITIONS, 60.0, "the first worker has not all partitions")
    frames = 5 * DEFAULT_PARTITIONS
    until(lambda: metric(workers, first, "ride_frames_total") == frames, 60.0, "the first has not all frames")
    with hanging(workers.engines.redis.process):
        sent += drive(workers, range(5, 10))
        until(lambda: metric(workers, first, "ride_frames_total") == 2 * frames, 60.0, "the first has not all frames")
        second = workers.launch()
        until(lambda: says(first, GIVES_UP), 120.0, "the first worker waits for ever")
        sent += drive(workers, range(10, 15))
    workers.until_folded(sent)
    for worker in (first, second):
        worker.wait_until(lambda worker=worker: workers.ready(worker), 120.0)  # type: ignore[misc]
        until(
            lambda worker=worker: partitions_of(workers, worker) == DEFAULT_PARTITIONS // 2,
            120.0,
            "no half of the partitions",
        )
    sent += drive(workers, range(15, 20))
    workers.until_folded(sent)
    assert workers.totals()["live"] == sent
    assert shown(workers) == everyone_at(19)


async def test_partitions_are_ours_also_when_kafka_does_not_say_how_long_their_logs_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assigned: list[dict[int, int]] = []

    async def assign(log_ends: dict[int, int]) -> dict[int, int]:
        assigned.append(log_ends)
        return {}

    async def nothing(*_: object) -> None:
        pass

    async def highwaters(*_: object) -> dict[TP, int]:
        raise AssertionError("a rebalance has begun")

    monkeypatch.setattr("stream.transport.ENDS_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(driver.Consumer, "perform_seek", nothing)
    consumer = consumer_of(rebalance_timeout_s=1.0, assign=assign)
    consumer.assignment = lambda: {TP(PINGS_TOPIC, 0), TP(PINGS_TOPIC, 1)}
    consumer.highwater = lambda _: 0
    consumer.highwaters = highwaters
    await consumer.perform_seek()
    assert assigned == [{0: NO_END, 1: NO_END}]


@pytest.mark.chaos
@pytest.mark.pipeline
@pytest.mark.timeout(600)
def test_a_spare_worker_is_ready_and_takes_over(workers: Workers) -> None:
    running = [workers.start() for _ in range(DEFAULT_PARTITIONS + 1)]
    until(lambda: sorted(partitions_of(workers, one) for one in running) == [0, 1, 1], 120.0, "nobody is spare")
    until(lambda: all(workers.ready(one) for one in running), 60.0, "a worker is not ready")
    busy = next(one for one in running if partitions_of(workers, one) == 1)
    os.kill(busy.pid, signal.SIGKILL)
    rest = [one for one in running if one is not busy]
    until(lambda: [partitions_of(workers, one) for one in rest] == [1, 1], 120.0, "the spare worker takes nothing over")
    workers.until_folded(drive(workers, range(5)))
    assert shown(workers) == everyone_at(4)


@pytest.mark.chaos
@pytest.mark.pipeline
@pytest.mark.timeout(600)
def test_a_worker_that_kafka_does_not_answer_for_minutes_ends(workers: Workers) -> None:
    worker = workers.start(stall_after_s=1)
    sent = drive(workers, range(5))
    workers.until_folded(sent)
    with hanging(workers.engines.kafka.process):
        assert worker.wait(180.0) == 1
    assert says(worker, "Kafka is away, or the consumer hangs; ending, to be started again")
    heir = workers.start()
    sent += drive(workers, range(5, 10))
    workers.until_folded(sent)
    assert heir.running
    assert shown(workers) == everyone_at(9)


@pytest.mark.pipeline
@pytest.mark.timeout(300)
def test_a_batch_of_many_frames_is_not_taken_for_a_log_that_began_anew(workers: Workers) -> None:
    """Tansu, asked for the end of a log, counts its last batch as one record."""
    pings = [ping(driver, step) for step in range(10) for driver in range(DRIVERS)]
    mine = [one for one in pings if partition_of(one.driver_id, DEFAULT_PARTITIONS) == 0]

    async def send_one_batch() -> None:
        async with AIOKafkaProducer(bootstrap_servers=workers.engines.kafka.address) as producer:
            batch = producer.create_batch()
            for one in mine:
                assert batch.append(key=None, value=encode_frame([one]), timestamp=None) is not None
            await (await producer.send_batch(batch, PINGS_TOPIC, partition=0))

    first = workers.start(commit_interval_s=3600)
    asyncio.run(send_one_batch())
    workers.until_folded(len(mine))
    first.kill()
    heir = workers.start()
    until(lambda: partitions_of(workers, heir) == DEFAULT_PARTITIONS, 60.0, "the heir has not all partitions")
    workers.send([ping(driver, 10) for driver in range(DRIVERS)])
    workers.until_folded(len(mine) + DRIVERS)
    assert workers.totals()["live"] == len(mine) + DRIVERS
    assert not says(heir, "the Kafka log began anew")
