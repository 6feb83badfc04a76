"""One person who watches the map: stands about, walks on, suffers what is planned, and comes back as the wire asks.

What the screen shows is the seat; nobody may judge it while `settled_since_ms` is None, which is while the rider
connects, moves its circle, or something is wrong on its own side.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from websockets.exceptions import InvalidURI

from infra.clock import WallClock
from push.protocol import DRAINING
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
from simulator.riders.inbox import Inbox
from simulator.riders.reading import Reader
from simulator.riders.rider import Refused, Rider, RiderGone
from simulator.riders.seat import Seat
from simulator.riders.view import Broken, Faults, Move, Snapshot, Update

wall_ms = WallClock().now_ms
SUB = "near"


@dataclass(frozen=True, slots=True)
class Habits:
    """What every rider of a crowd asks for, and how long each stands before it walks on (shortest, longest)."""

    radius_m: float = 1_000.0
    limit: int | None = None
    walk_after_s: tuple[float, float] = (15.0, 45.0)


class Stroll:
    """Where a rider stands when. Drawn by its own `random` alone, whatever the network does."""

    def __init__(
        self, places: Sequence[tuple[float, float]], walk_after_s: tuple[float, float], random: Random
    ) -> None:
        self._places, self._walk_after_s, self._random = places, walk_after_s, random
        self.here = random.choice(places)
        self.next_s = random.uniform(*walk_after_s)

    def at(self, now_s: float) -> tuple[float, float]:
        """The place at `now_s` since the run began, which never becomes less."""
        while self.next_s <= now_s:
            self.here = self._random.choice(self._places)
            self.next_s += self._random.uniform(*self._walk_after_s)
        return self.here


class Company(Protocol):
    """The crowd, as one of it knows it."""

    #: For all of it.
    reader: Reader
    inbox: Inbox

    def now_s(self) -> float:
        """Seconds since the run began."""

    def shown(
        self, seat: Seat, message: Snapshot | Update, moved: list[Move], received_s: float, timed: bool
    ) -> None: ...

    def broken(self, seat: Seat, broken: Broken) -> None: ...

    def lost_one(self, seat: Seat, why: str) -> None: ...

    def cut_off(self, why: str) -> None: ...


class MapRider:
    """`live()` until cancelled, or until told not to come back. `bearer()` gives its token."""

    def __init__(
        self,
        url: str,
        bearer: Callable[[], str],
        seat: Seat,
        habits: Habits,
        stroll: Stroll,
        mishaps: Sequence[Mishap],
        backoff: Random,
        company: Company,
    ) -> None:
        self._url, self._bearer, self.seat, self._habits, self._stroll = url, bearer, seat, habits, stroll
        self._mishaps, self._backoff, self._company = deque(mishaps), backoff, company
        self._small_buffer = SLOW_RECEIVE_BUFFER_BYTES if any(each.what == SLOW for each in mishaps) else None
        self._rider: Rider | None = None
        #: Connections that fell silent, which the server must find out by itself.
        self._silent: list[Rider] = []
        self._failures = 0
        self._arriving = self._slow = self._lost = False
        #: Subscribed, and the connection stands.
        self.seated = False
        #: Since when it has been trying to connect, and what came of it last; None while it need not.
        self.trying_since_s: float | None = None
        self.trouble = ""

    async def live(self, arrive_after_s: float) -> None:
        await asyncio.sleep(arrive_after_s)
        try:
            while True:
                rider = Rider(
                    self._url,
                    self._bearer(),
                    on_shown=self._shown,
                    faults=Faults(tell=lambda broken: self._company.broken(self.seat, broken)),
                    receive_buffer_bytes=self._small_buffer,
                    reader=self._company.reader,
                    inbox=self._company.inbox,
                )
                if self.trying_since_s is None:
                    self.trying_since_s = time.monotonic()
                try:
                    away_s = await self._watch(rider)
                except (RiderGone, Refused, InvalidURI, OSError, TimeoutError) as end:
                    if _is_final(end):
                        self.give_up(str(end))
                        return
                    away_s = self._come_back_after_s(rider, end)
                finally:
                    self.seated, self.seat.settled_since_ms = False, None
                    if rider not in self._silent:
                        await rider.close()
                await asyncio.sleep(away_s)
        finally:
            for silent in self._silent:
                silent.drop()

    async def _watch(self, rider: Rider) -> float:
        """One connection, until it ends (RiderGone) or a mishap does it; returns how long to stay away, in seconds."""
        self._rider, self._arriving = rider, True
        await rider.connect()
        here = self.seat.lat, self.seat.lon = self._stroll.at(self._company.now_s())
        view = await rider.subscribe(SUB, *here, radius_m=self._habits.radius_m, limit=self._habits.limit)
        self.seat.limit = view.limit or self.seat.limit
        self.seated, self.trying_since_s, self.trouble, self._failures, self._lost = True, None, "", 0, False
        heartbeat_ms = rider.welcome.heartbeat_ms if rider.welcome is not None else None
        dead_after_s = SILENT_HEARTBEATS * (heartbeat_ms or 5_000) / 1_000
        self._skip_missed()
        while True:
            now_s = self._company.now_s()
            due_s = self._mishaps[0].at_ms / 1_000 if self._mishaps else now_s + dead_after_s
            if due_s <= now_s:
                away_s = await self._suffer(rider, self._mishaps[0])
                if away_s is not None:
                    return away_s
                continue
            if rider.silent_s >= dead_after_s:
                raise RiderGone(1006, f"nothing heard for {dead_after_s:.0f} s")
            if self._stroll.at(now_s) != here:
                here = self._stroll.here
                await self._walk(rider, here)
                continue
            await _stay(rider, min(due_s, self._stroll.next_s) - now_s, dead_after_s - rider.silent_s)

    async def _walk(self, rider: Rider, place: tuple[float, float]) -> None:
        self.seat.settled_since_ms = None
        self.seat.lat, self.seat.lon = place
        await rider.recenter(SUB, *place)
        self.seat.settled_since_ms = wall_ms()

    def _skip_missed(self) -> None:
        """What fell due while the rider was away anyhow did not happen to it; slow it may still be."""
        now_ms = self._company.now_s() * 1_000
        while self._mishaps and self._mishaps[0].at_ms <= now_ms:
            mishap = self._mishaps[0]
            if mishap.what == SLOW and mishap.until_ms > now_ms:
                return
            self._mishaps.popleft()

    async def _suffer(self, rider: Rider, mishap: Mishap) -> float | None:
        """A mishap is due. Returns how long to stay away, in seconds, or None when the connection stands."""
        self.seat.settled_since_ms = None
        left_s = max(0.0, mishap.until_ms / 1_000 - self._company.now_s())
        if mishap.what in (RECONNECT, HALF_OPEN):
            self._mishaps.popleft()
            self._company.cut_off(mishap.what)
            self.seated = False
            if mishap.what == RECONNECT:
                rider.drop()
                return left_s
            rider.stop_reading()
            self._silent.append(rider)
            return left_s
        self._slow = True
        rider.read_slowly(mishap.bytes_per_s)
        await _stay(rider, left_s)
        self._mishaps.popleft()
        rider.resume_reading()
        # Its answer comes after all that was on its way.
        await rider.ping()
        await _stay(rider, RECOVERS_S)
        self._slow, self.seat.settled_since_ms = False, wall_ms()
        return None

    def _shown(self, message: Snapshot | Update, moved: list[Move], received_s: float) -> None:
        assert self._rider is not None
        if isinstance(message, Snapshot):
            self.seat.cars = self._rider.views[SUB].cars
            if self._arriving:
                self._arriving = self._slow = False
                self.seat.settled_since_ms = wall_ms()
        self._company.shown(self.seat, message, moved, received_s, timed=not self._slow)

    def _come_back_after_s(self, rider: Rider, end: Exception) -> float:
        if rider.welcome is None:
            self._failures += 1
        self.trouble = str(end) or type(end).__name__
        gone = end if isinstance(end, RiderGone) else RiderGone(0, self.trouble)
        self._company.cut_off(str(gone.code) if gone.code else type(end).__name__)
        if self.trying_since_s is not None and time.monotonic() - self.trying_since_s > BACK_WITHIN_S:
            self.give_up(f"not back after {BACK_WITHIN_S:.0f} s: {self.trouble}")
        if gone.code == DRAINING:
            for message in reversed(rider.heard):
                if message.type == "draining" and message.reconnect_in_ms is not None:
                    return message.reconnect_in_ms / 1_000
        most_s = min(LONGEST_RECONNECT_S, RECONNECT_S * 2**self._failures)
        return gone.retry_after_s + self._backoff.uniform(0.0, most_s)

    def give_up(self, why: str) -> None:
        """Count it once for each time it was away."""
        if not self._lost:
            self._lost = True
            self._company.lost_one(self.seat, why)


async def _stay(rider: Rider, *within_s: float) -> None:
    """Return after the shortest of these times. Raises RiderGone when the connection ends first."""
    try:
        gone = await rider.until_gone(max(0.001, min(within_s)))
    except TimeoutError:
        return
    raise gone


def _is_final(end: Exception) -> bool:
    """An HTTP refusal other than "busy" is as final as a code from 4500, and so is an answer `error`."""
    if isinstance(end, RiderGone):
        return is_final(end.code)
    return isinstance(end, Refused | InvalidURI)
