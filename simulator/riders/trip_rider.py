"""A rider's app that watches one trip over `ridestream.v1`, is cut off, and goes on where that was.

It does what docs/wire/websocket.md asks of a client: it reconnects with backoff and full jitter, resumes with the epoch
and offset of the last message, takes long silence for a dead connection, and stays away when it is told to. What it
shows is its view; mishaps on its own side (a slow network, a silent socket) are played as planned.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from infra.clock import WallClock
from push.protocol import DRAINING, SUBPROTOCOL
from simulator.riders.client_manners import (
    BACK_WITHIN_S,
    LONGEST_RECONNECT_S,
    RECONNECT_S,
    RECOVERS_S,
    SILENT_HEARTBEATS,
    SLOW_RECEIVE_BUFFER_BYTES,
    is_final,
)
from simulator.riders.faults import HALF_OPEN, RECONNECT, SLOW, Mishap
from simulator.riders.trip_view import SUB, News, TripView, decode_trip_message
from simulator.riders.wire import RiderGone, RiderWire, open_wire

wall_ms = WallClock().now_ms
CONNECT_WITHIN_S = 10.0
HEARTBEAT_MS = 5_000
#: After the end the app stays a little: nothing more may come.
STAYS_S = 1.5


class Word(msgspec.Struct):
    """A message that is not about the trip."""

    type: str
    code: str = ""
    heartbeat_ms: int = HEARTBEAT_MS
    reconnect_in_ms: int = 0


class LostRider(Exception):
    """It cannot come back; `args[0]` says why."""


_words = msgspec.json.Decoder(Word)
_ABOUT_THE_TRIP = b'{"type":"trip_'


class TripRider:
    """`run()` until the end of the trip has been shown, or until cancelled. Raises LostRider.

    `on_told(news, at_ms)` hears of each message of the trip once the view shows it, at epoch ms. `mishaps` are timed in
    ms since the run began, which `now_ms()` tells; those that were over before this trip began are passed over.
    """

    def __init__(
        self,
        url: str,
        bearer: Callable[[], str],
        view: TripView,
        random: Random,
        on_told: Callable[[News, int], None],
        mishaps: Sequence[Mishap] = (),
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._url, self._bearer, self.view, self._random, self._on_told = url, bearer, view, random, on_told
        self._mishaps, self._now_ms = deque(mishaps), now_ms
        self._buffer_bytes = SLOW_RECEIVE_BUFFER_BYTES if any(each.what == SLOW for each in mishaps) else None
        #: Connections, and those that ended, by close code or mishap.
        self.connections = 0
        self.cut: Counter[str] = Counter()
        self._heartbeat_ms, self._draining_ms = HEARTBEAT_MS, 0
        self._unknown = self._slow = False
        self._news = asyncio.Event()
        self._silent: list[RiderWire] = []
        self._failures = 0
        self._trying_since_s: float | None = None

    @property
    def connected(self) -> bool:
        """It is told the trip now."""
        return self.view.settled_since_ms is not None

    async def run(self) -> None:
        try:
            while True:
                if self._trying_since_s is None:
                    self._trying_since_s = time.monotonic()
                try:
                    away_s = await self._watch()
                except (RiderGone, OSError, TimeoutError) as end:
                    away_s = self._away_s(end)
                finally:
                    self.view.cut_off()
                if away_s is None:
                    return
                await asyncio.sleep(away_s)
        finally:
            for wire in self._silent:
                wire.abort()

    async def _watch(self) -> float | None:
        """One connection. Returns how long to stay away, in seconds; None when the trip is over. Raises RiderGone."""
        wire: RiderWire | None = None
        self._draining_ms, self._unknown, self._slow = 0, False, False
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                headers = {"Authorization": f"Bearer {self._bearer()}"}
                wire = await open_wire(self._url, [SUBPROTOCOL], headers, self._hear, self._buffer_bytes)
            self.connections += 1
            wire.ended.add_done_callback(lambda _: self._news.set())
            self._subscribe(wire)
            while not self.view.has_ended:
                away_s = await self._suffer(wire)
                if away_s is not None:
                    return away_s
                await self._wait(wire)
                if self._unknown:
                    self._ask_again(wire)
            await asyncio.wait([wire.ended], timeout=STAYS_S)
            await wire.close()
            return None
        finally:
            if wire is not None and wire not in self._silent:
                wire.abort()

    def _subscribe(self, wire: RiderWire) -> None:
        wanted: dict[str, object] = {"type": "subscribe", "channel": "trip", "sub": SUB, "trip_id": self.view.trip_id}
        if self.view.epoch:
            wanted["recover"] = {"epoch": self.view.epoch, "offset": self.view.offset}
        wire.send(msgspec.json.encode(wanted))

    def _ask_again(self, wire: RiderWire) -> None:
        """Ordered, and not yet where riders are served: the server waited for it before it said so."""
        self._unknown = False
        if self._trying_since_s is not None and time.monotonic() - self._trying_since_s > BACK_WITHIN_S:
            raise LostRider("unknown_trip: the trip was acknowledged, and is not shown")
        self.cut["unknown_trip"] += 1
        self._subscribe(wire)

    async def _wait(self, wire: RiderWire) -> None:
        """Return at the next message, or when the next mishap is due. Raises RiderGone at the end of the connection."""
        loop = asyncio.get_running_loop()
        dead_at_s = wire.heard_s + SILENT_HEARTBEATS * self._heartbeat_ms / 1_000
        left_s = dead_at_s - loop.time()
        if self._mishaps:
            left_s = min(left_s, (self._mishaps[0].at_ms - self._now_ms()) / 1_000)
        if left_s > 0 and not wire.ended.done() and not self._news.is_set():
            timer = loop.call_later(left_s, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()
        self._news.clear()
        if wire.ended.done():
            raise wire.ended.result()
        if loop.time() >= wire.heard_s + SILENT_HEARTBEATS * self._heartbeat_ms / 1_000:
            raise RiderGone(1006, "nothing heard")

    async def _suffer(self, wire: RiderWire) -> float | None:
        """Play what is due. Returns how long to stay away, in seconds, or None when the connection stands."""
        while self._mishaps and self._mishaps[0].at_ms <= self._now_ms():
            mishap = self._mishaps.popleft()
            left_s = (mishap.until_ms - self._now_ms()) / 1_000
            if left_s <= 0 or not self.connected:
                continue
            self.view.settled_since_ms = None
            self.cut[mishap.what] += 1
            if mishap.what == SLOW:
                await self._crawl(wire, mishap.bytes_per_s, left_s)
                continue
            if mishap.what == RECONNECT:
                wire.abort()
            else:
                assert mishap.what == HALF_OPEN
                wire.pace(0)
                self._silent.append(wire)
            return left_s
        return None

    async def _crawl(self, wire: RiderWire, bytes_per_s: float, for_s: float) -> None:
        """Read slowly for a while. The connection may end meanwhile, which is found afterwards."""
        self._slow = True
        wire.pace(bytes_per_s)
        await asyncio.wait([wire.ended], timeout=for_s)
        wire.pace(None)
        await asyncio.wait([wire.ended], timeout=RECOVERS_S)
        wire.heard_s = max(wire.heard_s, asyncio.get_running_loop().time() - 1)
        self._slow = False
        if not wire.ended.done() and self.view.trip is not None:
            self.view.settled_since_ms = wall_ms()

    def _hear(self, text: bytes) -> None:
        self._news.set()
        try:
            if not text.startswith(_ABOUT_THE_TRIP):
                self._heed(_words.decode(text))
                return
            message = decode_trip_message(text)
        except msgspec.DecodeError as error:
            self.view.not_understood(str(error), wall_ms())
            return
        at_ms = wall_ms()
        news = self.view.take(message, at_ms)
        self._trying_since_s, self._failures = None, 0
        if self._slow:
            self.view.settled_since_ms = None
        self._on_told(news, at_ms)

    def _heed(self, word: Word) -> None:
        match word.type:
            case "welcome":
                self._heartbeat_ms = word.heartbeat_ms
            case "draining":
                self._draining_ms = word.reconnect_in_ms
            case "error" if word.code == "unknown_trip":
                self._unknown = True
            case "error" | "dropped":
                self.view.not_understood(f"told {word.type} {word.code}".rstrip(), wall_ms())

    def _away_s(self, end: Exception) -> float:
        """How long to wait before the next try. Raises LostRider."""
        gone = end if isinstance(end, RiderGone) else RiderGone(0, str(end) or type(end).__name__)
        self.cut[str(gone.code) if gone.code else type(end).__name__] += 1
        if is_final(gone.code):
            raise LostRider(str(gone))
        self._failures += 1
        if self._trying_since_s is not None and time.monotonic() - self._trying_since_s > BACK_WITHIN_S:
            raise LostRider(f"not back after {BACK_WITHIN_S:.0f} s: {gone}")
        if gone.code == DRAINING and self._draining_ms:
            return self._draining_ms / 1_000
        most_s = min(LONGEST_RECONNECT_S, RECONNECT_S * 2 ** (self._failures - 1))
        return gone.retry_after_s + self._random.uniform(0.0, most_s)
