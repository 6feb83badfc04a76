"""Run dispatch's errands in the background: tell the system what happens to trips, seat a rider in each, settle up.

Each trip has a task of its own, which says its states in their order, however long each takes, while its rider watches
from the making of it to the end. When it is over and late fixes have had time to come, the trip is read back from
ingest and push, and the oracle judges it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence
from random import Random
from types import TracebackType
from typing import Self, TypeVar

from infra.clock import WallClock
from simulator.dispatch.rides import ENDED, ENROUTE_TO_PICKUP, NEW, Place, Ride
from simulator.dispatch.trip_answers import Nearby, Refused, Unreadable
from simulator.dispatch.trip_desk import MOST_CARS, TripDesk
from simulator.oracle.nearby_answers import Asked
from simulator.oracle.trips import TripOracle
from simulator.riders.faults import Mishap
from simulator.riders.trip_rider import LostRider, TripRider
from simulator.riders.trip_view import News, TripView

wall_ms = WallClock().now_ms

#: The cars nearby are of use until dispatch decides (simulator/dispatch/dispatch.py, CONFIRM_MS).
NEARBY_WITHIN_S = 2.0
#: From the end of a trip to the reading of its track: a phone in a short tunnel has sent its fixes by then.
TRACK_AFTER_S = 30.0
#: From the last acknowledged fix to the reading of a track at the end of the run, as TripPromises.settle_ms.
SETTLE_S = 3.0
#: From the acknowledged end of a trip to a rider who knows it; a rider who was cut off needs to come back.
SEES_THE_END_S = 40.0
#: A read that is not answered is tried so often, so far apart.
READ_TRIES, READ_AGAIN_S = 5, 1.0

_T = TypeVar("_T")


class _Trip:
    """One trip's errands. `to_say` are the states that were not said yet."""

    def __init__(self, ride: Ride, view: TripView) -> None:
        self.ride, self.view = ride, view
        self.to_say: deque[str] = deque()
        self.news = asyncio.Event()
        self.over = False


class TripErrands:
    """What `dispatch.Errands` asks for. Use as an async context manager, around the run.

    `rider(rider_id)` gives a rider's token. `on_told(view, news, at_ms)` hears of all that riders are told, after the
    oracle. `mishaps(number)` are those of the rider of request `number`, in ms since the run began at `start_ms`.
    """

    def __init__(
        self,
        desk: TripDesk,
        oracle: TripOracle,
        view: Callable[[str], TripView],
        stream_url: str,
        rider: Callable[[str], str],
        random: Random,
        start_ms: int,
        on_told: Callable[[TripView, News, int], None] | None = None,
        mishaps: Callable[[int], Sequence[Mishap]] = lambda _: (),
        shared: int = 0,
        track_after_s: float = TRACK_AFTER_S,
        on_nearby: Callable[[Asked, Nearby, int], None] = lambda *_: None,
    ) -> None:
        """`view(trip_id)` makes a rider's screen. At most `shared` trips under way have a share link at a time.
        `on_nearby(asked, answer, at_ms)` hears of all that dispatch is told of the cars nearby."""
        self._desk, self._oracle, self._view, self._stream_url, self._rider = desk, oracle, view, stream_url, rider
        self._random, self._start_ms, self._on_told, self._mishaps = random, start_ms, on_told, mishaps
        self._shared, self._track_after_s, self._on_nearby = shared, track_after_s, on_nearby
        self._trips: dict[str, _Trip] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._shown: dict[int, frozenset[str] | None] = {}
        self._closing = asyncio.Event()
        #: Riders of trips by trip id, while they watch.
        self.riders: dict[str, TripRider] = {}
        #: Trips that could not be taken through their states, and whose riders were lost.
        self.failed = self.lost = 0
        #: Reads of nearby that were not answered in time, and connections of riders that were cut.
        self.unanswered = self.cut = 0

    async def __aenter__(self) -> Self:
        await self._desk.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._desk.__aexit__(kind, error, trace)

    @property
    def connected(self) -> int:
        """Riders who are told their trip now."""
        return sum(rider.connected for rider in self.riders.values())

    @property
    def open(self) -> int:
        """Trips that were made, or are about to be, and are not judged yet."""
        return len(self._trips)

    # -- dispatch.Errands -------------------------------------------------------------------------------------------

    def ask(self, request: int, place: Place, radius_m: float) -> None:
        self._shown[request] = None
        self._start(self._look(request, place, radius_m))

    def shown(self, request: int) -> Container[str] | None:
        return self._shown.pop(request, None)

    def say(self, ride: Ride) -> None:
        trip = self._trips.get(ride.trip_id)
        if trip is None:
            if ride.state != NEW:
                return  # it failed before
            trip = self._trips[ride.trip_id] = _Trip(ride, self._view(ride.trip_id))
            self._oracle.open(ride, trip.view)
            self._start(self._carry_out(trip))
        trip.to_say.append(ride.state)
        trip.news.set()

    async def finish(self, within_s: float) -> None:
        """After the last errand and the last verdict on a ping: wait until every trip is judged, at most so long.

        Those that are not judged by then have failed.
        """
        await asyncio.sleep(SETTLE_S if self._trips else 0)
        self._closing.set()
        deadline_s = time.monotonic() + within_s
        while self._trips and time.monotonic() < deadline_s:
            await asyncio.wait(self._tasks, timeout=deadline_s - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
        for trip_id, trip in list(self._trips.items()):
            self._fail(trip, trip.to_say[0] if trip.to_say else trip.ride.state, f"not settled within {within_s:g} s")
            self._close(trip_id)
        self._oracle.is_over = True

    # -- inside -----------------------------------------------------------------------------------------------------

    def _start(self, errand: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, request: int, place: Place, radius_m: float) -> None:
        answer = await self._desk.nearby(place, radius_m, NEARBY_WITHIN_S)
        self.unanswered += answer is None
        if answer is not None:
            self._on_nearby(Asked(place, radius_m, MOST_CARS), answer, wall_ms())
        if request in self._shown:
            self._shown[request] = None if answer is None else answer.driver_ids

    async def _carry_out(self, trip: _Trip) -> None:
        trip_id, watching = trip.ride.trip_id, None
        try:
            while not trip.over:
                if not trip.to_say:
                    trip.news.clear()
                    await trip.news.wait()
                    continue
                state = trip.to_say[0]
                if not await self._tell(trip, state):
                    return
                trip.to_say.popleft()
                if state == NEW:
                    watching = asyncio.create_task(self._watch(trip))
            if watching is not None:
                await asyncio.wait([watching], timeout=SEES_THE_END_S)
            await self._settle(trip_id)
        except Unreadable as fault:
            self._fail(trip, trip.ride.state, str(fault))
        except Exception as fault:  # whatever it is, this trip was not taken to its end
            self._fail(trip, trip.ride.state, f"{type(fault).__name__}: {fault}")
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            self._close(trip_id)

    async def _tell(self, trip: _Trip, state: str) -> bool:
        """Say one thing until it is done; whether it was."""
        ride = trip.ride
        self._oracle.asked(ride.trip_id, state, wall_ms())
        outcome = await self._desk.say(ride, state)
        if isinstance(outcome, Refused):
            self._fail(trip, state, outcome.why)
            return False
        self._oracle.answered(outcome.trip, state, wall_ms())
        trip.over = state in ENDED
        if trip.over:
            ride.share_url = ""
        elif state == ENROUTE_TO_PICKUP and self._sharing() < self._shared:
            self._start(self._share(ride))
        return True

    async def _watch(self, trip: _Trip) -> None:
        ride, view = trip.ride, trip.view

        def told(news: News, at_ms: int) -> None:
            self._oracle.told(view, news, at_ms)
            if self._on_told is not None:
                self._on_told(view, news, at_ms)

        rider = TripRider(
            self._stream_url,
            lambda: self._rider(ride.rider_id),
            view,
            Random(f"{ride.trip_id}/{self._random.getrandbits(64)}"),  # noqa: S311 - seeded on purpose
            told,
            self._mishaps(ride.number),
            lambda: wall_ms() - self._start_ms,
        )
        self.riders[ride.trip_id] = rider
        try:
            await rider.run()
        except LostRider as why:
            self._lose(ride.trip_id, str(why))
        except Exception as fault:  # whatever it is, this rider watches no longer
            self._lose(ride.trip_id, f"{type(fault).__name__}: {fault}")
        finally:
            self.cut += rider.cut.total()
            del self.riders[ride.trip_id]

    async def _settle(self, trip_id: str) -> None:
        """Read the trip back, and have it judged."""
        try:
            async with asyncio.timeout(self._track_after_s):
                await self._closing.wait()
        except TimeoutError:
            pass
        ledger = await _until_known(lambda: self._desk.ledger(trip_id))
        log = await _until_known(lambda: self._desk.log(trip_id))
        track = await _until_known(lambda: self._desk.track(trip_id))
        if ledger is None or log is None or track is None:
            unread = [name for name, it in (("trip", ledger), ("log", log), ("track", track)) if it is None]
            self._oracle.failed(trip_id, "", f"could not be read back: {', '.join(unread)}", wall_ms())
        self._oracle.judge(trip_id, ledger, log, track, wall_ms())

    async def _share(self, ride: Ride) -> None:
        url = await self._desk.share(ride.trip_id)
        if url is not None and ride.state not in ENDED:
            ride.share_url = url

    def _sharing(self) -> int:
        return sum(bool(trip.ride.share_url) for trip in self._trips.values())

    def _fail(self, trip: _Trip, state: str, why: str) -> None:
        self.failed += 1
        self._oracle.failed(trip.ride.trip_id, state, why, wall_ms())

    def _lose(self, trip_id: str, why: str) -> None:
        self.lost += 1
        self._oracle.lost(trip_id, why, wall_ms())

    def _close(self, trip_id: str) -> None:
        self._trips.pop(trip_id, None)
        self._oracle.forget(trip_id)


async def _until_known(read: Callable[[], Awaitable[_T | None]]) -> _T | None:
    for _ in range(READ_TRIES):
        known = await read()
        if known is not None:
            return known
        await asyncio.sleep(READ_AGAIN_S)
    return None
