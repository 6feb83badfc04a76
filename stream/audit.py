"""Read the whole index and the verdict totals, for tests and operators. It scans: not for serving riders."""

from __future__ import annotations

import redis.asyncio

from stream.channels import Car, region_of_channel
from stream.index import DriverIndex
from stream.records import PartitionRecords


async def regions(client: redis.asyncio.Redis) -> list[int]:
    """Every region that holds a driver."""
    return sorted([region_of_channel(key) async for key in client.scan_iter("{r:*}:drivers", count=1000)])


async def cars(client: redis.asyncio.Redis) -> list[tuple[int, Car]]:
    """(region, car) of every car in the index. A driver who is in two regions is listed twice: that is a fault,
    unless it is crossing at this moment."""
    index = DriverIndex(client)
    return [(region, car) for region in await regions(client) for car in (await index.snapshot(region)).cars]


async def verdicts(client: redis.asyncio.Redis) -> dict[str, int]:
    """Pings by verdict, and rejected records, over all partitions, as far as they are written."""
    found = [key async for key in client.scan_iter("{p:*}:meta", count=1000)]
    numbers = [int(key[3 : key.index(b"}")]) for key in found]
    return await PartitionRecords(client).totals(max(numbers, default=-1) + 1)
