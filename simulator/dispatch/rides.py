"""One ride: who takes whom where, and which state of the trip is said when. Pure.

```
 at_ms          what happens                                          said (docs/wire/trips.md)
 departs        the driver takes the job and sets off                 NEW, and ENROUTE_TO_PICKUP after SETS_OFF_MS
 arrives at 0   the car stands at the pickup                          ARRIVED_AT_PICKUP after TAPS_MS
 + boarding     the rider is in, and the car drives on                ENROUTE_TO_DROPOFF
 arrives at 1   the car stands at the dropoff                         COMPLETE after TAPS_MS; the driver is free
```

What is said follows from when the car got there and from nothing else: an answer that takes long delays no driver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from simulator.fleet.jobs import Stop

NEW = "NEW"
ENROUTE_TO_PICKUP = "ENROUTE_TO_PICKUP"
ARRIVED_AT_PICKUP = "ARRIVED_AT_PICKUP"
ENROUTE_TO_DROPOFF = "ENROUTE_TO_DROPOFF"
COMPLETE = "COMPLETE"
CANCELED = "CANCELED"
ENDED = frozenset({COMPLETE, CANCELED})
#: What a trip without waypoints goes through.
STATES = (NEW, ENROUTE_TO_PICKUP, ARRIVED_AT_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE)

#: A driver taps "on my way" a moment after the job is on the screen ...
SETS_OFF_MS = 1_000
#: ... and "I am there" when the car stands, so long that stream sees two fixes there and finds `trip.arrived` itself.
TAPS_MS = 3_000
#: From standing at the pickup to driving on: people come down and get in. Assumed.
BOARDING_MS = (15_000, 45_000)
#: Stops of a ride, by number.
PICKUP, DROPOFF = 0, 1


class Place(NamedTuple):
    """WGS84 degrees."""

    lat: float
    lon: float


class Step(NamedTuple):
    """The trip is said to be in `state` at `at_ms` (epoch ms)."""

    at_ms: int
    state: str


@dataclass(slots=True)
class Ride:
    """A request that has a driver. `driver` is a number in the fleet, nodes are those of the road network."""

    number: int
    trip_id: str
    rider_id: str
    driver: int
    driver_id: str
    pickup_node: int
    dropoff_node: int
    pickup: Place
    dropoff: Place
    departs_ms: int
    boarding_ms: int
    #: What was said last; "" until the trip is made.
    state: str = ""
    #: The driver's ways to the pickup and on to the dropoff: encoded polylines of 5 decimals, "" until known.
    approach: str = ""
    route: str = ""
    #: When the car came to stand at each stop, by its number (epoch ms); as far as it has.
    stood_ms: dict[int, int] = field(default_factory=dict)
    #: Whoever has it can watch the trip; so it is never printed.
    share_url: str = field(default="", repr=False)

    def stops(self) -> tuple[Stop, Stop]:
        """The driver's job; it is over when the trip is."""
        return Stop(self.pickup_node, self.boarding_ms), Stop(self.dropoff_node, TAPS_MS)

    def begins(self) -> list[Step]:
        """What is said before the car gets anywhere."""
        return [Step(self.departs_ms, NEW), Step(self.departs_ms + SETS_OFF_MS, ENROUTE_TO_PICKUP)]

    def arrives(self, stop: int, at_ms: int) -> list[Step]:
        """What is said because the car came to stand at a stop at `at_ms`."""
        if stop == PICKUP:
            return [
                Step(at_ms + TAPS_MS, ARRIVED_AT_PICKUP),
                Step(at_ms + self.boarding_ms, ENROUTE_TO_DROPOFF),
            ]
        return [Step(at_ms + TAPS_MS, COMPLETE)]

    def say(self, state: str) -> bool:
        """Go to `state`; whether that may come next. After the end nothing may."""
        if self.state in ENDED:
            return False
        following = STATES[STATES.index(self.state) + 1] if self.state else NEW
        if state != following and not (state == CANCELED and self.state):
            return False
        self.state = state
        return True
