"""A rider's app: one WebSocket that speaks `ridestream.v1`, its subscriptions, and what it saw go wrong.

>>> async with Rider(url, token) as rider:                      # doctest: +SKIP
...     view = await rider.subscribe("map", lat, lon, radius_m=1_000)
...     await rider.until(lambda: "driver-1" in view.cars, within_s=5)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Literal, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from push.protocol import BEARER_SUBPROTOCOL_PREFIX, SUBPROTOCOL
from simulator.view import Faults, SeenCar, Snapshot, Update, View

#: A snapshot of 500 cars is ~100 KB; a server that sends more than this at once is wrong.
MAX_MESSAGE_BYTES = 4 << 20
ANSWER_WITHIN_S = 10.0


class Other(msgspec.Struct):
    """Every message that is not about positions: `welcome`, `subscribed`, `error`, `heartbeat`, `draining`, ..."""

    type: str
    id: str | None = None
    sub: str | None = None
    code: str | None = None
    detail: str | None = None
    session: str | None = None
    server_time_ms: int | None = None
    heartbeat_ms: int | None = None
    stale_after_ms: int | None = None
    gone_after_ms: int | None = None
    reconnect_in_ms: int | None = None
    limits: dict[str, float] | None = None


class RiderGone(Exception):
    """The connection ended, or was refused. `code` is the WebSocket close code, or the HTTP status of a refusal."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"connection ended with {code} {reason}".rstrip())
        self.code, self.reason = code, reason


class Refused(Exception):
    """The server answered a request with `error`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


_positions = msgspec.json.Decoder(Snapshot | Update)
_others = msgspec.json.Decoder(Other)


class Rider:
    """One connection. `on_move(car, received_s)` hears of each car that moved, with the monotonic time it was told."""

    def __init__(
        self,
        url: str,
        token: str,
        auth: Literal["header", "message", "subprotocol"] = "header",
        on_move: Callable[[SeenCar, float], None] | None = None,
    ) -> None:
        self._url, self._token, self._auth, self._on_move = url, token, auth, on_move
        self.views: dict[str, View] = {}
        self.faults = Faults()
        self.welcome: Other | None = None
        #: Every message that was not about positions, heartbeats aside, and the number of heartbeats.
        self.heard: list[Other] = []
        self.heartbeats = 0
        self.gone: RiderGone | None = None
        self._ids = count(1)
        self._news = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the connection and authenticate; returns after `welcome`. Raises RiderGone, OSError, TimeoutError."""
        protocols = [Subprotocol(SUBPROTOCOL)]
        if self._auth == "subprotocol":
            protocols.append(Subprotocol(BEARER_SUBPROTOCOL_PREFIX + self._token))
        try:
            self._socket = await connect(
                self._url,
                subprotocols=protocols,
                additional_headers={"Authorization": f"Bearer {self._token}"} if self._auth == "header" else None,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=ANSWER_WITHIN_S,
                close_timeout=2,
                proxy=None,
            )
        except InvalidHandshake as refusal:
            status = getattr(getattr(refusal, "response", None), "status_code", 0)
            raise RiderGone(status, "handshake refused") from None
        if self._socket.subprotocol != SUBPROTOCOL:
            self.faults.note("the server did not choose the subprotocol")
        self._reader = asyncio.create_task(self._read(self._socket))
        if self._auth == "message":
            await self._send({"type": "auth", "token": self._token})
        await self.until(lambda: self.welcome is not None, ANSWER_WITHIN_S)

    async def close(self) -> None:
        """Leave."""
        self.resume_reading()
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def subscribe(
        self,
        sub: str,
        lat: float,
        lon: float,
        radius_m: float | None = None,
        rings: int | None = None,
        limit: int | None = None,
        vehicle_types: list[str] | None = None,
    ) -> View:
        """Watch a place; returns after the snapshot. Raises Refused, RiderGone, TimeoutError."""
        view = self.views[sub] = View(sub, self.faults)
        request = await self._ask(
            "subscribe",
            {"sub": sub, "lat": lat, "lon": lon, "radius_m": radius_m, "rings": rings}
            | {"limit": limit, "vehicle_types": vehicle_types},
        )
        await self._answered(request, lambda: view.seq > 0)
        return view

    async def recenter(
        self, sub: str, lat: float, lon: float, radius_m: float | None = None, rings: int | None = None
    ) -> None:
        """Move a subscription; returns once the server said so. Raises Refused, RiderGone, TimeoutError."""
        fields = {"sub": sub, "lat": lat, "lon": lon, "radius_m": radius_m, "rings": rings}
        await self._answered(await self._ask("recenter", fields))

    async def unsubscribe(self, sub: str) -> None:
        """End a subscription; what is on its way for it is ignored. Raises Refused, RiderGone, TimeoutError."""
        await self._answered(await self._ask("unsubscribe", {"sub": sub}))
        self.views.pop(sub, None)

    async def ping(self) -> float:
        """Ask for a `pong`; returns how long it took, in ms. Raises RiderGone, TimeoutError."""
        started_s = time.monotonic()
        await self._answered(await self._ask("ping", {}))
        return (time.monotonic() - started_s) * 1_000

    async def send_raw(self, text: str) -> None:
        """Send anything at all, for tests of what the server refuses."""
        assert self._socket is not None
        await self._socket.send(text)

    def stop_reading(self) -> None:
        """Take nothing more from the socket after the next message: a rider in a tunnel."""
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    async def until(self, condition: Callable[[], bool], within_s: float) -> None:
        """Wait until `condition` holds, looking after every message. Raises RiderGone, TimeoutError."""
        async with asyncio.timeout(within_s):
            while not condition():
                if self.gone is not None:
                    raise self.gone
                self._news.clear()
                await self._news.wait()

    async def until_gone(self, within_s: float) -> RiderGone:
        """Wait for the connection to end, and say how. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while self.gone is None:
                self._news.clear()
                await self._news.wait()
        return self.gone

    async def _ask(self, type_: str, fields: dict[str, object]) -> str:
        request = str(next(self._ids))
        await self._send({"type": type_, "id": request, **{k: v for k, v in fields.items() if v is not None}})
        return request

    async def _answered(self, request: str, also: Callable[[], bool] = lambda: True) -> None:
        def answer() -> Other | None:
            return next((message for message in reversed(self.heard) if message.id == request), None)

        def refused() -> bool:
            message = answer()
            return message is not None and message.type == "error"

        await self.until(lambda: refused() or (answer() is not None and also()), ANSWER_WITHIN_S)
        message = answer()
        if message is not None and message.type == "error":
            raise Refused(message.code or "", message.detail or "")

    async def _send(self, message: dict[str, object]) -> None:
        assert self._socket is not None
        try:
            await self._socket.send(msgspec.json.encode(message).decode())
        except ConnectionClosed:
            raise await self.until_gone(ANSWER_WITHIN_S) from None

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._reading.wait()
                self._hear(await socket.recv(decode=False))
                self._news.set()
        except ConnectionClosed:
            self.gone = RiderGone(socket.close_code or 1006, socket.close_reason or "")
            self._news.set()

    def _hear(self, text: bytes) -> None:
        received_s = time.monotonic()
        try:
            # The two types that come often and are large start with their type, as all of the server's messages do.
            if text.startswith((b'{"type":"update"', b'{"type":"snapshot"')):
                self._see(_positions.decode(text), received_s)
                return
            message = _others.decode(text)
        except msgspec.DecodeError as error:
            self.faults.note(f"a message is not ridestream.v1: {error}")
            return
        if message.type == "heartbeat":
            self.heartbeats += 1
            return
        if message.type == "welcome":
            self.welcome = message
        self.heard.append(message)

    def _see(self, message: Snapshot | Update, received_s: float) -> None:
        view = self.views.get(message.sub)
        if view is None:
            return
        if isinstance(message, Snapshot):
            view.show(message)
        else:
            for car in view.change(message):
                if self._on_move is not None:
                    self._on_move(car, received_s)
