"""One driver: who, in which car, with what phone; drives to places of its own choice, or does a job. No clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import h3

from simulator.fleet.cars import Car
from simulator.fleet.fixes import Fix
from simulator.fleet.gps import Receiver
from simulator.fleet.jobs import Stop, Way
from simulator.fleet.plans import Halt, Plan, plan_route
from simulator.fleet.reports import Report
from simulator.roads.network import RoadNetwork
from simulator.roads.polylines import route_points

#: Trips inside Manhattan have a median of about 2 to 3 km; nearer is a walk.
TRIP_M = (800.0, 4_000.0)
#: A destination within TRIP_M is looked for this often; on a small network the last one drawn is taken.
TRIES = 32
#: At a destination of its own choice a driver stands for this long.
DWELL_S = (15.0, 90.0)
#: What GPS chips say of Doppler speed and course: about 0.1 m/s, and a few degrees when moving.
SPEED_SIGMA_MPS, HEADING_SIGMA_DEG = 0.1, 2.0
#: Below this a course is noise, and a phone keeps the last one.
STANDING_MPS = 0.5


class Driver:
    """One driver. Times are epoch ms."""

    __slots__ = (
        *("_noise", "_number", "_random", "_read_ms", "_roads", "_stood"),
        *("car", "driven_ms", "driver_id", "receiver", "vehicle_type"),
    )

    def __init__(
        self, roads: RoadNetwork, number: int, driver_id: str, vehicle_type: str, car: Car, random: Random
    ) -> None:
        self._roads, self._number = roads, number
        # The way and the phone have their own chance: it does not matter which is asked first at one moment.
        self._random, self._noise = random, Random(random.getrandbits(64))  # noqa: S311 - a simulation must repeat
        self.driver_id, self.vehicle_type, self.car = driver_id, vehicle_type, car
        self.receiver = Receiver(self._noise)
        self.driven_ms = self._read_ms = 0
        self._stood = False

    def begin(self, start_ms: int) -> None:
        """What was driven so far took place before `start_ms`."""
        self.driven_ms = self._read_ms = start_ms

    def drive(self, elapsed_s: float) -> None:
        """Drive on; who comes to the end of a plan, or of a job, chooses where to go next."""
        left_s = self.car.advance(elapsed_s)
        while self.car.done:
            self._wander()
            left_s = self.car.advance(left_s)

    def drive_until(self, at_ms: int) -> None:
        elapsed_ms, self.driven_ms = at_ms - self.driven_ms, at_ms
        self.drive(elapsed_ms / 1_000)

    def take(self, stops: Sequence[Stop], at_ms: int) -> Way:
        """Set off for a job, from the next crossing where the car can stop."""
        self.drive_until(at_ms)
        start, here = self.car.restart(), self.car.position
        node, route, halts, points = start.node, [], [], []
        way = [here, *(self._roads.positions[self._roads.links[number].to_node] for number in start.links)]
        for stop in stops:
            links = self._roads.route(node, stop.node)
            points.append([*way, *route_points(self._roads, node, links)])
            route += links
            halts.append(Halt(len(route), math.inf if stop.dwell_ms is None else stop.dwell_ms / 1_000))
            node, way = stop.node, []
        plan = plan_route(self._roads, start, route, halts, self.car.pace, self._random)
        self.car.drive(plan)
        return Way([_after_ms(at_ms, each) for each in plan.arrive_s], _end_ms(at_ms, plan), points)

    def release(self, at_ms: int) -> None:
        """Leave the job and go where one likes."""
        self.drive_until(at_ms)
        self._wander()

    def read(self, at_ms: int, standing_interval_ms: int) -> Report | None:
        """Drive until `at_ms` and look at the phone; None when it stands, and has said so not long ago."""
        self.drive_until(at_ms)
        car, random = self.car, self._noise
        stands = car.speed_mps < STANDING_MPS
        elapsed_ms = at_ms - self._read_ms
        if stands and self._stood and elapsed_ms < standing_interval_ms:
            return None
        self._read_ms, self._stood = at_ms, stands
        true_lat, true_lon = car.position
        lat, lon = self.receiver.observe(true_lat, true_lon, elapsed_ms / 1_000, random)
        heading_deg = car.heading_deg + (0.0 if stands else random.gauss(0.0, HEADING_SIGMA_DEG))
        speed_mps = 0.0 if stands else max(0.0, car.speed_mps + random.gauss(0.0, SPEED_SIGMA_MPS))
        fix = Fix(
            ping_id=f"{random.getrandbits(64):016x}",
            driver_id=self.driver_id,
            fix_time_ms=at_ms,
            # 6 decimals are 0.1 m; 1 decimal of the others is as much as a phone knows.
            lat=round(lat, 6),
            lon=round(lon, 6),
            accuracy_m=round(self.receiver.accuracy_m, 1),
            heading_deg=round(heading_deg, 1) % 360.0,
            speed_mps=round(speed_mps, 1),
            vehicle_type=self.vehicle_type,
        )
        return Report(self._number, fix, true_lat, true_lon)

    def _wander(self) -> None:
        start = self.car.restart()
        route = self._roads.route(start.node, self._destination(start.node))
        halt = Halt(len(route), self._random.uniform(*DWELL_S))
        self.car.drive(plan_route(self._roads, start, route, [halt], self.car.pace, self._random))

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


def _after_ms(at_ms: int, later_s: float) -> int:
    """The first whole millisecond that is `later_s` after."""
    return at_ms + math.ceil(later_s * 1_000 - 1e-6)


def _end_ms(at_ms: int, plan: Plan) -> float:
    return math.inf if math.isinf(plan.end_s) else _after_ms(at_ms, plan.end_s)
