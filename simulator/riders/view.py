"""What one subscription of `ridestream.v1` shows, and every promise of the wire that was broken in it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Literal, NamedTuple

import msgspec

#: So many broken promises are described; the rest are only counted.
MOST_DESCRIBED = 20


class SeenCar(msgspec.Struct, frozen=True, gc=False):
    """A car as a rider is told of it. Degrees, metres, metres per second, epoch milliseconds."""

    driver_id: str
    lat: float
    lon: float
    fix_time_ms: int
    age_ms: int
    freshness: Literal["live", "stale"]
    cell: str = ""
    heading_deg: float | None = None
    speed_mps: float | None = None
    accuracy_m: float | None = None
    vehicle_type: str = ""


class Snapshot(msgspec.Struct, tag_field="type", tag="snapshot", gc=False):
    sub: str
    seq: int
    server_time_ms: int
    cars: list[SeenCar]


class Update(msgspec.Struct, tag_field="type", tag="update", gc=False):
    sub: str
    seq: int
    server_time_ms: int
    enter: list[SeenCar]
    move: list[SeenCar]
    leave: list[str]


class Move(NamedTuple):
    """A car whose marker goes to a newer fix."""

    car: SeenCar
    #: Time of the fix that was shown until then.
    before_ms: int


class Broken(NamedTuple):
    """One broken promise, in words without positions."""

    what: str
    driver_id: str = ""
    #: How much older the fix is than one that was shown before; 0 where that is not what is broken.
    backwards_ms: int = 0


@dataclass(slots=True)
class Faults:
    """Broken promises of the wire: how many, and the first of them in words. `tell` hears each as it happens."""

    count: int = 0
    described: list[str] | None = None
    tell: Callable[[Broken], None] | None = None

    def note(self, what: str, driver_id: str = "", backwards_ms: int = 0) -> None:
        self.count += 1
        if self.tell is not None:
            self.tell(Broken(what, driver_id, backwards_ms))
        if self.described is None:
            self.described = []
        if len(self.described) < MOST_DESCRIBED:
            self.described.append(what)


class View:
    """The cars of one subscription, by driver id. `limit` is the most that may be shown, once it is known."""

    def __init__(self, sub: str, faults: Faults, limit: int | None = None) -> None:
        self.sub, self.faults, self.limit = sub, faults, limit
        self.cars: dict[str, SeenCar] = {}
        #: Sequence number of the newest message; 0 before the first snapshot.
        self.seq = 0
        self.server_time_ms = 0
        self.snapshots = self.updates = 0
        #: The newest fix ever shown of each driver, also of those who left: no car goes backwards in time.
        self._newest_ms: dict[str, int] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Replace everything. The first snapshot has sequence number 1; a later one starts again or carries on."""
        if snapshot.seq not in (1, self.seq + 1):
            self.faults.note(f"snapshot has seq {snapshot.seq} after {self.seq}")
        self._hear(snapshot.seq, snapshot.server_time_ms)
        self.snapshots += 1
        self.cars = {}
        for car in snapshot.cars:
            if car.driver_id in self.cars:
                self.faults.note(f"{car.driver_id} is twice in a snapshot", car.driver_id)
            self._place(car)
        self._count()

    def change(self, update: Update) -> list[Move]:
        """Apply an update. Returns the cars that moved to a newer fix than the one shown before."""
        if self.seq == 0:
            self.faults.note("update before the first snapshot")
        elif update.seq != self.seq + 1:
            self.faults.note(f"update has seq {update.seq} after {self.seq}")
        self._hear(update.seq, update.server_time_ms)
        self.updates += 1
        for driver_id in update.leave:
            if self.cars.pop(driver_id, None) is None:
                self.faults.note(f"{driver_id} left but was not there", driver_id)
        for car in update.enter:
            if car.driver_id in self.cars:
                self.faults.note(f"{car.driver_id} entered but was there", car.driver_id)
            self._place(car)
        moved, cars, newest_ms = list[Move](), self.cars, self._newest_ms
        for car in update.move:
            driver_id, fix_time_ms = car.driver_id, car.fix_time_ms
            before = cars.get(driver_id)
            if before is None:
                self.faults.note(f"{driver_id} moved but was not there", driver_id)
            elif fix_time_ms > before.fix_time_ms:
                moved.append(Move(car, before.fix_time_ms))
            # As `_place` does, which a million times a minute is too dear for what nearly always happens.
            if fix_time_ms > newest_ms.get(driver_id, fix_time_ms):
                newest_ms[driver_id] = fix_time_ms
                cars[driver_id] = car
            else:
                self._place(car)
        if update.enter:
            self._count()
        return moved

    def _hear(self, seq: int, server_time_ms: int) -> None:
        if server_time_ms < self.server_time_ms:
            self.faults.note("server_time_ms went backwards")
        self.seq, self.server_time_ms = seq, server_time_ms

    def _count(self) -> None:
        if self.limit is not None and len(self.cars) > self.limit:
            self.faults.note(f"{len(self.cars)} cars are shown where at most {self.limit} were asked for")

    def _place(self, car: SeenCar) -> None:
        newest_ms = self._newest_ms.get(car.driver_id)
        if newest_ms is None:
            # A thousand riders remember the same drivers: one string for each, not a thousand.
            self._newest_ms[intern(car.driver_id)] = car.fix_time_ms
        elif car.fix_time_ms < newest_ms:
            ago_ms = newest_ms - car.fix_time_ms
            self.faults.note(f"{car.driver_id} went backwards by {ago_ms} ms", car.driver_id, ago_ms)
        else:
            self._newest_ms[car.driver_id] = car.fix_time_ms
        self.cars[car.driver_id] = car
