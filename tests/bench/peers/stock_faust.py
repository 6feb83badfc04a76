"""Peer of 3b: a Faust agent as its tutorial writes it, `async for` one ping a record, with the same work per ping."""

from __future__ import annotations

import argparse
import gc
import logging
from typing import Any

import faust
import h3.api.basic_int as h3
import mode.loop
import msgspec
import redis.asyncio

from ingest.events import Ping
from tests.bench.peers.bare_loop import APPLIED_KEY, PIPELINE


def build(bootstrap: str, topic: str, group: str, redis_url: str, partitions: int, directory: str) -> faust.App:
    """The app. Redis is written in pipelines of 1,000 here too, although no tutorial would: only Faust is compared."""
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        value_serializer="raw",
        topic_partitions=partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        datadir=directory,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
    )
    decode = msgspec.msgpack.Decoder(Ping).decode

    async def index(stream: Any) -> None:
        client = redis.asyncio.Redis.from_url(redis_url)
        pipeline, applied = client.pipeline(transaction=False), 0
        async for value in stream:
            ping = decode(value)
            pipeline.hset(f"cell:{h3.latlng_to_cell(ping.lat, ping.lon, 9):x}", ping.driver_id, value)
            applied += 1
            if applied % PIPELINE == 0:
                pipeline.set(APPLIED_KEY, applied)
                await pipeline.execute()
                pipeline = client.pipeline(transaction=False)

    app.agent(app.topic(topic, value_serializer="raw", value_type=bytes))(index)
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "group", "redis", "directory"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    args = parser.parse_args()
    mode.loop.use("uvloop")
    app = build(args.bootstrap, args.topic, args.group, args.redis, args.partitions, args.directory)
    gc.freeze()
    worker = faust.Worker(app, loglevel=logging.WARNING)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
