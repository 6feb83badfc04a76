"""The trip API's callers for tests: a dispatch system, drivers and riders; and a Kafka that does as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx
import redis.asyncio

from infra.clock import WallClock
from infra.identity import Verifier
from ingest.bodies import BodyReader
from ingest.ledger import Ledger
from ingest.tally import Tally
from ingest.trip_desk import TripDesk
from ingest.trip_producer import NotAcknowledged
from ingest.trips import Trip
from ingest.trips_api import TripsApi
from tests.ingest import wire
from tests.ingest.producer import RecordingProducer
from tests.ingest.wire import token

PARTITIONS = 8
#: A drive of three points.
LINE = "_p~iF~ps|U_ulLnnqC_mqNvxq`@"
DISPATCH = token("acme", "dispatch")


def order(**members: Any) -> dict[str, Any]:
    """A good trip, but for `members`; None takes one away."""
    good = {
        "driver_id": "d-1",
        "rider_id": "r-1",
        "pickup": {"lat": wire.LAT, "lon": wire.LON, "name": "home"},
        "dropoff": {"lat": 41.2, "lon": -8.6},
    }
    return {name: value for name, value in {**good, **members}.items() if value is not None}


def headers(bearer: str = DISPATCH, key: str | None = None) -> dict[str, str]:
    return {**wire.headers(bearer), **({} if key is None else {"idempotency-key": f'"{key}"'})}


class Kafka:
    """A Publisher that remembers what was published; or is known to be away, or does not acknowledge."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.acknowledges = True
        self.published: list[Trip] = []

    def refusal(self) -> str | None:
        return self.trouble

    async def publish(self, trip: Trip) -> None:
        if self.trouble or not self.acknowledges:
            raise NotAcknowledged(self.trouble or "Kafka did not acknowledge the trip in time")
        self.published.append(trip)


class Api:
    """The trip API in this process, on a given Redis, asked as over HTTP."""

    def __init__(self, http: httpx.AsyncClient, kafka: Kafka, ledger: Ledger, tally: Tally) -> None:
        self.http, self.kafka, self.ledger, self.tally = http, kafka, ledger, tally

    async def create(self, bearer: str = DISPATCH, key: str | None = None, **members: Any) -> httpx.Response:
        return await self.http.post("/v1/trips", json=order(**members), headers=headers(bearer, key))

    async def post(
        self, trip_id: str, verb: str, bearer: str = DISPATCH, key: str | None = None, **members: Any
    ) -> httpx.Response:
        return await self.http.post(f"/v1/trips/{trip_id}/{verb}", json=members, headers=headers(bearer, key))

    async def move(
        self, trip_id: str, state: str, bearer: str = DISPATCH, key: str | None = None, **members: Any
    ) -> httpx.Response:
        return await self.post(trip_id, "events", bearer, key, state=state, **members)

    async def get(self, trip_id: str, bearer: str = DISPATCH) -> httpx.Response:
        return await self.http.get(f"/v1/trips/{trip_id}", headers=headers(bearer))


@asynccontextmanager
async def trip_api(client: redis.asyncio.Redis, restored: bool = True) -> AsyncIterator[Api]:
    """The API with a Kafka of our own; `restored` says that stream's workers have given the ledger what they hold."""
    kafka, ledger, tally, numbers = Kafka(), Ledger(client, PARTITIONS), Tally(), count(1)
    trips = TripsApi(
        Verifier(wire.KEY, "HS256", "ingest"),
        TripDesk(ledger, kafka, WallClock()),
        BodyReader(5.0),
        tally,
        lambda: f"made-{next(numbers)}",
    )
    if restored:
        for partition in range(PARTITIONS):
            await ledger.mark_restored(partition)
    producer = RecordingProducer()
    app = wire.app(wire.route(producer, tally), producer, trips.router())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as http:
        yield Api(http, kafka, ledger, tally)
