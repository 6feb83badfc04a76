"""One car on its plan: where it is after a while, and from where it could take up another. No clock."""

from __future__ import annotations

from simulator.fleet.kinematics import Phase, braking_m
from simulator.fleet.plans import Plan, Start
from simulator.roads.network import RoadNetwork


class Car:
    """Where one car is on its plan. `done` once it stood at its destination for the planned time."""

    __slots__ = ("_at_s", "_index", "_phases", "_plan", "_roads", "heading_deg", "offset_m", "pace", "speed_mps")

    def __init__(self, roads: RoadNetwork, node: int, pace: float) -> None:
        """A car that stands at `node`, without a plan."""
        self._roads, self.pace = roads, pace
        #: The way the car faces; one that stands faces as it came.
        self.heading_deg = 0.0
        self.drive(Plan(node, 0.0, [], [], 0.0))

    def drive(self, plan: Plan) -> None:
        """Start on a new plan, which begins where the car is. Who stands turns into the first link as it sets off."""
        self._plan, self._at_s = plan, 0.0
        self._index = 0 if plan.on_the_way else -1
        self._phases: list[Phase] = []
        self._look()

    def advance(self, elapsed_s: float) -> float:
        """Let time pass. Returns how much of `elapsed_s` is left once the plan is done, else 0."""
        self._at_s += elapsed_s
        left_s = max(0.0, self._at_s - self._plan.end_s)
        self._at_s -= left_s
        self._look()
        return left_s

    @property
    def done(self) -> bool:
        return self._at_s >= self._plan.end_s

    @property
    def node(self) -> int:
        """The node where the car stands, or that it passed last."""
        if self._index < 0:
            return self._plan.node
        leg = self._plan.legs[self._index]
        return leg.link.to_node if self._at_s >= leg.end_s else leg.link.from_node

    @property
    def position(self) -> tuple[float, float]:
        """True (lat, lon): on the road."""
        if self._index < 0:
            return self._roads.positions[self._plan.node]
        return self._roads.along(self._plan.legs[self._index].number, self.offset_m)

    @property
    def ahead(self) -> list[int]:
        """The nodes that the plan still comes to."""
        return [leg.link.to_node for leg in self._plan.legs[max(0, self._index) :] if leg.end_s > self._at_s]

    def restart(self) -> Start:
        """From where another plan can begin: the car goes on to the first crossing where it can still stand.

        It waits for the end of a red light, but leaves a halt at once.
        """
        legs = self._plan.legs
        if self._index < 0:
            return Start(self._plan.node, max(0.0, self._plan.held_s - self._at_s))
        leg = legs[self._index]
        if self._at_s >= leg.end_s:
            return Start(leg.link.to_node, 0.0 if leg.halts else leg.leave_s - self._at_s)
        last, ahead_m = self._index, leg.link.length_m - self.offset_m
        while ahead_m < braking_m(self.speed_mps) and last + 1 < len(legs):
            last += 1
            ahead_m += legs[last].link.length_m
        kept = legs[self._index : last + 1]
        links, limits = tuple(each.number for each in kept), tuple(each.limit_mps for each in kept)
        return Start(kept[-1].link.to_node, 0.0, links, limits, self.offset_m, self.speed_mps)

    def _look(self) -> None:
        """Where is the car by now, and how fast?"""
        legs = self._plan.legs
        while self._index + 1 < len(legs) and self._at_s > legs[self._index + 1].enter_s:
            self._index += 1
            self._phases = []
        self.offset_m = self.speed_mps = 0.0
        if self._index < 0:
            return
        leg = legs[self._index]
        self.heading_deg = leg.link.heading_deg
        if self._at_s > leg.end_s:
            self.offset_m = leg.link.length_m
            return
        if not self._phases:
            self._phases = leg.phases
        self.offset_m, self.speed_mps, elapsed_s = leg.offset_m, leg.enter_mps, self._at_s - leg.enter_s
        for phase in self._phases:
            phase_s = min(elapsed_s, phase.duration_s)
            self.offset_m += phase.moved_m(phase_s)
            self.speed_mps = phase.speed_mps(phase_s)
            elapsed_s -= phase_s
            if elapsed_s <= 0.0:
                break
