"""Peer of 3: aiokafka getmany, msgspec, h3 and a redis.asyncio pipeline of 1,000, one ping a record."""

from __future__ import annotations

import argparse
import gc

import h3.api.basic_int as h3
import msgspec
import redis.asyncio
import uvloop
from aiokafka import AIOKafkaConsumer

from ingest.events import Ping

#: The bench reads how far a peer is from here; one SET in a pipeline of 1,000 costs nothing that matters.
APPLIED_KEY = "bench:applied"
PIPELINE = 1_000


async def consume(bootstrap: str, topic: str, group: str, redis_url: str, fetch_max_wait_ms: int) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=True,
        fetch_max_wait_ms=fetch_max_wait_ms,
    )
    decode = msgspec.msgpack.Decoder(Ping).decode
    cell_of = h3.latlng_to_cell
    await consumer.start()
    applied = 0
    while True:
        records = await consumer.getmany(timeout_ms=200, max_records=PIPELINE)
        pipeline = client.pipeline(transaction=False)
        for batch in records.values():
            for record in batch:
                ping = decode(record.value)
                pipeline.hset(f"cell:{cell_of(ping.lat, ping.lon, 9):x}", ping.driver_id, record.value)
                applied += 1
        if records:
            pipeline.set(APPLIED_KEY, applied)
            await pipeline.execute()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "group", "redis"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--fetch-max-wait-ms", type=int, required=True)
    args = parser.parse_args()
    gc.freeze()
    uvloop.run(consume(args.bootstrap, args.topic, args.group, args.redis, args.fetch_max_wait_ms))


if __name__ == "__main__":
    main()
