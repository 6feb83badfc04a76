"""Thousands of riders who watch the map in one process: their seats, what they are told, and how long that took."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from infra.clock import WallClock
from simulator.counts.findings import Finding, Kind
from simulator.counts.latency import Latencies
from simulator.posting.departures import Departures
from simulator.riders.faults import Mishap
from simulator.riders.inbox import Inbox
from simulator.riders.map_rider import Habits, MapRider, Stroll
from simulator.riders.reading import Reader
from simulator.riders.seat import Seat
from simulator.riders.view import Broken, Faults, Move, SeenCar, Snapshot, Update

wall_ms = WallClock().now_ms

#: Riders come in one after the other at first; how all at once goes is what the fault `reconnect` is for.
ARRIVALS_PER_S = 500.0
#: Until the server says which limit applies, its own most (docs/wire/websocket.md, `max_cars`).
MOST_CARS = 500
#: Moves are timed together: one at a time they were a seventh of all that a rider costs. Runs begin at a multiple of
#: this, so that what is counted together also belongs into one second of a report.
COUNTED_EVERY_MS = 100
#: Who has been trying for so long when the run ends could not come back; who just began might have.
LOST_AFTER_S = 10.0


class Crowd:
    """`riders` riders at `places` (lat, lon), chosen by `random`. `bearer(n)` gives rider n's token.

    `mishaps` are those of each rider (`rider_faults.plan`). Whoever wants to hear more:
    - `on_told(seat, car, server_time_ms, at_ms)`: each car of each snapshot, enter and move, once the seat shows it;
    - `on_latency(counted, at_ms)`: fixes reached riders so long after they were due to set out, as moves or passed over
      by one (simulator/posting/departures.py): those of one tenth of a second of the wall clock, from `at_ms` on,
      counted in ms;
    - `on_broken(seat, broken, at_ms)`: a promise of the wire was broken;
    - `on_lost(seat, why, at_ms)`: a rider could not come back, or was told not to.
    `at_ms` is epoch time of receipt, in milliseconds.
    """

    def __init__(
        self,
        url: str,
        bearer: Callable[[int], str],
        riders: int,
        places: Sequence[tuple[float, float]],
        random: Random,
        departures: Departures,
        habits: Habits = Habits(),  # noqa: B008 - frozen
        mishaps: Sequence[Sequence[Mishap]] = (),
        on_told: Callable[[Seat, SeenCar, int, int], None] | None = None,
        on_latency: Callable[[Latencies, int], None] | None = None,
        on_broken: Callable[[Seat, Broken, int], None] | None = None,
        on_lost: Callable[[Seat, str, int], None] | None = None,
    ) -> None:
        self._departures, self.reader, self.inbox = departures, Reader(), Inbox()
        self.on_told, self._on_latency, self._on_broken, self._on_lost = on_told, on_latency, on_broken, on_lost
        self._latency_ms = Latencies()
        self._slowest: Finding | None = None
        self._slowest_ms = 0.0
        #: Moves that are not counted yet: who saw them, what, when by the monotonic clock, and when by the wall's.
        self._moves: list[tuple[Seat, list[Move], float, int]] = []
        self._count_at_ms = 0
        self.faults = Faults()
        self.updates = self.snapshots = self.cars_told = 0
        #: Connections that ended, by close code or mishap.
        self.cut: Counter[str] = Counter()
        #: Riders who could not connect, or were told not to come back, and why.
        self.lost: list[str] = []
        self._began_s: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._riders: list[MapRider] = []
        for number in range(riders):
            # Each rider has generators of its own: where they stand must not depend on the network's timing.
            stroll_random, backoff = (Random(random.getrandbits(64)) for _ in range(2))  # noqa: S311 - seeded
            stroll = Stroll(places, habits.walk_after_s, stroll_random)
            seat = Seat(f"map-{number}", *stroll.here, habits.radius_m, habits.limit or MOST_CARS, {}, None)
            suffers = mishaps[number] if number < len(mishaps) else ()
            token = _of(bearer, number)
            self._riders.append(MapRider(url, token, seat, habits, stroll, suffers, backoff, self))

    def start(self, begin: bool = True) -> None:
        """Let the riders come. Nobody walks or suffers before the run begins: now, or when `begin` is called."""
        if begin:
            self.begin()
        self._tasks = [
            asyncio.create_task(rider.live(number / ARRIVALS_PER_S)) for number, rider in enumerate(self._riders)
        ]

    def begin(self) -> None:
        """From now on count the times of walks and mishaps."""
        self._began_s = time.monotonic()

    async def seated(self, within_s: float) -> bool:
        """Wait until every rider sits, or is lost. Returns whether all do, `within_s`."""
        until_s = time.monotonic() + within_s
        while any(not rider.seated for rider in self._riders):
            if time.monotonic() >= until_s or len(self.lost) + self.connected >= len(self._riders):
                return False
            await asyncio.sleep(0.05)
        return True

    async def stop(self) -> None:
        now_s = time.monotonic()
        for rider in self._riders:
            since_s = rider.trying_since_s
            if since_s is not None and now_s - since_s >= LOST_AFTER_S:
                rider.give_up(f"not connected for the last {now_s - since_s:.0f} s: {rider.trouble}")
        for task in self._tasks:
            task.cancel()
        for end in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(end, Exception):
                self.lost.append(f"a rider failed: {end!r}")
        self._tasks = []
        self._count()

    def summary(self) -> dict[str, object]:
        return {
            "riders": len(self._riders),
            "snapshots": self.snapshots,
            "updates": self.updates,
            "reconnects": self.reconnects,
            "cut_off_by": dict(self.cut),
            "lost": self.lost,
            "faults": self.faults.count,
            "faults_described": self.faults.described or [],
            "latency_ms": self.latency_ms.summary(),
        }

    @property
    def latency_ms(self) -> Latencies:
        """From the moment that a fix was due to the rider who saw the car move to it or beyond."""
        self._count()
        return self._latency_ms

    @property
    def slowest(self) -> Finding | None:
        """The move that took longest, counted from when the first fix it stands for was due."""
        self._count()
        return self._slowest

    @property
    def seats(self) -> list[Seat]:
        return [rider.seat for rider in self._riders]

    @property
    def connected(self) -> int:
        return sum(rider.seated for rider in self._riders)

    @property
    def away(self) -> str:
        """How many try to come back, of how many, and why one of them has to; "" while nobody does."""
        trying = [rider for rider in self._riders if rider.trying_since_s is not None]
        if not trying:
            return ""
        why = next((f" ({rider.trouble})" for rider in trying if rider.trouble), "")
        return f"{len(trying):,} of {len(self._riders):,} riders{why}"

    @property
    def reconnects(self) -> int:
        return self.cut.total()

    @property
    def clean(self) -> bool:
        """Nobody was lost and no promise of the wire was broken."""
        return not self.lost and self.faults.count == 0

    def now_s(self) -> float:
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    def shown(self, seat: Seat, message: Snapshot | Update, moved: list[Move], received_s: float, timed: bool) -> None:
        """A rider's seat shows what `message` told. `timed`: how long it took is the system's doing."""
        at_ms = wall_ms()
        try:
            if isinstance(message, Snapshot):
                self.snapshots += 1
                self._tell(seat, message.cars, message.server_time_ms, at_ms)
                return
            self.updates += 1
            if message.enter:
                self._tell(seat, message.enter, message.server_time_ms, at_ms)
            self._tell(seat, message.move, message.server_time_ms, at_ms)
            if timed and moved:
                if at_ms >= self._count_at_ms:
                    self._count()
                    self._count_at_ms = (at_ms // COUNTED_EVERY_MS + 1) * COUNTED_EVERY_MS
                self._moves.append((seat, moved, received_s, at_ms))
        except Exception as error:
            # The loop would close the connection and go on: a run that cannot be judged must not pass.
            self.lost.append(f"what a rider saw could not be judged: {error!r}")
            raise

    def broken(self, seat: Seat, broken: Broken) -> None:
        self.faults.note(broken.what)
        if self._on_broken is not None:
            self._on_broken(seat, broken, wall_ms())

    def lost_one(self, seat: Seat, why: str) -> None:
        self.lost.append(why)
        if self._on_lost is not None:
            self._on_lost(seat, why, wall_ms())

    def cut_off(self, why: str) -> None:
        self.cut[why] += 1

    def _tell(self, seat: Seat, cars: list[SeenCar], server_time_ms: int, at_ms: int) -> None:
        self.cars_told += len(cars)
        on_told = self.on_told
        if on_told is not None:
            for car in cars:
                on_told(seat, car, server_time_ms, at_ms)

    def _count(self) -> None:
        """Time the moves that were seen since the last time, and with each the fixes that it passed over."""
        moves, self._moves = self._moves, []
        took_all_ms, took_of = list[float](), self._departures.took_ms
        for seat, moved, received_s, at_ms in moves:
            for car, before_ms in moved:
                for took_ms in took_of(car.driver_id, before_ms, car.fix_time_ms, received_s):
                    took_all_ms.append(took_ms)
                    if took_ms > self._slowest_ms:
                        self._slowest_ms, self._slowest = took_ms, _slow(seat, car, took_ms, at_ms)
        if took_all_ms:
            counted = Latencies()
            counted.add_all(took_all_ms)
            self._latency_ms.merge(counted)
            if self._on_latency is not None:
                self._on_latency(counted, moves[0][-1])


def _slow(seat: Seat, car: SeenCar, took_ms: float, at_ms: int) -> Finding:
    why = "took longest from due until it, or a newer one, was shown"
    evidence = {"why": why, "took_ms": took_ms, "fix_time_ms": car.fix_time_ms}
    return Finding(Kind.LATENCY, at_ms, seat.rider, car.driver_id, evidence)


def _of(bearer: Callable[[int], str], number: int) -> Callable[[], str]:
    return lambda: bearer(number)
