"""Peer of 5: a websockets server that makes every update a frame of its own and calls `websockets.broadcast` on it.

It is given its positions inside the process and knows beforehand who watches which car: no Redis to read, nothing to
decode, no place to search. Its CPU is spent on encoding an update once and on broadcasting it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time

import h3.api.basic_int as h3
import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from stream.channels import cell_of
from tests.bench import downtown


class Update(msgspec.Struct, gc=False):
    """A compact JSON position: ~130 B."""

    driver_id: str
    lat: float
    lon: float
    fix_time_ms: int
    age_ms: int
    heading_deg: float
    speed_mps: float


async def send_all(port: int) -> None:
    homes = downtown.homes()
    watchers: list[set[ServerConnection]] = [set() for _ in homes]

    async def handler(connection: ServerConnection) -> None:
        lat, lon = (float(part) for part in str(await connection.recv()).split(","))
        near = set(h3.grid_disk(cell_of(lat, lon), downtown.RINGS))
        watched = [number for number, home in enumerate(homes) if cell_of(*home) in near]
        for number in watched:
            watchers[number].add(connection)
        await connection.wait_closed()
        for number in watched:
            watchers[number].discard(connection)

    encode = msgspec.json.Encoder().encode
    async with serve(handler, "127.0.0.1", port, compression=None, backlog=4096):
        start, sent = time.monotonic(), 0
        while True:
            # Cars report evenly over each second; whatever is due is sent at once, one frame a car.
            due = int((time.monotonic() - start) * downtown.CARS)
            now_ms = time.time_ns() // 1_000_000
            for turn in range(sent, due):
                number = turn * 7 % downtown.CARS
                if watchers[number]:
                    lat, lon = downtown.fix(homes[number], number, turn // downtown.CARS)
                    update = Update(downtown.driver_id(number), lat, lon, now_ms - 40, 40, 231.0, downtown.SPEED_MPS)
                    broadcast(watchers[number], encode(update).decode())
            sent = due
            await asyncio.sleep(0.002)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    gc.freeze()
    uvloop.run(send_all(args.port))


if __name__ == "__main__":
    main()
