"""A route as it will be driven: how fast on each link, and where the car stands for how long. No clock.

It is made at once: from the last link back, so that the car brakes in time for turns, red lights and halts; then
forward, which says when the car comes to each link. So each arrival is known exactly as soon as the plan is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from simulator.fleet.kinematics import Phase, cover, fastest_end_mps, fastest_start_mps
from simulator.roads.network import Link, RoadNetwork

#: Right-angle turns in a city street are taken at about 5 m/s; a turn of less than 30 degrees costs nothing.
TURN_MPS = 5.0
GENTLE_TURN_DEG = 30.0
#: One crossing in six holds the car up, by a red light or what stands in the way. With the traffic below, chosen so
#: that speeds and stops come near those of real taxis in city streets (docs/fleet.md).
HELD_SHARE = 1 / 6
HELD_MEAN_S, HELD_MOST_S = 27.0, 120.0
#: Traffic: log-normal, as a share of the speed that the driver would like at the limit, and alike for a block or two.
#: Who is free to goes a third faster than that; most of the time nobody is.
FLOW_MEDIAN, FLOW_SIGMA, FLOW_MOST = 1.2, 0.7, 1.3
FLOW_ALIKE_M = 200.0


class Halt(NamedTuple):
    """A halt on the way: where the route's first `after` links end, for `dwell_s` (which may be for ever)."""

    after: int
    dwell_s: float


class Start(NamedTuple):
    """Where a plan can begin: at `node`, once a red light is over, or once links are driven that cannot be left."""

    node: int
    held_s: float = 0.0
    #: These are driven anyway, at most so fast; the car is on the first of them.
    links: tuple[int, ...] = ()
    limits_mps: tuple[float, ...] = ()
    offset_m: float = 0.0
    speed_mps: float = 0.0


class Leg(NamedTuple):
    """One link of a plan. Times count from the plan's start."""

    number: int
    link: Link
    limit_mps: float
    #: The car begins here: at the link's start, but for the first link of a plan made on the way.
    offset_m: float
    enter_s: float
    enter_mps: float
    #: It is at the link's end then, and if it stands there, leaves it later.
    end_s: float
    end_mps: float
    leave_s: float
    #: It stands because it wants to, and not at a red light.
    halts: bool

    @property
    def phases(self) -> list[Phase]:
        return cover(self.link.length_m - self.offset_m, self.enter_mps, self.limit_mps, self.end_mps)


class Plan(NamedTuple):
    """A route as it will be driven. Times count from its start, which is when the car gets it."""

    node: int
    #: The car is held at its first node for so long, by a red light.
    held_s: float
    legs: list[Leg]
    #: When the car comes to each halt, and when the last is over.
    arrive_s: list[float]
    end_s: float
    #: It begins on its first link, and not at a node.
    on_the_way: bool = False


def plan_route(
    roads: RoadNetwork, start: Start, route: Sequence[int], halts: Sequence[Halt], pace: float, random: Random
) -> Plan:
    """Plan the way over the links of `start` and then of `route`, with its halts in order, the last one at the end.

    `pace` is the driver's own speed as a share of the limit. Traffic and red lights are drawn for what is ahead.
    """
    numbers, kept = [*start.links, *route], len(start.links)
    links = [roads.links[number] for number in numbers]
    limits = [*start.limits_mps, *_limits_mps(links[kept:], pace, random)]
    holds_s = [_hold_s(random) for _ in links]
    # The crossings before the last of `start` are too near to stand at.
    holds_s[: max(0, kept - 1)] = [0.0] * max(0, kept - 1)
    dwells_s: dict[int, float] = {}
    for halt in halts:
        dwells_s[kept + halt.after] = dwells_s.get(kept + halt.after, 0.0) + halt.dwell_s
    stands = [hold_s > 0.0 or passed in dwells_s for passed, hold_s in enumerate(holds_s, start=1)]
    ends_mps = _ends_mps(links, limits, stands)

    reached_s = [start.held_s]
    clock_s, speed_mps, offset_m = start.held_s + dwells_s.get(0, 0.0), start.speed_mps, start.offset_m
    legs: list[Leg] = []
    for at, link in enumerate(links):
        ahead_m = link.length_m - offset_m
        end_mps = min(ends_mps[at], fastest_end_mps(speed_mps, ahead_m))
        end_s = clock_s + sum(phase.duration_s for phase in cover(ahead_m, speed_mps, limits[at], end_mps))
        leave_s = end_s + dwells_s.get(at + 1, holds_s[at])
        halts_here = at + 1 in dwells_s
        legs.append(
            Leg(numbers[at], link, limits[at], offset_m, clock_s, speed_mps, end_s, end_mps, leave_s, halts_here)
        )
        reached_s.append(end_s)
        clock_s, speed_mps, offset_m = leave_s, end_mps, 0.0
    arrive_s = _arrivals_s([kept + halt.after for halt in halts], halts, reached_s)
    return Plan(start.node, start.held_s, legs, arrive_s, clock_s, on_the_way=kept > 0)


def _hold_s(random: Random) -> float:
    return min(HELD_MOST_S, random.expovariate(1 / HELD_MEAN_S)) if random.random() < HELD_SHARE else 0.0


def _limits_mps(links: Sequence[Link], pace: float, random: Random) -> Iterator[float]:
    """How fast this driver may go on each link, in the traffic of the moment (an AR(1) walk along the way)."""
    flow = random.gauss(0.0, FLOW_SIGMA)
    for link in links:
        yield link.speed_mps * pace * min(FLOW_MOST, FLOW_MEDIAN * math.exp(flow))
        alike = math.exp(-link.length_m / FLOW_ALIKE_M)
        flow = alike * flow + random.gauss(0.0, FLOW_SIGMA * math.sqrt(1.0 - alike * alike))


def _ends_mps(links: Sequence[Link], limits: Sequence[float], stands: Sequence[bool]) -> list[float]:
    """The highest speed at the end of each link: from the last back, so that the car can brake in time for each."""
    ends_mps = [0.0] * len(links)
    next_start_mps = 0.0
    for at in range(len(links) - 1, -1, -1):
        if not stands[at]:
            turn_mps = _turn_mps(links[at + 1].heading_deg - links[at].heading_deg)
            ends_mps[at] = min(limits[at], limits[at + 1], turn_mps, next_start_mps)
        next_start_mps = fastest_start_mps(ends_mps[at], links[at].length_m)
    return ends_mps


def _arrivals_s(passed: Sequence[int], halts: Sequence[Halt], reached_s: Sequence[float]) -> list[float]:
    """When the car comes to each halt. A halt where it stands already begins when the one before is over."""
    times_s: list[float] = []
    for at, links in enumerate(passed):
        again = at > 0 and passed[at - 1] == links
        times_s.append(times_s[-1] + halts[at - 1].dwell_s if again else reached_s[links])
    return times_s


def _turn_mps(change_deg: float) -> float:
    """The speed at which a change of heading is comfortable."""
    turn_deg = abs((change_deg + 180.0) % 360.0 - 180.0)
    return math.inf if turn_deg < GENTLE_TURN_DEG else TURN_MPS * 90.0 / max(60.0, turn_deg)
