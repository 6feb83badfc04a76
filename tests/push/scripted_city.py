"""A city at work without a pipeline: Redis, push, the stage, and a script that drives cars and trips on real roads.

What the demo map is developed, tested and measured with: `python -m tests.push.scripted_city --cars 2000`.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

import h3
import msgspec
import redis.asyncio

from infra.local.engines import VALKEY, Engine, free_port
from infra.local.services import PUSH, Service, free_ports
from ingest.polylines import encode_polyline
from ingest.trips import (
    ARRIVED_AT_PICKUP,
    COMPLETE,
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    STATE_CHANGED,
    Place,
    Trip,
    TripEvent,
)  # fmt: skip
from push.settings import PushSettings
from push.shares import Shares, share_key
from simulator.roads.network import RoadNetwork, load_manhattan
from simulator.staging.stage import Counters, Scene, Stage, TripUnderWay, WaitingRequest
from stream.channels import Car, Removal, cell_of, region_of
from stream.index import DriverIndex
from stream.regions import RegionChange
from stream.trip_channels import TripCar, TripWrite
from stream.trip_index import TripIndex

STEP_S = 0.1
#: Every car says where it is once a second; a tenth of them in each step.
PHASES = 10
TYPES = ("AUTO", "AUTO", "AUTO", "TAXI", "TAXI", "TWO_WHEELER")
WAITS_S = 5.0
AT_PICKUP_S = 3.0
#: A step of the city takes milliseconds; this is for a machine that does much else.
ANSWERS_WITHIN_S = 30.0
NEXT = {ENROUTE_TO_PICKUP: ARRIVED_AT_PICKUP, ARRIVED_AT_PICKUP: ENROUTE_TO_DROPOFF, ENROUTE_TO_DROPOFF: COMPLETE}

T = TypeVar("T")


class ScriptedCar:
    """Drives links at their speed; without a job from place to place."""

    def __init__(self, number: int, roads: RoadNetwork, random: Random) -> None:
        self.driver_id, self.vehicle_type = f"car-{number}", random.choice(TYPES)
        self._roads, self._random = roads, random
        self.node = random.randrange(len(roads.positions))
        self.way: list[int] = []
        self.offset_m = self.wait_s = 0.0
        self.job: ScriptedTrip | None = None
        self.lat, self.lon = roads.positions[self.node]
        self.heading_deg = 0.0
        self.seen_cell = 0

    def drive(self, node: int) -> list[int]:
        """Go to `node`; the stretch under way is driven to its end first. Returns the links of the way."""
        started = self.way[:1] if self.offset_m > 0 else []
        at = self._roads.links[started[0]].to_node if started else self.node
        self.way = started + self._roads.route(at, node)
        return list(self.way)

    def move(self, seconds: float) -> bool:
        """Whether it has arrived."""
        if self.wait_s > 0:
            self.wait_s -= seconds
            return self.wait_s <= 0
        while self.way:
            link = self._roads.links[self.way[0]]
            metres = link.speed_mps * 0.9 * seconds
            if self.offset_m + metres < link.length_m:
                self.offset_m += metres
                self.lat, self.lon = self._roads.along(self.way[0], self.offset_m)
                self.heading_deg = link.heading_deg
                return False
            seconds -= (link.length_m - self.offset_m) / (link.speed_mps * 0.9)
            self.node, self.offset_m = link.to_node, 0.0
            self.lat, self.lon = self._roads.positions[self.node]
            self.way.pop(0)
        return True

    def fix(self, now_ms: int) -> Car:
        cell = cell_of(self.lat, self.lon)
        speed = 0.0 if self.wait_s > 0 else 9.0
        return Car(
            self.driver_id, now_ms, self.lat, self.lon, cell, now_ms, 5.0, self.heading_deg, speed, self.vehicle_type
        )


class ScriptedTrip:
    """Who asked, where, where to, and how far it has come."""

    def __init__(self, number: int, origin: int, destination: int) -> None:
        self.trip_id, self.origin, self.destination = f"trip-{number}", origin, destination
        self.asked_s = time.monotonic()
        self.car: ScriptedCar | None = None
        self.approach = self.route = self.share_url = ""
        self.state = NEW
        self.record: Trip | None = None


class ScriptedCity:
    """Cars, requests and trips; `step` lets time pass, `scene` is what the stage says."""

    def __init__(self, roads: RoadNetwork, cars: int, trips: int, seed: int = 7) -> None:
        """Keeps about `trips` trips under way."""
        self._roads, self._random, self._wanted = roads, Random(seed), trips
        self.cars = [ScriptedCar(number, roads, self._random) for number in range(cars)]
        self.trips: dict[str, ScriptedTrip] = {}
        self.completed = self._made = 0
        self.sharing: Shares | None = None
        self.page = ""

    def scene(self) -> Scene:
        now_s = time.monotonic()
        under_way = [trip for trip in self.trips.values() if trip.car]
        waiting = [trip for trip in self.trips.values() if not trip.car]
        return Scene(
            "Rush hour in Manhattan", time.time_ns() // 1_000_000,
            Counters(len(self.cars), 120, self.completed, float(len(self.cars)), 4.2),
            [WaitingRequest(*self._roads.positions[trip.origin], now_s - trip.asked_s) for trip in waiting],
            [
                TripUnderWay(trip.trip_id, trip.car.driver_id, trip.state, trip.approach, trip.route, trip.share_url)
                for trip in under_way if trip.car
            ],
        )  # fmt: skip

    async def step(self, seconds: float, index: TripIndex) -> None:
        now_s = time.monotonic()
        under_way = sum(trip.car is not None for trip in self.trips.values())
        waiting = len(self.trips) - under_way
        if waiting <= self._wanted / 8 and self._random.random() < seconds * self._wanted / 8:
            self._ask()
        for trip in list(self.trips.values()):
            if trip.car is None and now_s - trip.asked_s > WAITS_S and under_way < self._wanted:
                under_way += 1
                await self._match(trip, index)
        for car in self.cars:
            if not car.move(seconds):
                continue
            if car.job is not None:
                await self._advance(car.job, index)
            else:
                car.drive(self._random.randrange(len(self._roads.positions)))

    def _ask(self) -> None:
        nodes = len(self._roads.positions)
        trip = ScriptedTrip(self._made, self._random.randrange(nodes), self._random.randrange(nodes))
        self._made += 1
        self.trips[trip.trip_id] = trip

    async def _match(self, trip: ScriptedTrip, index: TripIndex) -> None:
        place = self._roads.positions[trip.origin]
        free = [car for car in self.cars if car.job is None and car.wait_s <= 0]
        if not free:
            return
        trip.car = car = min(free, key=lambda car: h3.great_circle_distance(place, (car.lat, car.lon)))
        car.job = trip
        trip.approach = self._polyline(car.drive(trip.origin), (car.lat, car.lon))
        trip.route = self._polyline(self._roads.route(trip.origin, trip.destination))
        trip.state = ENROUTE_TO_PICKUP
        if sum(bool(each.share_url) for each in self.trips.values()) < 3 and self.sharing is not None:
            await self._share(trip, index)

    async def _share(self, trip: ScriptedTrip, index: TripIndex) -> None:
        assert trip.car is not None
        assert self.sharing is not None
        now_ms = time.time_ns() // 1_000_000
        created = TripEvent("v1", CREATED, now_ms, NEW, trip.car.driver_id, 1, by="dispatch")
        trip.record = Trip(
            trip.trip_id, 1, 1, trip.car.driver_id, "r-1", NEW, Place(*self._roads.positions[trip.origin]),
            Place(*self._roads.positions[trip.destination]), now_ms, [created], approach=trip.approach,
            route=trip.route,
        )  # fmt: skip
        await self.write(trip, index)
        share = await self.sharing.create(trip.trip_id, 3_600, time.time())
        trip.share_url = f"{self.page}/share#{share.token}" if share else ""

    async def write(self, trip: ScriptedTrip, index: TripIndex) -> None:
        """Say a shared trip's state and car, as the stream job would."""
        record, car = trip.record, trip.car
        if record is None or car is None:
            return
        now_ms = time.time_ns() // 1_000_000
        if whole := record.state != trip.state or record.version == 1:
            version = record.version + 1
            event = TripEvent(f"v{version}", STATE_CHANGED, now_ms, trip.state, car.driver_id, 1, by="driver")
            record = trip.record = msgspec.structs.replace(
                record, version=version, state=trip.state, history=[*record.history, event]
            )
        left_m = sum(self._roads.links[number].length_m for number in car.way)
        at = TripCar(
            1, car.driver_id, now_ms, car.lat, car.lon, now_ms, 5.0, car.heading_deg, 9.0, car.vehicle_type,
            leg="pickup" if trip.state == ENROUTE_TO_PICKUP else "dropoff", remaining_m=left_m, eta_s=left_m / 9.0,
            distance_m=0.0, route_m=0.0,
        )  # fmt: skip
        ended = record.ended
        events = record.history if whole else []
        await index.apply([TripWrite(record, whole, car=None if ended else at, car_gone=ended, events=events)])

    async def _advance(self, trip: ScriptedTrip, index: TripIndex) -> None:
        assert trip.car is not None
        trip.state = NEXT[trip.state]
        if trip.state == ARRIVED_AT_PICKUP:
            trip.car.wait_s = AT_PICKUP_S
        elif trip.state == ENROUTE_TO_DROPOFF:
            trip.car.drive(trip.destination)
        else:
            trip.car.job = None
            del self.trips[trip.trip_id]
            self.completed += 1
        await self.write(trip, index)

    def _polyline(self, links: list[int], first: tuple[float, float] | None = None) -> str:
        nodes = [self._roads.links[number].to_node for number in links]
        start = first or (self._roads.positions[self._roads.links[links[0]].from_node] if links else None)
        return encode_polyline([*([start] if start else []), *(self._roads.positions[node] for node in nodes)])


class Demo:
    """Everything the page talks to; a thread of its own drives `city`."""

    def __init__(self, redis_url: str, log_dir: Path, cars: int, trips: int, **settings: str) -> None:
        key = secrets.token_hex(32)
        ports = free_ports(PUSH)
        page = f"http://127.0.0.1:{ports['RIDESTREAM_PUSH_HTTP_PORT']}"
        self.city = ScriptedCity(load_manhattan(), cars, trips)
        self.city.page = page
        self.stage = Stage(self.city.scene, free_port(), [page])
        env = {
            "RIDESTREAM_REDIS": redis_url,
            "RIDESTREAM_JWT_KEY": key,
            "RIDESTREAM_GUEST_RIDERS": "true",
            "RIDESTREAM_HEARTBEAT_S": "1",
            "RIDESTREAM_DRAIN_S": "0.5",
            "RIDESTREAM_STAGE_URL": self.stage.url,
            **settings,
        }
        self.push = Service(PUSH, {**env, **ports}, log_dir)
        self._redis_url, self._key = redis_url, key
        self._loop = asyncio.new_event_loop()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.push.start()
        self.push.wait_ready()

    def stop(self) -> None:
        self._stopping.set()
        self.push.stop()
        self._thread.join(ANSWERS_WITHIN_S)

    def show_stage(self, shown: bool) -> None:
        """Let the stage answer, or not."""
        work = self.stage.start() if shown else self.stage.stop()
        asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWERS_WITHIN_S)

    def arrive(self, trip_id: str) -> str:
        """The car of a trip is at its next stop at once, unless its rider is on board. Returns the trip's state."""
        return self._between_steps(lambda: self._arrive(trip_id))

    def complete(self, trip_id: str) -> None:
        """The rider gets off at once, or as soon as one is on board: ask again until the trip has gone."""
        self._between_steps(lambda: self._complete(trip_id))

    def have_one_fetched(self) -> None:
        """Where no car is on its way to a rider, somebody gets off, so that one is sent to who waits next."""
        self._between_steps(self._have_one_fetched)

    def have_one_on_board(self) -> None:
        """Where nobody sits in a car, the car of the first trip is at its next stop."""
        self._between_steps(self._have_one_on_board)

    def _arrive(self, trip_id: str) -> str:
        trip = self.city.trips.get(trip_id)
        if trip is None:
            return COMPLETE
        if trip.car is not None and trip.state != ENROUTE_TO_DROPOFF:
            trip.car.way, trip.car.wait_s = [], min(trip.car.wait_s, STEP_S)
        return trip.state

    def _complete(self, trip_id: str) -> None:
        trip = self.city.trips.get(trip_id)
        if trip is not None and self._arrive(trip_id) == ENROUTE_TO_DROPOFF and trip.car is not None:
            trip.car.way = []

    def _have_one_fetched(self) -> None:
        trips = [trip for trip in self.city.trips.values() if trip.car is not None]
        on_board = [trip for trip in trips if trip.state == ENROUTE_TO_DROPOFF]
        if on_board and len(on_board) == len(trips):
            self._complete(on_board[-1].trip_id)

    def _have_one_on_board(self) -> None:
        trips = [trip for trip in self.city.trips.values() if trip.car is not None]
        if trips and all(trip.state != ENROUTE_TO_DROPOFF for trip in trips):
            self._arrive(trips[0].trip_id)

    def _between_steps(self, work: Callable[[], T]) -> T:
        # In the loop's own thread: a car that is moved must not lose its way halfway through a stretch.
        async def now() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result(ANSWERS_WITHIN_S)

    async def _run(self) -> None:
        client = redis.asyncio.Redis.from_url(self._redis_url)
        index, trips = DriverIndex(client), TripIndex(client)
        self.city.sharing = Shares(client, share_key(PushSettings(jwt_key=self._key)), 10)
        await self.stage.start()
        moved_s = time.monotonic()
        step = 0
        while not self._stopping.is_set():
            now_s = time.monotonic()
            await self.city.step(now_s - moved_s, trips)
            moved_s = now_s
            await index.apply(
                self._changes(self.city.cars if not step else self.city.cars[step % PHASES :: PHASES]), "", 0
            )
            if step % PHASES == 0:
                for trip in list(self.city.trips.values()):
                    await self.city.write(trip, trips)
            step += 1
            await asyncio.sleep(max(0.0, STEP_S - (time.monotonic() - now_s)))
        await self.stage.stop()
        await client.aclose()

    def _changes(self, cars: list[ScriptedCar]) -> dict[int, RegionChange]:
        now_ms = time.time_ns() // 1_000_000
        changes: dict[int, RegionChange] = {}
        for car in cars:
            fix = car.fix(now_ms)
            region = region_of(fix.cell)
            changes.setdefault(region, RegionChange()).cars[car.driver_id] = fix
            if car.seen_cell and region_of(car.seen_cell) != region:
                left = changes.setdefault(region_of(car.seen_cell), RegionChange())
                left.removals[car.driver_id] = Removal(car.driver_id, now_ms)
            car.seen_cell = fix.cell
        return changes


@contextmanager
def demo(log_dir: Path, cars: int, trips: int, **settings: str) -> Iterator[Demo]:
    """A running demo, with more settings for push; nothing is left of it afterwards."""
    engine = Engine.start(VALKEY, log_dir)
    try:
        running = Demo(f"redis://{engine.address}/0", log_dir, cars, trips, **settings)
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        engine.process.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cars", type=int, default=200)
    parser.add_argument("--trips", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as logs, demo(Path(logs), given.cars, given.trips) as shown:
        print(shown.push.health_url, shown.stage.url, flush=True)
        threading.Event().wait()
