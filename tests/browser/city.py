"""A city to look at: Redis, push, and cars that a thread moves through the driver index, as the stream job would."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import redis.asyncio

from infra.local.engines import VALKEY, Engine
from infra.local.services import PUSH, Service, free_ports
from stream.channels import Car, Removal, cell_of, region_of
from stream.index import DriverIndex
from stream.regions import RegionChange

MIDTOWN = (40.7549, -73.9840)
PING_EVERY_S = 0.5
#: Long beside what a position takes to a page on a busy machine.
STALE_AFTER_MS = 8_000
#: 12 m/s around a circle of 172 m.
TURN_DEG_PER_S = 4.0
METRES_PER_DEGREE = 111_195.0
TYPES = ("TAXI", "AUTO", "TRUCK", "TWO_WHEELER", "BICYCLE", "PEDESTRIAN", "")


@dataclass(frozen=True, slots=True)
class Driver:
    """Drives in a wide circle, so that it stays in the neighbourhood; `silent` drivers send nothing."""

    driver_id: str
    lat: float
    lon: float
    heading_deg: float
    speed_mps: float
    vehicle_type: str
    silent: bool = False

    def after(self, seconds: float) -> Driver:
        north = math.cos(math.radians(self.heading_deg)) * self.speed_mps * seconds / METRES_PER_DEGREE
        east = math.sin(math.radians(self.heading_deg)) * self.speed_mps * seconds / METRES_PER_DEGREE
        return replace(
            self,
            lat=self.lat + north,
            lon=self.lon + east / math.cos(math.radians(self.lat)),
            heading_deg=(self.heading_deg + TURN_DEG_PER_S * seconds) % 360,
        )

    def fix(self, now_ms: int) -> Car:
        cell = cell_of(self.lat, self.lon)
        return Car(
            self.driver_id, now_ms, self.lat, self.lon, cell, now_ms, 5.0, self.heading_deg, self.speed_mps,
            self.vehicle_type,
        )  # fmt: skip


def drivers() -> list[Driver]:
    """Thirty within 2 km of Midtown, and five who are 4 to 5 km north of it."""
    near = [  # 137.5 degrees, the golden angle, spreads them evenly
        Driver(f"near-{i}", *_from_midtown(i * 137.5, 200 + 60 * i), (i * 40) % 360, 12.0, TYPES[i % len(TYPES)])
        for i in range(30)
    ]
    far = [Driver(f"far-{i}", *_from_midtown(20, 4_000 + 200 * i), 200, 12.0, "AUTO") for i in range(5)]
    return [Driver("taxi", *_from_midtown(270, 600), 90, 12.0, "TAXI"), *near, *far]


def _from_midtown(bearing_deg: float, metres: float) -> tuple[float, float]:
    at = Driver("", *MIDTOWN, bearing_deg, metres, "").after(1)
    return at.lat, at.lon


class City:
    """Everything the page talks to. `push` can be killed and started again on the same ports."""

    def __init__(self, redis_url: str, log_dir: Path) -> None:
        self.env = {
            "RIDESTREAM_REDIS": redis_url,
            "RIDESTREAM_JWT_KEY": secrets.token_hex(32),
            "RIDESTREAM_STALE_AFTER_MS": str(STALE_AFTER_MS),
            "RIDESTREAM_GONE_AFTER_MS": "120000",
            "RIDESTREAM_GUEST_RIDERS": "true",
            "RIDESTREAM_HEARTBEAT_S": "1",
            "RIDESTREAM_DRAIN_S": "0.5",
        }
        self._log_dir = log_dir
        self._drivers = {driver.driver_id: driver for driver in drivers()}
        self._stopping = threading.Event()
        self._writer = threading.Thread(target=lambda: asyncio.run(self._drive(redis_url)), daemon=True)
        self.push = self.another_push("push")

    def another_push(self, name: str, **settings: str) -> Service:
        """A push on ports of its own, not started yet."""
        return Service(PUSH, {**self.env, **settings, **free_ports(PUSH)}, self._log_dir, name)

    def start(self) -> None:
        self._writer.start()
        self.push.start()
        self.push.wait_ready()

    def stop(self) -> None:
        self._stopping.set()
        self.push.stop()
        self._writer.join(30)

    def silence(self, driver_id: str, silent: bool = True) -> None:
        self._drivers[driver_id] = replace(self._drivers[driver_id], silent=silent)

    async def _drive(self, redis_url: str) -> None:
        client = redis.asyncio.Redis.from_url(redis_url)
        index = DriverIndex(client)
        shown: dict[str, Car] = {}
        moved_s = time.monotonic()
        while not self._stopping.is_set():
            now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
            changes: dict[int, RegionChange] = {}
            for driver_id, driver in list(self._drivers.items()):
                if driver.silent:
                    continue
                self._drivers[driver_id] = driver = driver.after(now_s - moved_s)
                car = driver.fix(now_ms)
                region = region_of(car.cell)
                changes.setdefault(region, RegionChange()).cars[driver_id] = car
                before = shown.get(driver_id)
                if before is not None and region_of(before.cell) != region:
                    left = changes.setdefault(region_of(before.cell), RegionChange())
                    left.removals[driver_id] = Removal(driver_id, now_ms)
                shown[driver_id] = car
            moved_s = now_s
            await index.apply(changes, "", 0)
            await asyncio.sleep(PING_EVERY_S)
        await client.aclose()


@contextmanager
def city(log_dir: Path) -> Iterator[City]:
    """A running city; nothing is left of it afterwards."""
    engine = Engine.start(VALKEY, log_dir)
    try:
        running = City(f"redis://{engine.address}/0", log_dir)
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        engine.process.stop()
