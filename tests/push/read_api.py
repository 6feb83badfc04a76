"""The HTTP side of push on a real Redis, with what ingest and stream would have written there, and clocks in hand."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx
import redis.asyncio
from prometheus_client import CollectorRegistry

from infra.health import Health
from infra.identity import Verifier, mint
from infra.local.engines import Engine
from ingest.events import Ping, partition_of
from ingest.trips import (
    CREATED,
    ENROUTE_TO_PICKUP,
    NEW,
    STATE_CHANGED,
    Place,
    Trip,
    TripEvent,
)
from push.api import build_api
from push.feed import redis_client
from push.pages import build_pages
from push.settings import PushSettings
from push.shares import Shares, Tokens, share_key
from stream.index import DriverIndex
from stream.partitions import PartitionWrite, Record
from stream.positions import DriverState
from stream.records import PartitionRecords
from stream.regions import RegionChange, shown_as
from stream.trip_channels import TrackFix, TripCar, TripWrite
from stream.trip_index import TripIndex
from tests.push.city import MANHATTAN

KEY = "a test key that is long enough for HS256"
#: Event time and wall time differ, so that nothing that expires is judged by the wrong one.
NOW_MS = 1_700_000_000_000
WALL_S = 1_800_000_000.0
#: A driver's way is told to no one but the trip's rider, so it must be easy to find in an answer.
PICKUP, DROPOFF = Place(40.712345, -74.012345, "12 Home Street"), Place(40.812345, -73.912345, "The Airport")


class Clock:
    """Event time, as the test says."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms


def trip_of(
    trip_id: str = "t-1", rider_id: str = "rider-1", driver_id: str = "d-1", state: str = ENROUTE_TO_PICKUP
) -> Trip:
    """A trip that went the shortest way to `state`."""
    states = [NEW] if state == NEW else [NEW, state]
    history = [
        TripEvent(f"v{at}", CREATED if at == 1 else STATE_CHANGED, NOW_MS - 60_000 + at, each, driver_id, 1, "dispatch")
        for at, each in enumerate(states, 1)
    ]
    return Trip(trip_id, len(history), 1, driver_id, rider_id, state, PICKUP, DROPOFF, NOW_MS - 60_000, history)


class ReadApi:
    """`async with ReadApi(engine) as api`: `api.get(path, token)`; `api.event.ms` and `api.wall_s` are the clocks."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        url = f"redis://{engine.address}/0"
        self.settings = PushSettings(**{"redis": url, "jwt_key": KEY, **settings})
        self.event, self.wall_s = Clock(), WALL_S

    async def __aenter__(self) -> Self:
        settings = self.settings
        self.client: redis.asyncio.Redis = redis_client(settings.redis)
        key = share_key(settings)
        self.tokens = Tokens(Verifier(settings.jwt_key, settings.jwt_algorithm, "rider"), key)
        self.shares = Shares(self.client, key, settings.max_shares_per_trip)
        self.index, self.records = DriverIndex(self.client), PartitionRecords(self.client)
        self.trips = TripIndex(self.client)
        api = build_api(settings, self.event, self.client, self.tokens, self.shares, lambda: self.wall_s)
        app = build_pages(settings, self.event, Health(lambda: None, CollectorRegistry()), api)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8082")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()
        await self.client.aclose()

    def token(self, subject: str = "rider-1", scopes: str = "rider", **changes: Any) -> str:
        of: dict[str, Any] = {"key": KEY, "algorithm": "HS256", "audience": "rider", "lifetime_s": 600.0, **changes}
        return mint(subject=subject, scopes=scopes, now_s=of.pop("now_s", self.wall_s), **of)

    async def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        return await self.ask("GET", path, token, None, **headers)

    async def ask(
        self, method: str, path: str, token: str | None = None, body: object = None, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["authorization"] = f"Bearer {token}"
        return await self.http.request(method, path, headers=named, **({} if body is None else {"json": body}))

    async def share(self, trip_id: str = "t-1", **body: object) -> dict[str, Any]:
        """A share link made by its rider."""
        answer = await self.ask("POST", f"/v1/trips/{trip_id}/shares", self.token(), body or None)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def put_trip(self, trip: Trip, car: TripCar | None = None, fixes: list[TrackFix] | None = None) -> Trip:
        (reply,) = await self.trips.apply([TripWrite(trip, True, car, trip.ended, trip.history, fixes or [])])
        assert reply.outcome.value == b"written"
        return trip

    def car(self, driver_id: str = "d-1", ago_ms: int = 1_000, **more: Any) -> TripCar:
        """A trip's car in the middle of Manhattan, as of `ago_ms` ago."""
        at_ms = self.event.ms - ago_ms
        return TripCar(1, driver_id, at_ms, *MANHATTAN, at_ms + 40, **more)

    async def put_driver(self, fixes: list[Ping], indexed: bool = True) -> None:
        """What the stream job leaves in Redis of one driver."""
        driver = DriverState([fixes[0]], self.settings.max_speed_mps)
        for fix in fixes[1:]:
            driver.fold(fix, self.settings.max_speed_mps)
        driver_id = fixes[0].driver_id
        partition = partition_of(driver_id, self.settings.partitions)
        if indexed:
            shown = shown_as(driver.live)
            change = RegionChange({driver_id: shown.car})
            await self.index.apply({shown.region: change}, "", 0)
        record = Record(1, drivers={driver_id: driver.pack()}, fence=1)
        await self.records.write([PartitionWrite(partition, {}, {}, record, [], True)])


def assert_problem(answer: httpx.Response, status: int, slug: str = "") -> dict[str, Any]:
    """RFC 9457, kept by no cache, and without anything of what was asked for."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    if slug:
        assert body["type"] == f"/problems/{slug}"
    for secret in ("40.7", "-74.0", "-73.9", "Home Street", "eyJ"):
        assert secret not in answer.text
    return body
