"""A rider's connection as the tests see it: a real WebSocket, what it was told, and a view of each subscription."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from push.protocol import BEARER_SUBPROTOCOL_PREFIX, SUBPROTOCOL
from tests.pipeline.polling import NOT_THERE
from tests.push.trip_model import TripApp
from tests.push.view import View

#: On an idle machine what is waited for takes milliseconds.
WITHIN_S = 30.0


class RiderApp:
    """`async with RiderApp(url, token) as app`: connects; authenticates unless `auth` is "none"."""

    def __init__(self, url: str, token: str = "", auth: str = "header", origin: str | None = None) -> None:
        self.url, self.token, self.auth, self.origin = url, token, auth, origin
        self.views: dict[str, View] = {}
        self.trips: dict[str, TripApp] = {}
        self.heard: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self._news = asyncio.Condition()
        self._reading = asyncio.Event()
        self._reading.set()

    async def __aenter__(self) -> Self:
        protocols = [SUBPROTOCOL]
        if self.auth == "subprotocol":
            protocols.append(BEARER_SUBPROTOCOL_PREFIX + self.token)
        self.socket: ClientConnection = await connect(
            self.url,
            subprotocols=[Subprotocol(each) for each in protocols],
            additional_headers={"Authorization": f"Bearer {self.token}"} if self.auth == "header" else None,
            origin=Origin(self.origin) if self.origin else None,
            compression=None,
            max_size=4 << 20,
            max_queue=1,
            open_timeout=WITHIN_S,
            close_timeout=1,
            ping_interval=None,
            proxy=None,
        )
        self.reader = asyncio.create_task(self._read())
        if self.auth == "message":
            await self.say("auth", token=self.token)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.set()
        await self.socket.close()
        await self.reader

    async def say(self, type_: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def subscribe(self, sub: str, place: tuple[float, float], **fields: object) -> View:
        """Returns after the snapshot."""
        view = self.views[sub] = View()
        await self.say("subscribe", sub=sub, lat=place[0], lon=place[1], **fields)
        await self.until(lambda: view.seq > 0)
        return view

    async def watch(self, trip_id: str, app: TripApp | None = None, sub: str = "trip") -> TripApp:
        """Returns once the trip is known; goes on where `app` was."""
        app = self.trips[sub] = app or TripApp()
        before = len(app.modes)
        recover = {"recover": app.recover} if app.recover else {}
        await self.say("subscribe", channel="trip", sub=sub, trip_id=trip_id, **recover)
        await self.until(lambda: len(app.modes) > before or app.ended)
        return app

    async def until(self, condition: Any, within_s: float = WITHIN_S) -> Any:
        """The condition's value once it is true; looks after each message. Fails with what was heard.

        A condition about something that is not there (yet) does not hold.
        """

        def value_now() -> Any:
            with suppress(*NOT_THERE):
                return condition()

        async with self._news:
            try:
                async with asyncio.timeout(within_s):
                    while not (value := value_now()):
                        if self.closed is not None:
                            raise AssertionError(f"closed with {self.closed}")
                        await self._news.wait()
                    return value
            except TimeoutError:
                raise AssertionError(f"not within {within_s} s; heard last: {self.heard[-3:]}") from None

    async def told(self, type_: str, **fields: object) -> dict[str, Any]:
        """The first message of this type with these fields."""
        return await self.until(
            lambda: next(
                (
                    each
                    for each in self.heard
                    if each["type"] == type_ and all(each.get(name) == value for name, value in fields.items())
                ),
                None,
            )
        )

    async def until_closed(self, within_s: float = WITHIN_S) -> tuple[int, str]:
        async with asyncio.timeout(within_s):
            await asyncio.shield(self.reader)
        assert self.closed is not None
        return self.closed

    def stop_reading(self) -> None:
        """Like a phone in a tunnel: whatever comes stays in the network's buffers."""
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                message = json.loads(await self.socket.recv())
                if message["type"] in ("snapshot", "update"):
                    view = self.views.get(message["sub"])
                    if view is not None:
                        view.fold(message)
                trip = self.trips.get(message.get("sub"))
                if trip is not None and message["type"].startswith("trip_"):
                    trip.fold(message)
                self.heard.append(message)
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed:
            self.closed = (self.socket.close_code or 1006, self.socket.close_reason or "")
            async with self._news:
                self._news.notify_all()
