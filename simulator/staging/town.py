"""The town of a run: cars, phones, truth and dispatch, played in scenario time. No clock, no I/O.

What is posted depends on the scenario and its seed alone, however the time is cut: everything happens at moments that
the parts name themselves, one after the other. Times are epoch ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from simulator.demand.recorded import Recorded
from simulator.demand.requests import Requests
from simulator.dispatch.dispatch import Amiss, Dispatch, Errands
from simulator.dispatch.supply import Supply
from simulator.fleet.fleet import Fleet
from simulator.oracle.truth import Truth
from simulator.phones.faults import faults_of
from simulator.phones.phones import Phones, Sending
from simulator.roads.network import RoadNetwork
from simulator.scenarios.scenario import Scenario

#: Nobody needs dispatch more often to look for arrivals, and a request not to wait for it longer.
TICK_MS = 500


def requests_of(scenario: Scenario, roads: RoadNetwork, recorded: Sequence[Recorded]) -> Requests | None:
    """The requests of a run on these roads; None where nobody wants to go anywhere. Raises RequestsError."""
    if scenario.demand is None:
        return None
    random = Random(f"{scenario.seed}/demand")  # noqa: S311 - a simulation must repeat
    return Requests(scenario.demand, roads, random, scenario.duration_s, recorded)


class Town:
    """Tell it when it begins, give it a dispatch if the scenario has a demand, and play it with `advance`."""

    def __init__(self, scenario: Scenario, roads: RoadNetwork) -> None:
        self._scenario, self._roads = scenario, roads
        plan = scenario.fleet
        self.fleet = Fleet(
            roads,
            plan.drivers,
            Random(f"{scenario.seed}/fleet"),  # noqa: S311 - a simulation must repeat
            plan.interval_ms,
            plan.standing_interval_ms,
            {str(kind): share for kind, share in plan.vehicles.items()},
            # Two scenarios with one seed may play on one system, and must not share drivers.
            f"sim-{_plain(scenario.name)}",
        )
        self.truth = Truth([driver.driver_id for driver in self.fleet.drivers])
        self.dispatch: Dispatch | None = None

    def begin(self, start_ms: int) -> None:
        """The run begins at `start_ms`. Raises ValueError when a fault cannot be."""
        scenario = self._scenario
        self.start_ms = start_ms
        self.fleet.begin(start_ms)
        faults = faults_of(scenario.faults, scenario.seed, scenario.fleet.drivers, start_ms)
        self.phones = Phones(faults, start_ms)
        self._next_tick_ms = start_ms
        self.now_ms = start_ms - 1

    def serve(self, errands: Errands, run: str, recorded: Sequence[Recorded], amiss: Amiss = lambda *_: None) -> None:
        """Answer the scenario's demand, if it has one. `run` begins the ids of its trips. Raises RequestsError."""
        demand, seed = self._scenario.demand, self._scenario.seed
        requests = requests_of(self._scenario, self._roads, recorded)
        if demand is None or requests is None:
            return
        self.dispatch = Dispatch(
            errands,
            self.fleet,
            Supply(self.truth, self.phones.on_air),
            requests,
            self._roads.positions,
            Random(f"{seed}/dispatch"),  # noqa: S311
            run,
            self.start_ms,
            round(demand.patience_s * 1_000),
            (round(demand.boarding_s[0] * 1_000), round(demand.boarding_s[1] * 1_000)),
            amiss,
        )

    @property
    def next_due_ms(self) -> int:
        """The next moment at which something happens."""
        dues = [self.fleet.next_due_ms, self.phones.next_due_ms]
        if self.dispatch is not None:
            dues += [self._next_tick_ms, self.dispatch.next_due_ms]
        return max(self.now_ms + 1, min(due for due in dues if due is not None))

    def advance(self, until_ms: int) -> list[Sending]:
        """Play up to and including `until_ms`: every ping that phones post in that time, in order."""
        sendings: list[Sending] = []
        while (moment_ms := self.next_due_ms) <= until_ms:
            sendings += self._play(moment_ms)
        return sendings

    def _play(self, moment_ms: int) -> Iterable[Sending]:
        reports = self.fleet.reports_until(moment_ms)
        for report in reports:
            self.truth.moved(report.driver, report.fix.fix_time_ms, report.true_lat, report.true_lon)
        self.phones.read(reports)
        sendings = self.phones.due(moment_ms)
        for sending in sendings:
            self.truth.sent(sending, sending.send_at_ms)
        if self.dispatch is not None:
            self.dispatch.tick(moment_ms)
            while self._next_tick_ms <= moment_ms:
                self._next_tick_ms += TICK_MS
        self.now_ms = moment_ms
        return sendings


def _plain(name: str) -> str:
    """What ingest takes in a driver's id (docs/wire/pings.md), and not too long for one."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)[:24]
