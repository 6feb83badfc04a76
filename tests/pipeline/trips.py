"""Trips of these tests, over HTTP: a dispatcher and drivers who say what happens until it is acknowledged, and cars."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Self

import httpx

from ingest.polylines import encode_polyline
from ingest.trips import (
    ARRIVED_AT_INTERMEDIATE_DESTINATION,
    ARRIVED_AT_PICKUP,
    CANCELED,
    COMPLETE,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_INTERMEDIATE_DESTINATION,
    ENROUTE_TO_PICKUP,
    NEW,
)
from tests.pipeline.system import System

#: Metres in a degree of latitude, on the sphere that all distances here are on.
M_PER_DEGREE = math.radians(1) * 6_371_007.180918475
#: Whoever is not answered gives up for good after this: a service that was killed is back much sooner.
PATIENCE_S = 120.0
#: Of all requests: those whose sender does not wait for the answer, and those that are sent again though answered.
IMPATIENT, REPEATED = 0.1, 0.1
SPEED_MPS = 20.0
EVERY_S = 1.0
#: Fixes at a stop before the driver says that the car is there: two are an arrival (`stream.arrivals`).
FIXES_AT_STOP = 3


class Spot(NamedTuple):
    """WGS84 degrees."""

    lat: float
    lon: float

    def towards(self, bearing: float, metres: float) -> Spot:
        """`bearing` in radians, clockwise from north."""
        north_m, east_m = metres * math.cos(bearing), metres * math.sin(bearing)
        lon = self.lon + east_m / (M_PER_DEGREE * math.cos(math.radians(self.lat)))
        return Spot(self.lat + north_m / M_PER_DEGREE, lon)


class Dispatcher:
    """Posts to the trip API, with one Idempotency-Key for one wish, until there is an answer. An async context manager.

    `acked` holds every answer by trip, in order. With a `rng` some senders are impatient, and some repeat themselves.
    """

    def __init__(self, system: System, rng: random.Random | None = None) -> None:
        self._system, self._rng = system, rng
        self._client = httpx.AsyncClient(base_url=system.ingest_url, timeout=60)
        self._token = system.token("ingest", "dispatch-1", "dispatch")
        self._keys = count(1)
        self.acked: dict[str, list[dict[str, Any]]] = defaultdict(list)
        #: Requests that were sent again because no answer came, and though one had come.
        self.unanswered = self.repeated = 0
        #: Why a request was answered 503: how often.
        self.unavailable: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def create(self, trip_id: str, driver_id: str, rider_id: str, stops: list[Spot], **more: Any) -> None:
        """`stops` are the pickup, waypoints, and the dropoff; `more` goes into the body."""
        pickup, *waypoints, dropoff = [stop._asdict() for stop in stops]
        order = {"trip_id": trip_id, "driver_id": driver_id, "rider_id": rider_id, "pickup": pickup, "dropoff": dropoff}
        if waypoints:
            order["waypoints"] = waypoints
        await self._say(trip_id, "/v1/trips", order | more, 201)

    async def advance(self, trip_id: str, state: str, driver_id: str | None = None) -> None:
        """The driver says it, or dispatch where none is given."""
        await self._say(trip_id, f"/v1/trips/{trip_id}/events", {"state": state}, 200, driver_id)

    async def cancel(self, trip_id: str) -> None:
        await self._say(trip_id, f"/v1/trips/{trip_id}/cancel", {"reason": "rider did not come"}, 200)

    async def reassign(self, trip_id: str, driver_id: str) -> None:
        await self._say(trip_id, f"/v1/trips/{trip_id}/reassign", {"driver_id": driver_id}, 200)

    async def read(self, trip_id: str) -> dict[str, Any]:
        """The trip as ingest's ledger has it."""
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await self._client.get(f"/v1/trips/{trip_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        trip: dict[str, Any] = answer.json()
        return trip

    async def ping(self, *pings: dict[str, Any]) -> None:
        """Post pings as a fleet, until they are accepted."""
        headers = {"Authorization": f"Bearer {self._system.token('ingest', 'fleet-1', 'fleet')}"}
        answer = await self._insist("/v1/pings", {"pings": list(pings)}, headers, patient=True)
        assert answer.json()["accepted"] == len(pings), answer.text[:300]

    async def _say(
        self, trip_id: str, path: str, body: dict[str, Any], status: int, driver_id: str | None = None
    ) -> None:
        token = self._token if driver_id is None else self._system.token("ingest", driver_id, "driver")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f'"{trip_id}-{next(self._keys)}"'}
        patient = self._rng is None or self._rng.random() >= IMPATIENT
        answer = await self._insist(path, body, headers, patient)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
        if self._rng is not None and self._rng.random() < REPEATED:
            self.repeated += 1
            again = await self._insist(path, body, headers, patient=True)
            assert (again.status_code, again.json()) == (status, answer.json()), "the same request, the same answer"
        self.acked[trip_id].append(answer.json())

    async def _insist(self, path: str, body: object, headers: dict[str, str], patient: bool) -> httpx.Response:
        """The first answer that is not "try again"."""
        rng, deadline_s = self._rng or random.Random(0), time.monotonic() + PATIENCE_S
        while True:
            try:
                # An impatient sender gives up before, while or after the request is worked on.
                timeout = 60.0 if patient else rng.uniform(0.001, 0.02)
                answer = await self._client.post(path, json=body, headers=headers, timeout=timeout)
                if answer.status_code != 503:
                    return answer
                self.unavailable[answer.json()["detail"]] += 1
            except httpx.TransportError:
                self.unanswered += 1
            assert time.monotonic() < deadline_s, f"{path}: no answer within {PATIENCE_S:g} s"
            patient = True
            await asyncio.sleep(rng.uniform(0.05, 0.3))


@dataclass
class Car:
    """A car that drives straight to where it is told. `there` counts its fixes at that place."""

    driver_id: str
    at: Spot
    to: Spot
    there: int = 0

    def drive(self, to: Spot) -> None:
        self.to, self.there = to, 0

    def step(self, metres: float) -> None:
        north_m = (self.to.lat - self.at.lat) * M_PER_DEGREE
        east_m = (self.to.lon - self.at.lon) * M_PER_DEGREE * math.cos(math.radians(self.at.lat))
        if math.hypot(north_m, east_m) <= metres:
            self.at = self.to
            self.there += 1
        else:
            self.at = self.at.towards(math.atan2(east_m, north_m), metres)


class Fleet:
    """All cars; `run` has them drive, and post where they are by the wall clock."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._cars: dict[str, Car] = {}

    def car(self, driver_id: str, at: Spot) -> Car:
        """A car that reports from now on."""
        return self._cars.setdefault(driver_id, Car(driver_id, at, at))

    def park(self, driver_id: str) -> None:
        """The car reports no longer."""
        self._cars.pop(driver_id, None)

    async def run(self) -> None:
        next_s = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            next_s += EVERY_S
            for car in self._cars.values():
                car.step(SPEED_MPS * EVERY_S)
            now_ms = int(time.time() * 1_000)
            pings = [{"driver_id": id_, "fix_time_ms": now_ms, **car.at._asdict()} for id_, car in self._cars.items()]
            if pings:
                await self._dispatcher.ping(*pings)


class Plan(NamedTuple):
    """What is to become of one trip. `drivers` has two where it is given to another before the pickup.

    `canceled_before` is the number of the stop (0: the pickup) that it never gets to; None where it is completed.
    """

    trip_id: str
    rider_id: str
    drivers: tuple[str, ...]
    begin: Spot
    stops: list[Spot]
    canceled_before: int | None
    starts_in_s: float

    @property
    def states(self) -> list[str]:
        """Every state that somebody puts it into, in order."""
        found = [NEW, ENROUTE_TO_PICKUP] * (len(self.drivers) - 1) + [NEW]
        for number in range(len(self.stops)):
            found.append(self.way_to(number))
            if number == self.canceled_before:
                return [*found, CANCELED]
            found.append(self.arrival_at(number))
        return found

    def way_to(self, stop: int) -> str:
        last = len(self.stops) - 1
        return (
            ENROUTE_TO_PICKUP
            if stop == 0
            else ENROUTE_TO_DROPOFF
            if stop == last
            else ENROUTE_TO_INTERMEDIATE_DESTINATION
        )

    def arrival_at(self, stop: int) -> str:
        last = len(self.stops) - 1
        return ARRIVED_AT_PICKUP if stop == 0 else COMPLETE if stop == last else ARRIVED_AT_INTERMEDIATE_DESTINATION


def plan_of(number: int, seed: str, within_s: float) -> Plan:
    """The trip `number` of a seed, which begins some time within `within_s`: 3 to 5 stops, 80 to 200 m apart."""
    rng = random.Random(f"{seed}/{number}")
    # A kilometre apart, so that no trip's stops are another's.
    begin = Spot(41.0 + 0.01 * (number % 20), -8.0 + 0.015 * (number // 20))
    stops, bearing = [], rng.uniform(0, math.tau)
    for _ in range(rng.randint(3, 5)):
        stops.append((stops or [begin])[-1].towards(bearing, rng.uniform(80, 200)))
        bearing += rng.uniform(-1, 1)
    names = [f"{seed}-driver-{number}-{at}" for at in range(1 + (rng.random() < 0.2))]
    canceled_before = rng.randrange(len(stops)) if rng.random() < 0.1 else None
    starts_in_s = rng.uniform(0, within_s)
    return Plan(f"{seed}-t{number}", f"{seed}-rider-{number}", tuple(names), begin, stops, canceled_before, starts_in_s)


async def ride(
    plan: Plan, dispatcher: Dispatcher, fleet: Fleet, may_end: Callable[[str], bool] = lambda _: True
) -> None:
    """Carry out a plan: order, drive from stop to stop, say what happens; its end not before `may_end(trip_id)`."""
    await asyncio.sleep(plan.starts_in_s)
    trip_id, (driver_id, *others) = plan.trip_id, plan.drivers
    approach, route = encode_polyline([plan.begin, plan.stops[0]]), encode_polyline(plan.stops)
    car = fleet.car(driver_id, plan.begin)
    await dispatcher.create(trip_id, driver_id, plan.rider_id, plan.stops, approach=approach, route=route)
    for other in others:
        await dispatcher.advance(trip_id, ENROUTE_TO_PICKUP, driver_id)
        car.drive(plan.stops[0])
        await asyncio.sleep(2 * EVERY_S)
        await dispatcher.reassign(trip_id, other)
        fleet.park(driver_id)
        driver_id, car = other, fleet.car(other, plan.begin)
    for number, stop in enumerate(plan.stops):
        await dispatcher.advance(trip_id, plan.way_to(number), driver_id)
        car.drive(stop)
        if number == plan.canceled_before:
            await asyncio.sleep(2 * EVERY_S)
            await _when(may_end, trip_id)
            await dispatcher.cancel(trip_id)
            break
        while car.there < FIXES_AT_STOP:
            await asyncio.sleep(EVERY_S / 4)
        if number == len(plan.stops) - 1:
            await _when(may_end, trip_id)
        await dispatcher.advance(trip_id, plan.arrival_at(number), driver_id)
    fleet.park(driver_id)


async def _when(may: Callable[[str], bool], trip_id: str) -> None:
    while not may(trip_id):
        await asyncio.sleep(EVERY_S / 4)
