"""Every request hears once whether Kafka has its pings, whatever Kafka does; and memory is bounded meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from kafka.errors import KafkaError

from ingest.events import Ping, partition_of
from ingest.frames import Framer
from ingest.producer import FramingProducer, Overloaded
from ingest.tally import Tally
from tests.ingest.producer import ManualFrameLog

PARTITIONS = 8
MAX_UNACKED = 1_000
#: For those who are acknowledged, however slow the machine, and for those who shall not be.
ACK_TIMEOUT_S, SHORT_TIMEOUT_S = 60.0, 1.0


@pytest.fixture
def frame_log() -> ManualFrameLog:
    return ManualFrameLog()


@pytest.fixture
async def producer(frame_log: ManualFrameLog) -> AsyncIterator[FramingProducer]:
    producer = FramingProducer(frame_log, Framer(0.005, 500), PARTITIONS, MAX_UNACKED, ACK_TIMEOUT_S, Tally())
    yield producer
    await producer.close(0.0)


@pytest.fixture
async def impatient(frame_log: ManualFrameLog) -> AsyncIterator[FramingProducer]:
    producer = FramingProducer(frame_log, Framer(0.005, 500), PARTITIONS, MAX_UNACKED, SHORT_TIMEOUT_S, Tally())
    yield producer
    await producer.close(0.0)


def pings(count: int, drivers: int = 1) -> list[Ping]:
    return [Ping(f"driver-{number % drivers}", number, 1.0, 1.0, 0) for number in range(count)]


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_request_is_acknowledged_only_when_all_its_frames_are(
    producer: FramingProducer, frame_log: ManualFrameLog
) -> None:
    heard: list[bool] = []
    producer.send(pings(100, drivers=50), heard.append)
    await until(lambda: len(frame_log.waiting) > 1)
    first, *others = frame_log.waiting
    first(None)
    await asyncio.sleep(0.05)
    assert heard == []
    for done in others:
        done(None)
    await until(lambda: heard == [True])
    assert producer.unacked == 0


async def test_frames_hold_each_partitions_pings_and_nothing_else(
    producer: FramingProducer, frame_log: ManualFrameLog
) -> None:
    heard: list[bool] = []
    sent = pings(200, drivers=40)
    producer.send(sent[:90], heard.append)
    producer.send(sent[90:], heard.append)
    await until(lambda: sum(len(frame) for _, frame in frame_log.frames) == 200)
    assert all(partition_of(each.driver_id, PARTITIONS) == p for p, frame in frame_log.frames for each in frame)
    assert sorted(each.fix_time_ms for _, frame in frame_log.frames for each in frame) == list(range(200))
    frame_log.finish()
    await until(lambda: heard == [True, True])


async def test_requests_that_come_together_share_frames(producer: FramingProducer, frame_log: ManualFrameLog) -> None:
    heard: list[bool] = []
    for ping in pings(50):
        producer.send([ping], heard.append)
    await until(lambda: bool(frame_log.frames))
    assert len(frame_log.frames) == 1
    frame_log.finish()
    await until(lambda: heard == [True] * 50)


async def test_one_failed_frame_fails_its_requests_once_and_no_others(
    producer: FramingProducer, frame_log: ManualFrameLog
) -> None:
    wide: list[bool] = []
    narrow: list[bool] = []
    producer.send(pings(100, drivers=50), wide.append)
    await until(lambda: len(frame_log.waiting) > 2)
    waiting, frame_log.waiting = frame_log.waiting, []
    producer.send(pings(1), narrow.append)
    waiting[0](KafkaError("no leader"))
    waiting[1](KafkaError("no leader"))
    for done in waiting[2:]:
        done(None)
    await until(lambda: wide == [False] and len(frame_log.waiting) == 1)
    frame_log.finish()
    await until(lambda: narrow == [True])
    assert wide == [False]


async def test_a_frame_that_kafka_does_not_acknowledge_in_time_is_not_accepted(
    impatient: FramingProducer, frame_log: ManualFrameLog
) -> None:
    producer = impatient
    heard: list[bool] = []
    producer.send(pings(3), heard.append)
    await until(lambda: heard == [False])
    assert producer.refusal() is not None
    assert producer.unacked == 3, "the client still holds them: they count against the bound"
    frame_log.finish()  # Kafka has come back, late
    await until(lambda: producer.unacked == 0)
    assert heard == [False], "a late acknowledgement changes no verdict"
    assert producer.refusal() is None


async def test_memory_is_bounded_and_what_does_not_fit_is_not_taken(
    producer: FramingProducer, frame_log: ManualFrameLog
) -> None:
    heard: list[bool] = []
    producer.send(pings(MAX_UNACKED - 1), heard.append)
    with pytest.raises(Overloaded):
        producer.send(pings(2), heard.append)
    producer.send(pings(1), heard.append)
    assert producer.refusal() == "too many pings wait for Kafka"
    assert producer.unacked == MAX_UNACKED
    await until(lambda: sum(len(frame) for _, frame in frame_log.frames) == MAX_UNACKED)
    frame_log.finish()
    await until(lambda: heard == [True, True])
    assert producer.refusal() is None


async def test_a_client_that_stays_silent_is_rebuilt_and_pings_flow_again(
    impatient: FramingProducer, frame_log: ManualFrameLog
) -> None:
    producer = impatient
    heard: list[bool] = []
    producer.send(pings(1), heard.append)
    await until(lambda: frame_log.rebuilt == 1)
    await until(lambda: producer.unacked == 0 and producer.refusal() is None)
    producer.send(pings(1), heard.append)
    await until(lambda: len(frame_log.waiting) == 1)
    frame_log.finish()
    await until(lambda: heard == [False, True])
    assert frame_log.rebuilt == 1


async def test_a_log_that_takes_nothing_fails_the_request_and_holds_nothing(
    producer: FramingProducer, frame_log: ManualFrameLog
) -> None:
    frame_log.trouble = "no broker"
    heard: list[bool] = []
    producer.send(pings(5, drivers=5), heard.append)
    await until(lambda: heard == [False] and producer.unacked == 0)
    assert producer.refusal() == "no broker" or "not acknowledge" in (producer.refusal() or "")


async def test_closing_sends_what_is_held_and_waits_for_it(frame_log: ManualFrameLog) -> None:
    producer = FramingProducer(frame_log, Framer(10.0, 500), PARTITIONS, MAX_UNACKED, ACK_TIMEOUT_S, Tally())
    heard: list[bool] = []
    producer.send(pings(4), heard.append)
    closing = asyncio.create_task(producer.close(60.0))
    await until(lambda: len(frame_log.waiting) == 1)
    assert not closing.done()
    frame_log.finish()
    await closing
    assert heard == [True]


async def test_closing_gives_up_in_time_and_says_so(frame_log: ManualFrameLog) -> None:
    producer = FramingProducer(frame_log, Framer(0.001, 500), PARTITIONS, MAX_UNACKED, 60.0, Tally())
    heard: list[bool] = []
    producer.send(pings(4), heard.append)
    await producer.close(0.05)
    assert heard == [False]
