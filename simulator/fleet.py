"""A fleet on the road network: drivers choose destinations, drive there, and report fixes. One seed, no clock.

The same network, seed, start and interval give the same fixes, byte for byte, however the time is cut into steps:
drivers act in the order of (time of next fix, number), and nothing else draws from the one random generator.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from random import Random

import h3

from simulator.drivers import Car, plan_route
from simulator.fixes import Fix
from simulator.gps import Receiver
from simulator.roads import RoadNetwork

#: Who drives in a city: share, Fleet Engine's category, and pace (share of the speed limit) from slow to brisk.
VEHICLES = ((0.60, "AUTO", 0.80, 1.00), (0.34, "TAXI", 0.85, 1.05), (0.06, "TWO_WHEELER", 0.70, 0.95))
#: Trips inside Manhattan have a median of about 2 to 3 km; nearer is a walk.
TRIP_M = (800.0, 4_000.0)
#: A destination within TRIP_M is looked for this often; on a small network the last one drawn is taken.
TRIES = 32
#: Drivers' reports are spread over the interval in steps of this, so that load is even and posts still carry several.
PHASE_MS = 100
#: What GPS chips say of Doppler speed and course: about 0.1 m/s, and a few degrees when moving.
SPEED_SIGMA_MPS, HEADING_SIGMA_DEG = 0.1, 2.0
#: Below this a course is noise, and a phone keeps the last one.
STANDING_MPS = 0.5


class Driver:
    """One driver: who, in what car, with what phone."""

    __slots__ = ("car", "driver_id", "last_ms", "receiver", "vehicle_type")

    def __init__(self, driver_id: str, vehicle_type: str, car: Car, receiver: Receiver, last_ms: int) -> None:
        self.driver_id, self.vehicle_type, self.car, self.receiver = driver_id, vehicle_type, car, receiver
        self.last_ms = last_ms


class Fleet:
    """`drivers` cars that report every `interval_ms`, once `begin` has said when that starts."""

    def __init__(self, roads: RoadNetwork, drivers: int, random: Random, interval_ms: int) -> None:
        if drivers < 1 or interval_ms < PHASE_MS:
            raise ValueError(f"a fleet needs at least one driver and an interval of at least {PHASE_MS} ms")
        self._roads, self._random, self._interval_ms = roads, random, interval_ms
        self.drivers = [self._hire(number) for number in range(drivers)]
        phases = interval_ms // PHASE_MS
        self._due = [(random.randrange(phases) * PHASE_MS, number) for number in range(drivers)]
        heapify(self._due)

    def begin(self, start_ms: int) -> None:
        """Start work at `start_ms`; each driver's first fix is within one interval of it. To be called once."""
        self._due = [(at_ms + start_ms, number) for at_ms, number in self._due]
        for driver in self.drivers:
            driver.last_ms += start_ms

    @property
    def next_due_ms(self) -> int:
        """When the next driver reports."""
        return self._due[0][0]

    def fixes_until(self, now_ms: int) -> list[Fix]:
        """Every fix taken up to and including `now_ms`, in order of time."""
        fixes = []
        while self._due[0][0] <= now_ms:
            at_ms, number = self._due[0]
            fixes.append(self._report(self.drivers[number], at_ms))
            heapreplace(self._due, (at_ms + self._interval_ms, number))
        return fixes

    def _hire(self, number: int) -> Driver:
        random = self._random
        draw = random.random()
        for share, vehicle_type, slow, brisk in VEHICLES:  # noqa: B007 - the last row takes what rounding leaves
            if draw < share:
                break
            draw -= share
        car = Car(self._roads, random.randrange(len(self._roads.positions)), random.uniform(slow, brisk))
        # Ids come from the seed and carry the number: no two drivers of one fleet share one.
        driver = Driver(f"sim-{random.getrandbits(32):08x}-{number}", vehicle_type, car, Receiver(random), 0)
        # Everybody is somewhere in the middle of a day's work.
        self._work(driver, random.uniform(0.0, 300.0))
        return driver

    def _work(self, driver: Driver, elapsed_s: float) -> None:
        """Drive on, and to the next destination when one is reached."""
        car = driver.car
        left_s = car.advance(elapsed_s)
        while car.done:
            route = self._roads.route(car.node, self._destination(car.node))
            car.drive(plan_route(self._roads, route, car.pace, self._random))
            left_s = car.advance(left_s)

    def _destination(self, origin: int) -> int:
        nodes, here = len(self._roads.positions), self._roads.positions[origin]
        node = origin
        for _ in range(TRIES):
            node = self._random.randrange(nodes)
            if (
                node != origin
                and TRIP_M[0] <= h3.great_circle_distance(here, self._roads.positions[node], unit="m") <= TRIP_M[1]
            ):
                return node
        return node if node != origin else (origin + 1) % nodes

    def _report(self, driver: Driver, at_ms: int) -> Fix:
        random, car = self._random, driver.car
        elapsed_s = (at_ms - driver.last_ms) / 1_000
        driver.last_ms = at_ms
        self._work(driver, elapsed_s)
        lat, lon = driver.receiver.observe(*car.position, elapsed_s, random)
        moving = car.speed_mps >= STANDING_MPS
        heading_deg = car.heading_deg + (random.gauss(0.0, HEADING_SIGMA_DEG) if moving else 0.0)
        speed_mps = max(0.0, car.speed_mps + random.gauss(0.0, SPEED_SIGMA_MPS)) if moving else 0.0
        return Fix(
            ping_id=f"{random.getrandbits(64):016x}",
            driver_id=driver.driver_id,
            fix_time_ms=at_ms,
            # 6 decimals are 0.1 m; 1 decimal of the others is as much as a phone knows.
            lat=round(lat, 6),
            lon=round(lon, 6),
            accuracy_m=round(driver.receiver.accuracy_m, 1),
            heading_deg=round(heading_deg, 1) % 360.0,
            speed_mps=round(speed_mps, 1),
            vehicle_type=driver.vehicle_type,
        )
