"""A rider's app: one WebSocket that speaks `ridestream.v1`, its subscriptions, and what it saw go wrong.

>>> async with Rider(url, token) as rider:                      # doctest: +SKIP
...     view = await rider.subscribe("map", lat, lon, radius_m=1_000)
...     await rider.until(lambda: "driver-1" in view.cars, within_s=5)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Literal, Self

import msgspec

from push.protocol import BEARER_SUBPROTOCOL_PREFIX, SUBPROTOCOL
from simulator.riders.inbox import Inbox
from simulator.riders.reading import Reader
from simulator.riders.view import Faults, Move, Snapshot, Update, View
from simulator.riders.wire import RiderGone as RiderGone
from simulator.riders.wire import RiderWire, open_wire

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
    limit: int | None = None
    limits: dict[str, float] | None = None


class Refused(Exception):
    """The server answered a request with `error`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


_others = msgspec.json.Decoder(Other)


class Rider:
    """One connection. Times of receipt are monotonic, in seconds.

    `on_shown(message, moved, received_s)` hears of each snapshot and update once its view shows it, with the moves in
    it. `receive_buffer_bytes` is for riders who will read slowly: what waits for them in the kernel (see
    `wire.open_wire`). `reader` may be shared, and so may `inbox`; with one, a view shows a message a moment after it
    was received, and at the latest when the connection ends.
    """

    def __init__(
        self,
        url: str,
        token: str,
        auth: Literal["header", "message", "subprotocol"] = "header",
        on_shown: Callable[[Snapshot | Update, list[Move], float], None] | None = None,
        faults: Faults | None = None,
        receive_buffer_bytes: int | None = None,
        reader: Reader | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        self._url, self._token, self._auth = url, token, auth
        self._on_shown, self._receive_buffer_bytes = on_shown, receive_buffer_bytes
        self._read = (Reader() if reader is None else reader).read
        self.views: dict[str, View] = {}
        self.faults = Faults() if faults is None else faults
        self.welcome: Other | None = None
        #: Every message that was not about positions, heartbeats aside, and the number of heartbeats.
        self.heard: list[Other] = []
        self.heartbeats = 0
        self._inbox, self._unread = inbox, deque[tuple[bytes, float]]()
        self._ids = count(1)
        self._news, self._waiting = asyncio.Event(), 0
        self._wire: RiderWire | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the connection and authenticate; returns after `welcome`. Raises RiderGone, OSError, TimeoutError."""
        protocols, headers = [SUBPROTOCOL], {}
        if self._auth == "subprotocol":
            protocols.append(BEARER_SUBPROTOCOL_PREFIX + self._token)
        if self._auth == "header":
            headers["Authorization"] = f"Bearer {self._token}"
        async with asyncio.timeout(ANSWER_WITHIN_S):
            self._wire = await open_wire(self._url, protocols, headers, self._hear, self._receive_buffer_bytes)
        self._wire.ended.add_done_callback(lambda _: self._end())
        if self._wire.subprotocol != SUBPROTOCOL:
            self.faults.note("the server did not choose the subprotocol")
        if self._auth == "message":
            await self._send({"type": "auth", "token": self._token})
        await self.until(lambda: self.welcome is not None, ANSWER_WITHIN_S)

    async def close(self) -> None:
        """Leave."""
        if self._wire is not None:
            await self._wire.close()

    def drop(self) -> None:
        """Be gone without a word: an app that is killed."""
        self._unread.clear()
        if self._wire is not None:
            self._wire.abort()

    @property
    def gone(self) -> RiderGone | None:
        """How the connection ended; None before."""
        return self._wire.ended.result() if self._wire is not None and self._wire.ended.done() else None

    @property
    def silent_s(self) -> float:
        """How long nothing at all was heard."""
        return 0.0 if self._wire is None else asyncio.get_running_loop().time() - self._wire.heard_s

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
        answer = await self._answered(request, lambda: view.seq > 0)
        view.limit = answer.limit
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

    def stop_reading(self) -> None:
        """Take nothing more from the socket, not even pings: a rider in a tunnel."""
        self.read_slowly(0)

    def resume_reading(self) -> None:
        assert self._wire is not None
        self._wire.pace(None)

    def read_slowly(self, bytes_per_s: float) -> None:
        """Take no more than this from the socket; what the kernels hold for the rider comes on top."""
        assert self._wire is not None
        self._wire.pace(bytes_per_s)

    async def until(self, condition: Callable[[], bool], within_s: float) -> None:
        """Wait until `condition` holds, looking after every message. Raises RiderGone, TimeoutError."""
        async with asyncio.timeout(within_s):
            while not condition():
                if self.gone is not None:
                    raise self.gone
                self._news.clear()
                self._waiting += 1
                try:
                    await self._news.wait()
                finally:
                    self._waiting -= 1

    async def until_gone(self, within_s: float) -> RiderGone:
        """Wait for the connection to end, and say how. Raises TimeoutError."""
        assert self._wire is not None
        await asyncio.wait([self._wire.ended], timeout=within_s)
        if self.gone is None:
            raise TimeoutError
        return self.gone

    async def _ask(self, type_: str, fields: dict[str, object]) -> str:
        request = str(next(self._ids))
        await self._send({"type": type_, "id": request, **{k: v for k, v in fields.items() if v is not None}})
        return request

    async def _answered(self, request: str, also: Callable[[], bool] = lambda: True) -> Other:
        def answer() -> Other | None:
            return next((message for message in reversed(self.heard) if message.id == request), None)

        def refused() -> bool:
            message = answer()
            return message is not None and message.type == "error"

        await self.until(lambda: refused() or (answer() is not None and also()), ANSWER_WITHIN_S)
        message = answer()
        assert message is not None
        if message.type == "error":
            raise Refused(message.code or "", message.detail or "")
        return message

    async def _send(self, message: dict[str, object]) -> None:
        assert self._wire is not None
        self._wire.send(msgspec.json.encode(message))

    def look(self) -> None:
        """See the oldest message about positions that waits in the inbox, if there is one."""
        if self._unread:
            if self._waiting:
                self._news.set()
            self._see(*self._unread.popleft())

    def _end(self) -> None:
        self._news.set()
        while self._unread:
            self.look()

    def _hear(self, text: bytes) -> None:
        received_s = time.monotonic()
        if self._waiting:
            self._news.set()
        # The two types that come often and are large start with their type, as all of the server's messages do.
        if text.startswith((b'{"type":"update"', b'{"type":"snapshot"')):
            if self._inbox is None:
                self._see(text, received_s)
            else:
                self._unread.append((text, received_s))
                self._inbox.put(self)
            return
        try:
            message = _others.decode(text)
        except msgspec.DecodeError as error:
            self._note(error)
            return
        if message.type == "heartbeat":
            self.heartbeats += 1
            return
        if message.type == "welcome":
            self.welcome = message
        self.heard.append(message)

    def _note(self, error: msgspec.DecodeError) -> None:
        self.faults.note(f"a message is not ridestream.v1: {error}")

    def _see(self, text: bytes, received_s: float) -> None:
        try:
            message = self._read(text)
        except msgspec.DecodeError as error:
            self._note(error)
            return
        view = self.views.get(message.sub)
        if view is None:
            return
        moved: list[Move] = []
        if isinstance(message, Snapshot):
            view.show(message)
        else:
            moved = view.change(message)
        if self._on_shown is not None:
            self._on_shown(message, moved, received_s)
