"""A rider who watches one trip, judges every message, is cut off, and goes on where that was. Many fit in one loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from ingest.trips import ENDED
from tests.pipeline.polling import NOT_THERE, POLL_S, NotYet

SUBPROTOCOL = "ridestream.v1"
#: Names of the subscriptions.
TRIP, MAP = "my-trip", "my-map"
#: Longer than push waits for a trip that it does not know yet.
OPEN_WITHIN_S = 30.0


class Cut(NamedTuple):
    """When the rider leaves, in seconds from being connected; how; and how long it stays away."""

    after_s: float
    abruptly: bool
    away_s: float


class Told(NamedTuple):
    """A message and when it came: epoch milliseconds."""

    at_ms: float
    message: dict[str, Any]


class TripRider:
    """`events` is the trip's log as this rider's app knows it. `faults` holds, in words, what a server may not do:

    a gap or a repetition in the log, an event that is told otherwise than before, a car that goes back in time, the
    same freshness twice in a row, a position before the snapshot or after the trip's end.
    """

    def __init__(
        self,
        url: str,
        token: str,
        trip_id: str,
        cuts: Iterable[Cut] = (),
        keeps: bool = False,
        nearby: Mapping[str, float] | None = None,
    ) -> None:
        """`keeps` every message of the trip in `told`. `nearby` is the place of a map that the app shows beside it."""
        self._nearby = nearby
        self._url, self._token, self.trip_id, self._cuts = url, token, trip_id, cuts
        self.events: list[dict[str, Any]] = []
        self.epoch, self.trip, self.freshness = "", dict[str, Any](), ""
        self.car: dict[str, Any] | None = None
        self.progress: dict[str, Any] = {}
        self.faults: list[str] = []
        self.told: list[Told] = []
        self._keeps = keeps
        self.connections = self.unwelcome = self.cut_offs = self.replays = self.snapshots = self.positions = 0
        self.replayed = self.asked_again = self.maps = self.maps_dropped = 0
        #: Of each connection after the first: seconds from trying to connect to the trip; of each time it was away
        #: against its will, seconds until the trip was there again.
        self.resumed_s: list[float] = []
        self.outages_s: list[float] = []
        #: Times it left, in all and before the trip was over, and whether it will not any more.
        self.left = self.left_on_the_way = 0
        self.stays = False
        self._newest: dict[str, int] = {}
        self._has_snapshot = False
        self._lost_at_s: float | None = None
        self._tried_at_s = 0.0

    @property
    def offset(self) -> int:
        return len(self.events)

    @property
    def distance_m(self) -> float:
        """How far the driver has driven, as last told."""
        return float(self.progress.get("distance_m", 0.0))

    @property
    def has_seen_the_end(self) -> bool:
        return self.trip.get("state") in ENDED and self.freshness == "none"

    async def run(self) -> None:
        """Watch until cancelled."""
        for cut in self._cuts:
            await self._watch(cut)
            await asyncio.sleep(cut.away_s)
        self.stays = True
        await self._watch(None)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch in the background, and say so should that fail."""
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, holds: Callable[[], object], what: Callable[[], object] | str, within_s: float = 60) -> None:
        """Watch until this is so. Raises NotYet, which says `what`."""
        deadline_s = time.monotonic() + within_s

        def holds_now() -> object:
            with suppress(*NOT_THERE):
                return holds()
            return False

        while not holds_now():
            if time.monotonic() > deadline_s:
                raise NotYet(f"not within {within_s:g} s: {what if isinstance(what, str) else what()}; {self.faults}")
            await asyncio.sleep(POLL_S)

    async def _watch(self, cut: Cut | None) -> None:
        """Be connected, as often as it takes, until the rider leaves by itself."""
        while True:
            self._tried_at_s = time.monotonic()
            connection = None
            with suppress(ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, TimeoutError, EOFError):
                connection = await self._connect()
            if connection is not None:
                self.connections += 1
                self._has_snapshot = False
                if await self._listen(connection, cut):
                    self.left += 1
                    self.left_on_the_way += self.trip.get("state") not in ENDED
                    return
                self.cut_offs += 1
            else:
                self.unwelcome += 1
            self._lost_at_s = self._lost_at_s or time.monotonic()
            await asyncio.sleep(0.2)

    async def _connect(self) -> ClientConnection:
        connection = await connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {self._token}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            open_timeout=OPEN_WITHIN_S,
            close_timeout=2,
            ping_interval=None,
            max_size=None,
            proxy=None,
        )
        if self._nearby is not None:
            await connection.send(json.dumps({"type": "subscribe", "sub": MAP, **self._nearby}))
        await self._subscribe(connection)
        return connection

    async def _subscribe(self, connection: ClientConnection) -> None:
        wanted: dict[str, Any] = {"type": "subscribe", "channel": "trip", "sub": TRIP, "trip_id": self.trip_id}
        if self.epoch:
            wanted["recover"] = {"epoch": self.epoch, "offset": self.offset}
        await connection.send(json.dumps(wanted))

    async def _listen(self, connection: ClientConnection, cut: Cut | None) -> bool:
        """Whether the rider left; else the server, or what is between, ended it."""
        try:
            async with asyncio.timeout(None if cut is None else cut.after_s):
                async for text in connection:
                    message = json.loads(text)
                    if message.get("code") == "unknown_trip" and not self.epoch:
                        # Ordered, and not yet where riders are served: a worker that was killed is being replaced.
                        self.asked_again += 1
                        await self._subscribe(connection)
                    else:
                        self.take(message)
        except TimeoutError:
            assert cut is not None
            if cut.abruptly:
                connection.transport.abort()
                await connection.wait_closed()
            else:
                await connection.close()
            return True
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            connection.transport.abort()
            raise
        return False

    def take(self, message: dict[str, Any]) -> None:
        """One message of the server."""
        if self._keeps and message.get("sub") != MAP:
            self.told.append(Told(time.time() * 1_000, message))
        kind = message["type"]
        if message.get("sub") == MAP and kind != "error":
            self.maps += kind in ("snapshot", "update")
            self.maps_dropped += kind == "dropped"
            return
        if kind == "trip_snapshot":
            self._take_snapshot(message)
            return
        self._expect(not kind.startswith("trip_") or self._has_snapshot, f"{kind} before the snapshot")
        match kind:
            case "trip_events":
                self._expect(message["epoch"] == self.epoch, "events of another epoch")
                self._append(message["events"])
                self._expect(message["offset"] == self.offset, f"offset {message['offset']}, not {self.offset}")
                if "trip" in message:
                    self._take_trip(message["trip"])
                self._expect(bool(message["events"]) or "trip" in message, "trip_events without news")
            case "trip_freshness":
                self._expect(message["freshness"] != self.freshness, f"{self.freshness} twice in a row")
                self.freshness = message["freshness"]
            case "trip_position":
                self.positions += 1
                self._take_car(message["car"])
                self.progress = message["progress"]
            case "error" | "dropped":
                self.faults.append(f"{kind}: {message}")

    def _take_snapshot(self, message: dict[str, Any]) -> None:
        self._expect(not self._has_snapshot, "a second snapshot on one connection")
        self._has_snapshot = True
        now_s = time.monotonic()
        if self.epoch:
            self.resumed_s.append(now_s - self._tried_at_s)
        if self._lost_at_s is not None:
            self.outages_s.append(now_s - self._lost_at_s)
            self._lost_at_s = None
        if message["mode"] == "replay":
            self.replays += 1
            self.replayed += message["replayed"]
            self._expect(message["epoch"] == self.epoch, "a replay of another epoch")
            self._expect(message["replayed"] == len(message["events"]), "the number of replayed events is wrong")
            self._append(message["events"])
        else:
            self.snapshots += 1
            self._merge(message["events"], same_log=message["epoch"] == self.epoch)
        self.epoch = message["epoch"]
        self._expect(message["offset"] == self.offset, f"offset {message['offset']} of a snapshot, not {self.offset}")
        self.freshness = message["freshness"]
        self._take_trip(message["trip"])
        self._expect(("car" in message) == (self.freshness != "none"), f"{self.freshness}, and a car or none")
        if "car" in message:
            self._take_car(message["car"])
            self.progress = message["progress"]

    def _merge(self, events: list[dict[str, Any]], same_log: bool) -> None:
        """A whole log: what is known of it must be told as before."""
        self._expect(same_log or not self.epoch, "the log began anew")
        for event in events:
            known = self.events[event["offset"] - 1] if event["offset"] <= self.offset else None
            if known is None:
                self._append([event])
            else:
                self._expect(known == event, f"event {event['offset']} is another one than before")

    def _append(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._expect(event["offset"] == self.offset + 1, f"offset {event['offset']} after {self.offset}")
            known = {one["event_id"] for one in self.events}
            self._expect(event["event_id"] not in known, f"{event['event_id']} was told before")
            self.events.append(event)

    def _take_trip(self, trip: dict[str, Any]) -> None:
        self._expect(trip["trip_id"] == self.trip_id, "another trip")
        self._expect(trip["version"] >= self.trip.get("version", 0), f"version {trip['version']} after a later one")
        self.trip = trip
        said = [event["state"] for event in self.events if event["event_id"].startswith("v")]
        self._expect(not said or said[-1] == trip["state"], f"the trip is {trip['state']}, and its log says {said[-1]}")

    def _take_car(self, car: dict[str, Any]) -> None:
        self._expect(self.trip["state"] not in ENDED, "a position after the end")
        self._expect(car["driver_id"] == self.trip["driver_id"], "the car of another driver")
        self._expect(car["freshness"] == self.freshness, f"a {car['freshness']} car where it is {self.freshness}")
        newest = self._newest.get(car["driver_id"], 0)
        self._expect(car["fix_time_ms"] >= newest, f"the car went back {newest - car['fix_time_ms']} ms")
        self._newest[car["driver_id"]] = max(newest, car["fix_time_ms"])
        self.car = car

    def _expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(f"{self.trip_id}: {fault}")
