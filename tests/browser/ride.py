"""A trip to look at: Redis, push, and a car that a loop in a thread drives along its way, as the stream job would."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h3
import msgspec
import redis.asyncio

from infra.local.engines import VALKEY, Engine
from infra.local.services import PUSH, Service, free_ports
from ingest.polylines import encode_polyline
from ingest.trips import CREATED, ENROUTE_TO_PICKUP, NEW, STATE_CHANGED, Place, Trip, TripEvent, next_stop
from push.settings import PushSettings
from push.shares import Share, Shares, share_key
from stream.trip_channels import TripCar, TripWrite
from stream.trip_index import TripIndex

STEP_S = 0.3
SPEED_MPS = 12.0
#: Long beside what a position takes to a page on a busy machine.
STALE_AFTER_MS = 6_000
LOST_AFTER_MS = 12_000
#: Up an avenue of Manhattan, to the pickup and on to the dropoff.
APPROACH = [(40.7400, -73.9864), (40.7440, -73.9835), (40.7527, -73.9772)]
ROUTE = [(40.7527, -73.9772), (40.7620, -73.9704), (40.7794, -73.9577)]
Point = tuple[float, float]


def along(points: list[Point], metres: float) -> tuple[float, float, float]:
    """lat, lon and heading so far along straight stretches; the last point once they are behind."""
    heading = 0.0
    for one, other in itertools.pairwise(points):
        length = h3.great_circle_distance(one, other, unit="m")
        north, east = other[0] - one[0], (other[1] - one[1]) * math.cos(math.radians(one[0]))
        heading = math.degrees(math.atan2(east, north)) % 360
        if metres <= length:
            part = metres / length
            return one[0] + (other[0] - one[0]) * part, one[1] + (other[1] - one[1]) * part, heading
        metres -= length
    return *points[-1], heading


class Ride:
    """One trip and its car. `silent` stops the driver's fixes; `advance` is what people say of the trip.

    A car that `stands` sends fixes from where it is, as in a jam.
    """

    def __init__(self, index: TripIndex, trip_id: str, stands: bool = False) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._index = index
        self.silent, self.stands = False, stands
        self.driven_m = 300.0
        created = TripEvent("v1", CREATED, now_ms - 120_000, NEW, "d-1", 1, by="dispatch")
        self.trip = Trip(
            trip_id, 1, 1, "d-1", "r-1", NEW, Place(*ROUTE[0], "17 Elm Street"), Place(*ROUTE[-1], "St. Mary's"),
            now_ms - 120_000, [created], approach=encode_polyline(APPROACH), route=encode_polyline(ROUTE),
        )  # fmt: skip

    async def drive(self) -> None:
        """Send a fix now and then, until the trip has ended."""
        await self.write()
        while not self.trip.ended:
            await asyncio.sleep(STEP_S)
            if not self.silent and not self.trip.ended:
                self.driven_m += 0.0 if self.stands else SPEED_MPS * STEP_S
                await self._index.apply([TripWrite(self.trip, whole=False, car=self._car())])

    async def advance(self, state: str) -> None:
        """Somebody says that the trip has come so far."""
        version = self.trip.version + 1
        now_ms = time.time_ns() // 1_000_000
        event = TripEvent(f"v{version}", STATE_CHANGED, now_ms, state, "d-1", 1, by="driver")
        self.trip = msgspec.structs.replace(
            self.trip, version=version, state=state, history=[*self.trip.history, event]
        )
        if state == "ENROUTE_TO_DROPOFF":
            self.driven_m = 300.0
        await self.write()

    async def write(self) -> None:
        """The trip with all that happened: events that are logged already are passed over."""
        ended = self.trip.ended
        car = None if ended or self.trip.state == NEW else self._car()
        await self._index.apply([TripWrite(self.trip, whole=True, car=car, car_gone=ended, events=self.trip.history)])

    def _car(self) -> TripCar:
        now_ms = time.time_ns() // 1_000_000
        boarded = self.trip.state == "ENROUTE_TO_DROPOFF"
        way = ROUTE if boarded else APPROACH
        lat, lon, heading = along(way, self.driven_m)
        stop = next_stop(self.trip)
        remaining_m = None if stop is None else h3.great_circle_distance((lat, lon), way[-1], unit="m")
        return TripCar(
            1, "d-1", now_ms, lat, lon, now_ms, 5.0, heading, SPEED_MPS, "TAXI",
            leg=stop[0] if stop else "", remaining_m=remaining_m,
            eta_s=None if remaining_m is None else remaining_m / SPEED_MPS, distance_m=self.driven_m,
            route_m=self.driven_m if stop else None,
        )  # fmt: skip


class Street:
    """Redis, push, and the loop that all rides are driven in. `push` can be killed and started again."""

    def __init__(self, redis_url: str, log_dir: Path) -> None:
        key = secrets.token_hex(32)
        env = {
            "RIDESTREAM_REDIS": redis_url,
            "RIDESTREAM_JWT_KEY": key,
            "RIDESTREAM_TRIP_STALE_AFTER_MS": str(STALE_AFTER_MS),
            "RIDESTREAM_TRIP_LOST_AFTER_MS": str(LOST_AFTER_MS),
            "RIDESTREAM_HEARTBEAT_S": "1",
            "RIDESTREAM_DRAIN_S": "0.5",
        }
        self.push = Service(PUSH, {**env, **free_ports(PUSH)}, log_dir)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = redis.asyncio.Redis.from_url(redis_url)
        self._index = TripIndex(self._client)
        self._shares = Shares(self._client, share_key(PushSettings(jwt_key=key)), 10)
        self._driving: list[Future[None]] = []

    def ride(self, state: str = ENROUTE_TO_PICKUP, stands: bool = False) -> Ride:
        """A new trip, on its way to the pickup."""
        ride = Ride(self._index, f"trip-{len(self._driving)}", stands)
        self.do(ride.write())
        self.do(ride.advance(state))
        self._driving.append(asyncio.run_coroutine_threadsafe(ride.drive(), self._loop))
        return ride

    def advance(self, ride: Ride, *states: str) -> None:
        for state in states:
            self.do(ride.advance(state))

    def share(self, ride: Ride, lifetime_s: int = 600) -> Share:
        share = self.do(self._shares.create(ride.trip.trip_id, lifetime_s, time.time()))
        assert share is not None
        return share

    def revoke(self, ride: Ride, share: Share) -> None:
        self.do(self._shares.revoke(ride.trip.trip_id, share.share_id))

    def link(self, share: Share) -> str:
        return f"{self.push.health_url}/share#{share.token}"

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        self.push.stop()
        for driving in self._driving:
            driving.cancel()
        self.do(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)


@contextmanager
def street(log_dir: Path) -> Iterator[Street]:
    """A running street; nothing is left of it afterwards."""
    engine = Engine.start(VALKEY, log_dir)
    try:
        running = Street(f"redis://{engine.address}/0", log_dir)
        try:
            running.push.start()
            running.push.wait_ready()
            yield running
        finally:
            running.stop()
    finally:
        engine.process.stop()
