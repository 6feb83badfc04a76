"""Peer of 8: the shortest program with the same hops. `ingest` produces what was posted, `relay` publishes what it
consumes, `push` sends one frame for each ping. Nothing is decoded, judged, folded, indexed or searched.

Three processes, like ours. The place a ping belongs to comes in the query string and is the record's key and the
channel's name, so that no hop has to look into the body.
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

import redis.asyncio
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.bench.trip_load import PLACES

TOPIC = "bench.null"
ANSWER = b'{"received":1,"accepted":1,"rejected":0,"results":[{"status":"accepted"}]}'


async def ingest(port: int, bootstrap: str) -> None:
    """Answer 202 when Kafka has acknowledged the posted bytes."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    start = {
        "type": "http.response.start",
        "status": 202,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())],
    }
    end = {"type": "http.response.body", "body": ANSWER}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        await producer.send_and_wait(TOPIC, body, key=scope["query_string"])
        await send(start)
        await send(end)

    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, http="httptools", lifespan="off", access_log=False,
        log_level="warning", backlog=4096, timeout_keep_alive=75,
    )  # fmt: skip
    await uvicorn.Server(config).serve()


async def relay(bootstrap: str, redis_url: str, fetch_max_wait_ms: int) -> None:
    """Publish each record's value on the channel its key names."""
    client = redis.asyncio.Redis.from_url(redis_url)
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=bootstrap, group_id="null", auto_offset_reset="latest",
        fetch_max_wait_ms=fetch_max_wait_ms,
    )  # fmt: skip
    await consumer.start()
    print("relaying", flush=True)
    while True:
        records = await consumer.getmany(timeout_ms=200)
        pipeline = client.pipeline(transaction=False)
        for batch in records.values():
            for record in batch:
                pipeline.publish(record.key, record.value)
        if records:
            await pipeline.execute()


async def push(port: int, redis_url: str) -> None:
    """Send what is published on a channel to the connections that named it, one frame a ping."""
    client = redis.asyncio.Redis.from_url(redis_url)
    subscriber = client.pubsub(ignore_subscribe_messages=True)

    async def handler(connection: ServerConnection) -> None:
        channel = str(await connection.recv()).encode()
        watchers[channel].add(connection)
        await connection.wait_closed()
        watchers[channel].discard(connection)

    watchers: dict[bytes, set[ServerConnection]] = {str(place).encode(): set() for place in range(PLACES)}
    await subscriber.subscribe(*watchers)
    async with serve(handler, "127.0.0.1", port, compression=None, backlog=4096):
        while True:
            message = await subscriber.get_message(timeout=1.0)
            if message is not None:
                broadcast(watchers[message["channel"]], message["data"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["ingest", "relay", "push"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--redis", default="")
    parser.add_argument("--fetch-max-wait-ms", type=int, default=500)
    args = parser.parse_args()
    gc.freeze()
    if args.part == "ingest":
        uvloop.run(ingest(args.port, args.bootstrap))
    elif args.part == "relay":
        uvloop.run(relay(args.bootstrap, args.redis, args.fetch_max_wait_ms))
    else:
        uvloop.run(push(args.port, args.redis))


if __name__ == "__main__":
    main()
