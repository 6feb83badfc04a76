"""`python -m tests.bench.car_feed`: keep the cars of downtown moving in Redis, as a stream worker's frames would.

Every car reports once a second, on a schedule. What fell due within a linger is one frame per Kafka partition, and
all of them are written through the same `DriverIndex.write` that the worker calls.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time

import redis.asyncio
import uvloop

from infra.settings import DEFAULT_PARTITIONS
from ingest.events import partition_of
from stream.channels import Removal, region_of
from stream.index import DriverIndex, RegionWrite
from stream.regions import RegionChange
from tests.bench import downtown

#: Twice ingest's linger: a frame holds what arrived in it, and the worker takes frames as it finds them.
LINGER_S = 0.010


async def feed(redis_url: str) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    index, homes = DriverIndex(client), downtown.homes()
    partitions = [partition_of(downtown.driver_id(number), DEFAULT_PARTITIONS) for number in range(downtown.CARS)]
    held: dict[int, int] = {}
    start, sent = time.monotonic() - 1.0, 0
    while True:
        due = int((time.monotonic() - start) * downtown.CARS)
        frames: dict[int, dict[int, RegionChange]] = {}
        now_ms = time.time_ns() // 1_000_000
        for turn in range(sent, due):
            # 7 and 2,000 have no common divisor: neighbours in time are not neighbours in the list.
            number = turn * 7 % downtown.CARS
            car = downtown.car(homes[number], number, turn // downtown.CARS, now_ms)
            region, before = region_of(car.cell), held.get(number)
            changes = frames.setdefault(partitions[number], {})
            changes.setdefault(region, RegionChange()).cars[car.driver_id] = car
            if before not in (None, region):
                left = changes.setdefault(before, RegionChange())  # type: ignore[arg-type]
                left.removals[car.driver_id] = Removal(car.driver_id, car.fix_time_ms)
            held[number] = region
        await index.write(
            [RegionWrite(region, change, "", 0) for changes in frames.values() for region, change in changes.items()]
        )
        sent = due
        await asyncio.sleep(LINGER_S)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    args = parser.parse_args()
    gc.freeze()
    uvloop.run(feed(args.redis))


if __name__ == "__main__":
    main()
