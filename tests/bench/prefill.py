"""Put the same pings into Kafka twice: in frames, as ingest makes them under load, and one a record for the peers."""

from __future__ import annotations

import asyncio
import random
import time

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.events import PINGS_TOPIC, Ping, encode_frame, partition_of
from tests.bench.city import Fleet

SINGLE_TOPIC = "bench.single"
FRAME_PINGS = (50, 250)
DRIVERS = 10_000
#: Records of the peers' topic go in batches of this many bytes, as a busy producer makes them.
BATCH_BYTES = 60_000


def pings_of(count: int, partitions: int, seed: int = 7) -> list[tuple[int, list[Ping]]]:
    """`count` pings as (partition, frame): every driver pings once a second, partitions take turns."""
    rng = random.Random(seed)
    fleet = Fleet(DRIVERS, seed)
    by_partition: list[list[int]] = [[] for _ in range(partitions)]
    for driver in range(DRIVERS):
        by_partition[partition_of(f"driver-{driver:05d}", partitions)].append(driver)
    end_ms = time.time_ns() // 1_000_000
    seconds = -(-count // DRIVERS)
    queues: list[list[Ping]] = [[] for _ in range(partitions)]
    for second in range(seconds):
        for partition, drivers in enumerate(by_partition):
            rng.shuffle(drivers)
            queues[partition] += [
                fleet.ping(driver, end_ms - (seconds - second) * 1_000, float(second)) for driver in drivers
            ]
    frames: list[tuple[int, list[Ping]]] = []
    taken = 0
    while taken < count and any(queues):
        for partition, queue in enumerate(queues):
            size = min(rng.randint(*FRAME_PINGS), count - taken)
            if queue and size > 0:
                frames.append((partition, queue[:size]))
                taken += len(queue[:size])
                del queue[:size]
    return frames


async def _create(bootstrap: str, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    if topic not in await admin.list_topics():
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()


def create_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Create a topic that is not there yet."""
    asyncio.run(_create(bootstrap, topic, partitions))


async def _fill(bootstrap: str, topic: str, partitions: int, records: list[tuple[int, bytes]]) -> None:
    await _create(bootstrap, topic, partitions)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        by_partition: dict[int, list[bytes]] = {}
        for partition, value in records:
            by_partition.setdefault(partition, []).append(value)
        for partition, values in by_partition.items():
            batch = producer.create_batch()
            held = 0
            for value in values:
                if held + len(value) > BATCH_BYTES or batch.append(key=None, value=value, timestamp=None) is None:
                    await (await producer.send_batch(batch, topic, partition=partition))
                    batch, held = producer.create_batch(), 0
                    batch.append(key=None, value=value, timestamp=None)
                held += len(value)
            if held:
                await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()


def fill_frames(bootstrap: str, partitions: int, frames: list[tuple[int, list[Ping]]]) -> None:
    """One record a frame into driver.pings."""
    asyncio.run(_fill(bootstrap, PINGS_TOPIC, partitions, [(part, encode_frame(pings)) for part, pings in frames]))


def fill_singles(bootstrap: str, partitions: int, frames: list[tuple[int, list[Ping]]], count: int) -> None:
    """The first `count` of the same pings, one msgpack record each, into the peers' topic."""
    records = [(part, msgspec.msgpack.encode(ping)) for part, pings in frames for ping in pings][:count]
    asyncio.run(_fill(bootstrap, SINGLE_TOPIC, partitions, records))
