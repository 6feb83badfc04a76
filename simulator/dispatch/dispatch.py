"""Dispatch: which driver takes which request, when the driver sets off, and what is said of the trip then. Pure.

```
 t        a request; of the drivers without a job and on air, the nearest by truth as of t - 2 s is held for it,
          and the system is asked for the cars nearby
 t + 2 s  that driver gets the job if the answer shows it; else the nearest that it does show
 t + 3 s  the driver sets off, the trip is made, and simulator/dispatch/rides.py says how it goes on
```

Everything happens at these moments of the schedule, whatever the answers took, so that the same seed moves the same
cars: an answer only confirms. One that is not there in time confirms too (`unconfirmed` counts them), because a car
must not wait for the system under test. Nobody near, or nobody shown: it is tried again every 2 s, until the request's
patience ends (`unserved`). All times are epoch ms.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple, Protocol

from simulator.demand.requests import Request
from simulator.dispatch.rides import (
    BOARDING_MS,
    CANCELED,
    COMPLETE,
    ENDED,
    NEW,
    SETS_OFF_MS,
    TAPS_MS,
    Place,
    Ride,
    Step,
)
from simulator.dispatch.supply import NEARBY_M, Supply
from simulator.fleet.jobs import Arrival, Stop
from simulator.roads.polylines import encode_polyline

#: The answer about the cars nearby counts at this moment, whenever it came.
CONFIRM_MS = 2_000
DEPARTS_MS = 3_000
TRY_AGAIN_MS = 2_000


class Drivers(Protocol):
    """The fleet (simulator/fleet/fleet.py), as far as it takes jobs."""

    def send(self, driver: int, stops: Sequence[Stop], at_ms: int) -> None:
        """At `at_ms`, which is still to come, the driver sets off to these stops in order."""

    def arrivals_until(self, now_ms: int) -> Sequence[Arrival]:
        """Those that were not told yet, in order of time."""

    def ways_of(self, driver: int) -> Sequence[Sequence[tuple[float, float]]]:
        """The ways of the driver's job to each stop, as planned when it set off: (lat, lon)."""


class Errands(Protocol):
    """What is done over the wire, in the background. Nothing here waits for it."""

    def ask(self, request: int, place: Place, radius_m: float) -> None:
        """Ask for the cars near a place."""

    def shown(self, request: int) -> Container[str] | None:
        """The driver ids of the answer; None while there is none. It is asked for once."""

    def say(self, ride: Ride) -> None:
        """The trip is in `ride.state` now: tell, after all that was to be told before."""


class Everybody:
    """All drivers, as a system that is not there would show them."""

    def __contains__(self, driver_id: object) -> bool:
        return True


class NoErrands:
    """For a rehearsal without a system: nearby is the truth, and nobody is told anything."""

    def ask(self, request: int, place: Place, radius_m: float) -> None:
        pass

    def shown(self, request: int) -> Everybody:
        return Everybody()

    def say(self, ride: Ride) -> None:
        pass


#: Told when nearby did not show the nearest driver (its id), or did not answer in time (None): (rider, driver, at_ms).
Amiss = Callable[[str, str | None, int], None]


class Waiting(NamedTuple):
    """A request without a driver."""

    place: Place
    since_ms: int


@dataclass(slots=True)
class _Call:
    """A request that looks for a driver. `ranked` are the drivers near, nearest first, as of the last try."""

    request: Request
    since_ms: int
    place: Place
    boarding_ms: int
    ranked: list[int]


class Requests(Protocol):
    """simulator/demand/requests.py, in scenario time."""

    @property
    def next_due_ms(self) -> int | None: ...

    def due(self, now_ms: int) -> Iterable[Request]: ...


class Dispatch:
    """Call `tick` as time goes on, once a second or oftener, when fleet, phones and truth have been played until then.

    For the same decisions whenever it is called, stop at every `next_due_ms` too.
    """

    def __init__(
        self,
        errands: Errands,
        drivers: Drivers,
        supply: Supply,
        requests: Requests,
        places: Sequence[tuple[float, float]],
        random: Random,
        run: str,
        start_ms: int,
        patience_ms: int,
        boarding_ms: tuple[int, int] = BOARDING_MS,
        amiss: Amiss = lambda *_: None,
    ) -> None:
        """`places` are (lat, lon) of the nodes. `run` begins every trip id, so that two runs against one system make
        different trips. `boarding_ms` is how long riders take to get in, at least and at most."""
        self._boarding_ms, self._amiss = boarding_ms, amiss
        self._errands, self._drivers, self._supply = errands, drivers, supply
        self._requests, self._places, self._random = requests, places, random
        self._run, self._start_ms, self._patience_ms = run, start_ms, patience_ms
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._calls: dict[int, _Call] = {}
        #: Of each driver that has a job or is held for one: the ride, once there is one.
        self._busy: dict[int, Ride | None] = {}
        self._now_ms = start_ms
        self.requested = self.done = self.unserved = self.unconfirmed = self.unshown = self.abandoned = 0

    # -- time -------------------------------------------------------------------------------------------------------

    @property
    def next_due_ms(self) -> int | None:
        """When the next decision falls due, arrivals aside; None when nothing is to come."""
        request_ms = self._requests.next_due_ms
        times = [] if request_ms is None else [self._start_ms + request_ms]
        return min([*times, *(at_ms for at_ms, *_ in self._due[:1])], default=None)

    def tick(self, now_ms: int) -> None:
        """Do all that is due by `now_ms`, in order."""
        for request in self._requests.due(now_ms - self._start_ms):
            self._take(request)
        for arrival in self._drivers.arrivals_until(now_ms):
            self._arrive(arrival)
        while self._due and self._due[0][0] <= now_ms:
            self._now_ms, *_, do = heappop(self._due)
            do()
        self._now_ms = max(self._now_ms, now_ms)

    def close(self) -> None:
        """The run is over: who waits goes away, and trips under way are canceled."""
        self._due.clear()
        self.abandoned += len(self._calls)
        self._calls.clear()
        for ride in self.under_way:
            if ride.state and ride.say(CANCELED):
                self._errands.say(ride)
            self.abandoned += 1
        self._busy.clear()

    # -- what is to be seen -----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> list[Waiting]:
        """Requests that look for a driver, the oldest first."""
        return [Waiting(call.place, call.since_ms) for call in self._calls.values()]

    @property
    def under_way(self) -> list[Ride]:
        """Rides that have a driver and have not ended; those whose driver has not set off have no state."""
        return [ride for ride in self._busy.values() if ride is not None]

    # -- what happens -----------------------------------------------------------------------------------------------

    def _take(self, request: Request) -> None:
        at_ms = self._start_ms + request.at_ms
        # Nobody gets in before the driver has said that the car is there.
        boarding_ms = max(TAPS_MS + SETS_OFF_MS, self._random.randint(*self._boarding_ms))
        place = Place(*self._places[request.origin_node])
        self.requested += 1
        call = _Call(request, at_ms, place, boarding_ms, [])
        self._calls[request.number] = call
        self._at(at_ms, lambda: self._look(call))

    def _look(self, call: _Call) -> None:
        """Hold the nearest driver, and ask whether riders are shown it."""
        if self._now_ms > call.since_ms + self._patience_ms:
            del self._calls[call.request.number]
            self.unserved += 1
            return
        call.ranked = self._supply.near(call.place, self._now_ms, self._busy)
        if not call.ranked:
            self._at(self._now_ms + TRY_AGAIN_MS, lambda: self._look(call))
            return
        self._busy[call.ranked[0]] = None
        self._errands.ask(call.request.number, call.place, NEARBY_M)
        self._at(self._now_ms + CONFIRM_MS, lambda: self._match(call))

    def _match(self, call: _Call) -> None:
        held, *others = call.ranked
        driver: int | None = held
        shown = self._errands.shown(call.request.number)
        if shown is None:
            self.unconfirmed += 1
            self._amiss(call.request.rider_id, None, self._now_ms)
        elif self._supply.driver_id(held) not in shown:
            self.unshown += 1
            self._amiss(call.request.rider_id, self._supply.driver_id(held), self._now_ms)
            del self._busy[held]
            free = (other for other in others if other not in self._busy and self._supply.driver_id(other) in shown)
            driver = next(free, None)
        if driver is None:
            self._look(call)
            return
        del self._calls[call.request.number]
        self._begin(call, driver)

    def _begin(self, call: _Call, driver: int) -> None:
        request, departs_ms = call.request, self._now_ms + DEPARTS_MS - CONFIRM_MS
        ride = Ride(
            request.number,
            f"{self._run}-{request.number}",
            request.rider_id,
            driver,
            self._supply.driver_id(driver),
            request.origin_node,
            request.destination_node,
            call.place,
            Place(*self._places[request.destination_node]),
            departs_ms,
            call.boarding_ms,
        )
        self._busy[driver] = ride
        self._drivers.send(driver, ride.stops(), departs_ms)
        self._plan(ride, ride.begins())

    def _arrive(self, arrival: Arrival) -> None:
        ride = self._busy.get(arrival.driver)
        if ride is not None:
            ride.stood_ms[arrival.stop_index] = arrival.at_ms
            self._plan(ride, ride.arrives(arrival.stop_index, arrival.at_ms))

    def _plan(self, ride: Ride, steps: Iterable[Step]) -> None:
        for step in steps:
            self._at(step.at_ms, partial(self._say, ride, step.state))

    def _say(self, ride: Ride, state: str) -> None:
        if not ride.say(state):
            return
        if state == NEW:
            ways = [encode_polyline(way) if len(way) > 1 else "" for way in self._drivers.ways_of(ride.driver)]
            ride.approach, ride.route = ways if len(ways) == len(ride.stops()) else ("", "")
        self._errands.say(ride)
        if state in ENDED:
            del self._busy[ride.driver]
            self.done += state == COMPLETE

    def _at(self, at_ms: int, do: Callable[[], None]) -> None:
        """What frees or takes a driver is planned a second ahead or more, so ties do not depend on how time is cut."""
        heappush(self._due, (at_ms, next(self._order), do))
