"""One push node in the test's own process, on a real Redis, with a writer that does what the stream job does."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio
from prometheus_client import CollectorRegistry

from infra.clock import WallClock
from infra.identity import Verifier, mint
from infra.local.engines import VALKEY, Engine
from push.feed import redis_client
from push.metrics import FeedMetrics, RiderMetrics
from push.mirror import Mirror
from push.region_feed import RegionFeed
from push.rider import listen
from push.server import PushServer
from push.settings import PushSettings
from push.shares import Shares, Tokens, share_key
from push.trip_feed import TripFeed
from push.trip_mirror import TripMirror
from stream.channels import Car, Removal, region_of
from stream.index import DriverIndex, RegionChange
from tests.push.city import car

KEY = "a test key that is long enough for HS256"
HOST = "127.0.0.1"


def token(subject: str = "rider-1", scopes: str = "rider", lifetime_s: float = 600, audience: str = "rider") -> str:
    return mint(KEY, "HS256", audience, subject, scopes, time.time(), lifetime_s)


class Writer:
    """Moves cars in the index, the new region first, then the old one, as the stream job does."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client, self.index = client, DriverIndex(client)
        self.at: dict[str, Car] = {}

    async def put(self, driver_id: str, place: tuple[float, float], ago_ms: int = 0, vehicle_type: str = "") -> Car:
        return (await self.put_all({driver_id: place}, ago_ms, vehicle_type))[0]

    async def put_all(
        self, places: dict[str, tuple[float, float]], ago_ms: int = 0, vehicle_type: str = ""
    ) -> list[Car]:
        now_ms = time.time_ns() // 1_000_000
        cars = [car(driver_id, now_ms - ago_ms, place, vehicle_type) for driver_id, place in places.items()]
        new: dict[int, RegionChange] = {}
        old: dict[int, RegionChange] = {}
        for each in cars:
            region, before = region_of(each.cell), self.at.get(each.driver_id)
            new.setdefault(region, RegionChange()).cars[each.driver_id] = each
            if before is not None and region_of(before.cell) != region:
                old.setdefault(region_of(before.cell), RegionChange()).removals[each.driver_id] = Removal(
                    each.driver_id, max(before.fix_time_ms, each.fix_time_ms)
                )
            self.at[each.driver_id] = each
        for changes in (new, old):
            if changes:
                await self.index.apply(changes, "", 0)
        return cars

    async def remove(self, driver_id: str) -> None:
        before = self.at.pop(driver_id)
        change = RegionChange()
        change.removals[driver_id] = Removal(driver_id, before.fix_time_ms)
        await self.index.apply({region_of(before.cell): change}, "", 0)

    async def rewrite(self) -> None:
        """What workers do when they find the index lost."""
        changes: dict[int, RegionChange] = {}
        for each in self.at.values():
            changes.setdefault(region_of(each.cell), RegionChange()).cars[each.driver_id] = each
        await self.index.apply(changes, "", 0)


class Node:
    """`async with Node(engine, tick_ms=…) as node`."""

    def __init__(self, engine: Engine, **overrides: Any) -> None:
        defaults: dict[str, Any] = {
            "redis": f"redis://{engine.address}/0",
            "jwt_key": KEY,
            "push_host": HOST,
            "push_port": 1,
            "tick_ms": 5.0,
            "drain_s": 0.2,
            "max_messages_per_s": 1_000.0,
            # Who waits for Redis on a busy machine is not to be told "nothing there" in its place.
            "snapshot_wait_s": 20.0,
        }
        self.check_s = overrides.pop("check_s", 0.3)
        self.settings = PushSettings(**{**defaults, **overrides})
        self.registry = CollectorRegistry()

    async def __aenter__(self) -> Self:
        settings = self.settings
        self.mirror = Mirror(settings.stale_after_ms, settings.gone_after_ms)
        self.client = redis_client(settings.redis)
        self.writer = Writer(redis.asyncio.Redis.from_url(settings.redis))
        self.trips = TripMirror(settings.trip_stale_after_ms, settings.trip_lost_after_ms, settings.trip_log_events)
        self.shares = Shares(self.writer.client, share_key(settings), settings.max_shares_per_trip)
        self.server = PushServer(
            settings,
            WallClock(),
            Tokens(Verifier(KEY, "HS256", "rider"), share_key(settings)).verify,
            self.mirror,
            self.trips,
            self.shares.good_of,
            RiderMetrics(self.registry),
            random.Random(1),
        )
        wake, kept_s = self.server.wake, settings.unwatched_for_s
        self.feed = RegionFeed(self.client, self.mirror, wake, kept_s, FeedMetrics(self.registry), self.check_s)
        self.trip_feed = TripFeed(
            self.client, self.trips, wake, kept_s, FeedMetrics(self.registry, "trip"), self.check_s
        )
        listening = listen(settings.push_host, 0, settings.send_buffer_bytes)
        self.url = f"ws://{HOST}:{listening.getsockname()[1]}/v1/stream"
        self.feeding = [asyncio.create_task(feed.run()) for feed in (self.feed, self.trip_feed)]
        await self.server.start(self.feed, self.trip_feed, listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.server.stop()
        for feeding in self.feeding:
            feeding.cancel()
        await asyncio.gather(*self.feeding, return_exceptions=True)
        await self.client.aclose()
        await self.writer.client.aclose()

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


async def eventually(condition: Any, within_s: float = 30.0) -> Any:
    """Poll until the condition holds."""
    async with asyncio.timeout(within_s):
        while not (value := condition()):
            await asyncio.sleep(0.01)
        return value


def start_redis(log_dir: Path) -> Engine:
    return Engine.start(VALKEY, log_dir)
