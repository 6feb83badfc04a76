"""A fleet on the road network: drivers choose destinations or do jobs, drive there, and report. One seed, no clock.

The same network, seed, start and orders give the same reports, byte for byte, however the time is cut into steps:
things happen in order of time, and each driver has its own generators of chance, so that a job for one changes nothing
for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from random import Random
from types import MappingProxyType
from typing import Final

from simulator.fleet.cars import Car
from simulator.fleet.drivers import Driver
from simulator.fleet.fixes import Fix
from simulator.fleet.jobs import Arrival, JobBook, Stop
from simulator.fleet.reports import Report
from simulator.roads.network import RoadNetwork

#: Who drives in a city: Fleet Engine's categories and their shares.
VEHICLES: Final[Mapping[str, float]] = MappingProxyType({"AUTO": 0.60, "TAXI": 0.34, "TWO_WHEELER": 0.06})
#: How fast: share of the speed limit, from slow to brisk. In a city street of 40 km/h a bicycle does 15 to 20 km/h, and
#: who walks 4 to 6.
PACES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "AUTO": (0.80, 1.00),
        "TAXI": (0.85, 1.05),
        "TRUCK": (0.65, 0.85),
        "TWO_WHEELER": (0.70, 0.95),
        "BICYCLE": (0.37, 0.50),
        "PEDESTRIAN": (0.10, 0.15),
    }
)
#: Drivers' reports are spread over the interval in steps of this, so that load is even and posts still carry several.
PHASE_MS = 100


class Fleet:
    """Cars whose phones report every `interval_ms` while they move, once `begin` has said when that starts."""

    def __init__(
        self,
        roads: RoadNetwork,
        drivers: int,
        random: Random,
        interval_ms: int,
        standing_interval_ms: int | None = None,
        vehicles: Mapping[str, float] = VEHICLES,
        name: str = "sim",
    ) -> None:
        """`standing_interval_ms`: how often a phone reports that stands; `vehicles`: category and share, sum 1;
        `name` begins every driver's id."""
        if drivers < 1 or interval_ms < PHASE_MS:
            raise ValueError(f"a fleet needs at least one driver and an interval of at least {PHASE_MS} ms")
        if not vehicles or not vehicles.keys() <= PACES.keys():
            raise ValueError(f"a fleet's vehicles are of {', '.join(PACES)}")
        self._roads, self._interval_ms = roads, interval_ms
        self._name = name
        self._standing_interval_ms = interval_ms if standing_interval_ms is None else standing_interval_ms
        self.drivers = [self._hire(number, vehicles, random) for number in range(drivers)]
        phases = interval_ms // PHASE_MS
        self._due = [(random.randrange(phases) * PHASE_MS, number) for number in range(drivers)]
        heapify(self._due)
        self._jobs = JobBook(drivers)
        self._orders: list[tuple[int, int, int, tuple[Stop, ...]]] = []
        self._order = count()
        self._played_ms = 0

    def begin(self, start_ms: int) -> None:
        """Start work at `start_ms`; each driver's first report is within one interval of it. To be called once."""
        self._due = [(at_ms + start_ms, number) for at_ms, number in self._due]
        self._played_ms = start_ms
        for driver in self.drivers:
            driver.begin(start_ms)

    @property
    def next_due_ms(self) -> int:
        """When the next driver looks at the phone; one that stands may have nothing to say then."""
        return self._due[0][0]

    def reports_until(self, now_ms: int) -> list[Report]:
        """Play up to and including `now_ms`: every report of that time, in order of (time, driver)."""
        reports = []
        while True:
            due_ms, number = self._due[0]
            if self._orders and self._orders[0][0] <= min(due_ms, now_ms):
                self._carry_out()
            elif due_ms <= now_ms:
                report = self.drivers[number].read(due_ms, self._standing_interval_ms)
                if report is not None:
                    reports.append(report)
                heapreplace(self._due, (due_ms + self._interval_ms, number))
            else:
                break
        self._played_ms = max(self._played_ms, now_ms)
        return reports

    def fixes_until(self, now_ms: int) -> list[Fix]:
        """The fixes of `reports_until`."""
        return [report.fix for report in self.reports_until(now_ms)]

    def send(self, driver: int, stops: Sequence[Stop], at_ms: int) -> None:
        """At `at_ms` the driver sets off to these stops in order, by shortest time, in place of what it does then.

        It first drives to the next crossing where it can stop. After the last stop's dwell the job is over and the
        driver goes where it likes. `at_ms` is not before the time that was played. Raises ValueError.
        """
        if not stops:
            raise ValueError("a job has at least one stop")
        self._give(driver, tuple(stops), at_ms)

    def release(self, driver: int, at_ms: int) -> None:
        """At `at_ms` the driver's job is over, done or not. `at_ms` is not before the time that was played."""
        self._give(driver, (), at_ms)

    def arrivals_until(self, now_ms: int) -> list[Arrival]:
        """The arrivals at stops up to `now_ms`, or to the time that was played, that were not told yet; in order."""
        return self._jobs.arrivals_until(min(now_ms, self._played_ms))

    def free(self, driver: int, at_ms: int) -> bool:
        """Has the driver neither a job at `at_ms` nor the order for a later one? `at_ms` is not in the past."""
        return self._jobs.free(driver, at_ms)

    def ways_of(self, driver: int) -> list[list[tuple[float, float]]]:
        """The ways of the driver's job as planned when it set off: (lat, lon) of the way to each stop."""
        return self._jobs.points(driver)

    def _give(self, driver: int, stops: tuple[Stop, ...], at_ms: int) -> None:
        if at_ms < self._played_ms:
            raise ValueError(f"an order for a time {self._played_ms - at_ms} ms before what was played already")
        self._jobs.order(driver, stops, at_ms)
        heappush(self._orders, (at_ms, next(self._order), driver, stops))

    def _carry_out(self) -> None:
        at_ms, _, number, stops = heappop(self._orders)
        driver = self.drivers[number]
        if stops:
            self._jobs.begin(number, driver.take(stops, at_ms), at_ms)
        else:
            driver.release(at_ms)
            self._jobs.begin(number, None, at_ms)

    def _hire(self, number: int, vehicles: Mapping[str, float], random: Random) -> Driver:
        draw = random.random()
        for vehicle_type, share in vehicles.items():  # noqa: B007 - the last one takes what rounding leaves
            if draw < share:
                break
            draw -= share
        car = Car(self._roads, random.randrange(len(self._roads.positions)), random.uniform(*PACES[vehicle_type]))
        # Ids come from the seed and carry the number: no two drivers of one fleet share one.
        driver_id = f"{self._name}-{random.getrandbits(32):08x}-{number}"
        own = Random(random.getrandbits(64))  # noqa: S311 - a simulation must repeat
        driver = Driver(self._roads, number, driver_id, vehicle_type, car, own)
        # Everybody is somewhere in the middle of a day's work.
        driver.drive(own.uniform(0.0, 300.0))
        return driver
