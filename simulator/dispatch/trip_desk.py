"""Speak with the system about trips: order them, say how they go, and read what push tells of them over HTTP.

Commands follow docs/wire/trips.md: one Idempotency-Key for one wish, repeated with every retry of it, until there is an
answer or `PATIENCE_S` is over. Reads follow docs/wire/reads.md. Nothing here raises because of the network: what could
not be done says why.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from simulator.dispatch.rides import CANCELED, NEW, Place, Ride
from simulator.dispatch.trip_answers import (
    Again,
    Conflict,
    Done,
    Ledger,
    Log,
    Nearby,
    Outcome,
    Refused,
    Track,
    Unreadable,
    outcome_of,
    read_ledger,
    read_log,
    read_nearby,
    read_share,
    read_track,
)

#: A command waits for Kafka's acknowledgement (5 s by default), and may be repeated by a gateway.
REQUEST_TIMEOUT_S = 15.0
#: Whoever is not answered for so long gives up: a service that was killed is back much sooner.
PATIENCE_S = 60.0
#: Full jitter between half and all of 0.1 s, 0.2 s, ... up to this.
LONGEST_BACKOFF_S = 5.0
#: Requests under way at once to each of the two; more wait here, not in the system under test.
MOST_AT_ONCE = 32
#: uvicorn by default closes a connection that idled for 5 s; ours is given up before, so that no request races that.
IDLE_CONNECTION_S = 4.0
#: docs/wire/websocket.md: max_cars.
MOST_CARS = 500
#: A share link outlives any ride in a city.
SHARED_FOR_S = 3_600


class TripDesk:
    """Use as an async context manager. `retries` counts requests that were sent again, by why."""

    def __init__(
        self,
        ingest_url: str,
        reads_url: str,
        dispatch: Callable[[], str],
        reader: Callable[[], str],
        random: Random,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Base addresses of ingest and of push's HTTP port. `dispatch` gives a token for ingest with the scope
        `dispatch`, `reader` one for riders' audience with that scope."""
        self._ingest_url, self._reads_url = ingest_url.rstrip("/"), reads_url.rstrip("/")
        self._dispatch, self._reader, self._random, self._patience_s = dispatch, reader, random, patience_s
        self.retries: Counter[str] = Counter()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=2 * MOST_AT_ONCE, limit_per_host=MOST_AT_ONCE, keepalive_timeout=IDLE_CONNECTION_S
            ),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def say(self, ride: Ride, state: str) -> Done | Refused:
        """Make the trip (`NEW`), or take it to `state`; returns when it is so, or why it is not."""
        body: Mapping[str, object]
        if state == NEW:
            path, body = "/v1/trips", _order(ride)
        elif state == CANCELED:
            path, body = f"/v1/trips/{ride.trip_id}/cancel", {"reason": "the simulation is over"}
        else:
            path, body = f"/v1/trips/{ride.trip_id}/events", {"state": state}
        key, data = f'"{ride.trip_id}/{state}"', msgspec.json.encode(body)
        deadline_s, attempt = time.monotonic() + self._patience_s, 0
        while True:
            outcome = await self._command(path, data, key)
            if isinstance(outcome, Conflict):
                outcome = await self._look(ride, state)
            if isinstance(outcome, Done | Refused):
                return outcome
            assert isinstance(outcome, Again)
            self.retries[outcome.why] += 1
            backoff_s = min(LONGEST_BACKOFF_S, 0.1 * 2 ** min(attempt, 10))
            wait_s = (backoff_s if outcome.after_s is None else outcome.after_s) * self._random.uniform(0.5, 1.0)
            attempt += 1
            if time.monotonic() + wait_s >= deadline_s:
                return Refused(f"no answer within {self._patience_s:g} s (last: {outcome.why})")
            await asyncio.sleep(wait_s)

    async def ledger(self, trip_id: str) -> Ledger | None:
        """The trip as ingest has it; None when that cannot be known now. Raises Unreadable."""
        status, content = await self._get(f"{self._ingest_url}/v1/trips/{trip_id}", self._dispatch, {})
        return read_ledger(content) if status == 200 else None

    async def log(self, trip_id: str) -> Log | None:
        """The trip's events as push tells whoever asks; None when that cannot be known now. Raises Unreadable."""
        status, content = await self._get(f"{self._reads_url}/v1/trips/{trip_id}", self._reader, {})
        return read_log(content) if status == 200 else None

    async def track(self, trip_id: str) -> Track | None:
        """The way of the trip's driver; None when that cannot be known now. Raises Unreadable."""
        status, content = await self._get(f"{self._reads_url}/v1/trips/{trip_id}/track", self._reader, {})
        return read_track(content) if status == 200 else None

    async def nearby(self, place: Place, radius_m: float, within_s: float) -> Nearby | None:
        """The cars that riders at a place are shown; None when that is not known within `within_s`."""
        asked: dict[str, float] = {"lat": place.lat, "lon": place.lon, "radius_m": radius_m, "limit": MOST_CARS}
        try:
            async with asyncio.timeout(within_s):
                status, content = await self._get(f"{self._reads_url}/v1/nearby", self._reader, asked)
                return read_nearby(content) if status == 200 else None
        except (TimeoutError, Unreadable):
            return None

    async def share(self, trip_id: str) -> str | None:
        """A link to the trip for whoever has it; None when there is none (sharing may be off)."""
        assert self._session is not None
        url = f"{self._reads_url}/v1/trips/{trip_id}/shares"
        headers = {"Authorization": f"Bearer {self._reader()}"}
        try:
            async with self._session.post(url, json={"expires_in_s": SHARED_FOR_S}, headers=headers) as answer:
                return read_share(await answer.read()) if answer.status == 201 else None
        except (aiohttp.ClientError, OSError, TimeoutError, Unreadable):
            return None

    async def _command(self, path: str, data: bytes, key: str) -> Outcome:
        assert self._session is not None
        headers = {
            "Authorization": f"Bearer {self._dispatch()}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        url = self._ingest_url + path
        try:
            async with self._session.post(url, data=data, headers=headers, allow_redirects=False) as answer:
                return outcome_of(answer.status, answer.headers.get("Retry-After"), await answer.read())
        except TimeoutError:
            return Again("timeout")
        except (aiohttp.ClientError, OSError):
            return Again("connection")

    async def _look(self, ride: Ride, state: str) -> Outcome:
        """After a conflict: an earlier try may have done it, and the memory of its key be lost with Redis."""
        try:
            trip = await self.ledger(ride.trip_id)
        except Unreadable:
            return Refused("answer_unreadable")
        if trip is None:
            return Again("http_409")
        ours = (trip.driver_id, trip.rider_id) == (ride.driver_id, ride.rider_id)
        return Done(trip) if ours and trip.state == state else Refused(f"http_409: the trip is {trip.state}")

    async def _get(self, url: str, bearer: Callable[[], str], asked: Mapping[str, float]) -> tuple[int, bytes]:
        """Status and content; status 0 when there is no answer."""
        assert self._session is not None
        headers = {"Authorization": f"Bearer {bearer()}"}
        try:
            async with self._session.get(url, params=dict(asked), headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, b""


def _order(ride: Ride) -> dict[str, object]:
    order: dict[str, object] = {
        "trip_id": ride.trip_id,
        "driver_id": ride.driver_id,
        "rider_id": ride.rider_id,
        "pickup": ride.pickup._asdict(),
        "dropoff": ride.dropoff._asdict(),
    }
    if ride.approach:
        order["approach"] = ride.approach
    if ride.route:
        order["route"] = ride.route
    return order
