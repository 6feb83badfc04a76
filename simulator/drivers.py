"""One car on a route: how fast it may go before turns and stops, and where it is after a while. No clock.

```
 speed   limit ______            limit ______
              /      \\   turn      /        \\
             /        \\___________/          \\  braking_mps2, so that it stands at the stop line
        ____/                                  \\____ stop (red light, destination)
```
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from simulator.roads import RoadNetwork

#: Ordinary driving in towns: about 1.5 m/s² up and 2 m/s² down (ITE's clearance formula brakes at 3.05 m/s²).
ACCELERATION_MPS2 = 1.5
BRAKING_MPS2 = 2.0
#: Right-angle turns in a city street are taken at about 5 m/s; a turn of less than 30 degrees costs nothing.
TURN_MPS = 5.0
GENTLE_TURN_DEG = 30.0
#: One crossing in six is red when the car comes to it, for up to 40 s; assumed, for cars that also stand.
RED_SHARE = 1 / 6
RED_S = (5.0, 40.0)
#: At its destination a car stands for this long before it has another.
DWELL_S = (15.0, 90.0)
#: Motion is integrated in steps of at most this; at 20 m/s a step is one and a half car lengths.
STEP_S = 0.5
#: A car this close to its stop line has arrived.
ARRIVED_M = 0.5


@dataclass(slots=True)
class Plan:
    """A route as it will be driven: for each link, the highest speed at its end and how long to stand there."""

    links: list[int]
    end_mps: list[float]
    pause_s: list[float]


def plan_route(roads: RoadNetwork, links: list[int], pace: float, random: Random) -> Plan:
    """Choose red lights and the dwell at the end, then brake in time for each: speeds are set from the last link back.

    `pace` is the driver's own speed as a share of the limit. `links` is not empty.
    """
    pause_s = [random.uniform(*RED_S) if random.random() < RED_SHARE else 0.0 for _ in links]
    pause_s[-1] = random.uniform(*DWELL_S)
    end_mps = [0.0] * len(links)
    next_start_mps = 0.0
    for index in range(len(links) - 1, -1, -1):
        link = roads.links[links[index]]
        if pause_s[index] > 0:
            end_mps[index] = 0.0
        else:
            after = roads.links[links[index + 1]]
            turn = _turn_mps(after.heading_deg - link.heading_deg)
            end_mps[index] = min(link.speed_mps * pace, after.speed_mps * pace, turn, next_start_mps)
        next_start_mps = math.sqrt(end_mps[index] ** 2 + 2 * BRAKING_MPS2 * link.length_m)
    return Plan(links, end_mps, pause_s)


def _turn_mps(change_deg: float) -> float:
    """The speed at which a change of heading is comfortable."""
    turn_deg = abs((change_deg + 180.0) % 360.0 - 180.0)
    return math.inf if turn_deg < GENTLE_TURN_DEG else TURN_MPS * 90.0 / max(60.0, turn_deg)


class Car:
    """Where one car is on its plan. `done` once it stood at its destination for the planned time."""

    __slots__ = ("_index", "_pause_s", "_plan", "_roads", "node", "offset_m", "pace", "speed_mps")

    def __init__(self, roads: RoadNetwork, node: int, pace: float) -> None:
        """A car that stands at `node`, without a plan."""
        self._roads = roads
        self._plan = Plan([], [], [])
        self._index, self._pause_s = 0, 0.0
        self.node, self.pace = node, pace
        self.offset_m = self.speed_mps = 0.0

    @property
    def done(self) -> bool:
        return self._index >= len(self._plan.links) and self._pause_s <= 0.0

    @property
    def heading_deg(self) -> float:
        """The way the car faces; a car that stands faces as it came."""
        link = self._link()
        return 0.0 if link is None else self._roads.links[link].heading_deg

    @property
    def position(self) -> tuple[float, float]:
        """True (lat, lon): on the road."""
        if self._index < len(self._plan.links):
            return self._roads.along(self._plan.links[self._index], self.offset_m)
        return self._roads.positions[self.node]

    def drive(self, plan: Plan) -> None:
        """Start on a new plan, whose first link leaves from `node`."""
        self._plan, self._index, self.offset_m, self.speed_mps, self._pause_s = plan, 0, 0.0, 0.0, 0.0

    def advance(self, elapsed_s: float) -> float:
        """Let time pass. Returns how much of `elapsed_s` is left once the plan is done, else 0."""
        left_s = elapsed_s
        while left_s > 1e-9:
            if self._pause_s > 0.0:
                stood_s = min(self._pause_s, left_s)
                self._pause_s -= stood_s
                left_s -= stood_s
            elif self._index >= len(self._plan.links):
                return left_s
            else:
                left_s -= self._move(min(left_s, STEP_S))
        return 0.0

    def _move(self, step_s: float) -> float:
        """Drive for at most `step_s`, at most to the end of the link. Returns the time that took."""
        link = self._roads.links[self._plan.links[self._index]]
        end_mps = self._plan.end_mps[self._index]
        ahead_m = link.length_m - self.offset_m
        # The highest speed v at the end of this step from which braking still meets end_mps at the link's end:
        # v² = end² + 2b(ahead - (speed + v)/2 · step), solved for v (as in Krauss's car-following model, 1998).
        b_step = BRAKING_MPS2 * step_s
        under_root = b_step**2 + 4 * (end_mps**2 + 2 * BRAKING_MPS2 * ahead_m - b_step * self.speed_mps)
        safe_mps = (math.sqrt(under_root) - b_step) / 2 if under_root > 0.0 else 0.0
        limit_mps = max(link.speed_mps * self.pace, self.speed_mps - b_step)
        speed_mps = max(0.0, min(self.speed_mps + ACCELERATION_MPS2 * step_s, limit_mps, safe_mps))
        moved_m = (self.speed_mps + speed_mps) / 2 * step_s
        if moved_m < ahead_m - (ARRIVED_M if end_mps == 0.0 else 0.0):
            self.offset_m += moved_m
            self.speed_mps = speed_mps
            return step_s
        # Only a part of the step was needed to come to the end, so only that part of it changed the speed.
        share = min(1.0, ahead_m / moved_m) if moved_m > 0.0 else 0.0
        self.speed_mps = min(self.speed_mps + (speed_mps - self.speed_mps) * share, end_mps)
        self._pause_s = self._plan.pause_s[self._index]
        self.node, self.offset_m = link.to_node, 0.0
        self._index += 1
        return step_s * share

    def _link(self) -> int | None:
        """The link the car is on, or the last it was on."""
        links = self._plan.links
        if self._pause_s > 0.0 and self._index > 0:
            return links[self._index - 1]
        if self._index < len(links):
            return links[self._index]
        return links[-1] if links else None
