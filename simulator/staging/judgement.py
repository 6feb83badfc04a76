"""All oracles of a run together: what they are told, what they found, and the verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from msgspec.structs import astuple

from simulator.counts.findings import Findings, Kind
from simulator.counts.latency import Latencies
from simulator.dispatch.dispatch import CONFIRM_MS
from simulator.dispatch.trip_answers import Nearby
from simulator.oracle.nearby import NearbyOracle, count_tenths
from simulator.oracle.nearby_answers import Asked, judge_answer
from simulator.oracle.pings import PingOracle
from simulator.oracle.promises import Figures, Promises, Verdict, judge
from simulator.oracle.trips import TripOracle, TripPromises
from simulator.results.recorder import POSITION_ERROR, STALENESS, Recorder
from simulator.riders.crowd import Crowd
from simulator.riders.seat import Seat
from simulator.riders.view import SeenCar
from simulator.scenarios.bounds import Bounds
from simulator.staging.town import Town

#: Who asks for the cars nearby.
DISPATCH = "dispatch"
#: Until then nobody is judged: riders come, and what they see settles.
SETTLES_S = 12.0


class Judgement:
    """Of one run, within these bounds."""

    def __init__(self, town: Town, bounds: Bounds, promises: Promises) -> None:
        self._town, self._truth, self._bounds = town, town.truth, bounds
        self._settle_ms = promises.settle_ms
        self.findings = Findings()
        self.nearby = NearbyOracle(town.truth, self.findings, promises)
        of_trips = TripPromises(settle_ms=promises.settle_ms, sweep_ms=promises.sweep_ms)
        self.trips = TripOracle(town.truth, self.findings, of_trips)
        self.pings = PingOracle(self.findings)

    def judged(self, driver_id: str, fix_time_ms: int, reason: str | None, at_ms: int) -> None:
        """Ingest's verdict on a ping."""
        self._truth.judged(self._truth.number[driver_id], fix_time_ms, reason, at_ms)
        self.pings.judged(driver_id, fix_time_ms, reason, at_ms)

    def amiss(self, rider_id: str, driver_id: str | None, at_ms: int) -> None:
        """Nearby did not show dispatch the nearest driver, or (None) did not answer in time."""
        if driver_id is None:
            self.findings.note(Kind.LATENCY, at_ms, rider_id, "", why="GET /v1/nearby was not answered within 2 s")
        else:
            # Dispatch knows where it is; riders need not yet, where ingest took its first fix only at another try.
            asked_ms = at_ms - CONFIRM_MS - self._settle_ms
            if not self._truth.settled_fix(self._truth.number[driver_id], asked_ms).fix_time_ms:
                return
            why = "the nearest driver is not in the answer of GET /v1/nearby"
            self.findings.note(Kind.MISSING, at_ms, rider_id, driver_id, why=why)

    def answered(self, asked: Asked, answer: Nearby, at_ms: int) -> None:
        """Dispatch was told of the cars nearby."""
        judge_answer(asked, answer, partial(self._note, at_ms))
        seat = Seat(DISPATCH, *asked.place, asked.radius_m, asked.limit)
        for car in answer.cars:
            self.nearby.told(seat, SeenCar(*astuple(car)), answer.server_time_ms, at_ms)

    def sweep(self, seats: Sequence[Seat], now_ms: Callable[[], int], recorder: Recorder) -> Iterator[None]:
        """Look at all that riders are shown now, a part of the screens for each turn that is asked for."""
        for seen in self.nearby.looks(seats, now_ms):
            # One by one it would hold up the riders' sockets: a hundred screens show two thousand cars.
            for name, values in ((POSITION_ERROR, seen.position_error_m), (STALENESS, seen.age_ms)):
                counted = Latencies()
                count_tenths(counted, values.astype(np.float64))
                recorder.spread(name, counted, now_ms())
            yield
        self.trips.sweep(now_ms())

    def crowd_ended(self, crowd: Crowd, at_ms: int) -> None:
        """These could not come back, or were told not to."""
        for why in crowd.lost:
            self.findings.note(Kind.RIDER_LOST, at_ms, "map", "", why=why)

    def verdicts(self, crowd: Crowd | None, elapsed_s: float, stopped: bool = False) -> list[Verdict]:
        """As of so long after the start, when somebody `stopped` it or it goes on to its end."""
        watched, trips = crowd is not None, self.trips
        return judge(
            self._bounds,
            self.findings,
            Figures(
                latency_p99_ms=crowd.latency_ms.percentile(99) if crowd is not None else None,
                position_error_p99_m=self.nearby.position_error_m.percentile(99) if watched else None,
                screens_judged=self.nearby.screens_judged if watched else None,
                screens_least=0 if crowd is None else least_screens(len(crowd.seats), elapsed_s),
                stopped=stopped,
                trip_position_error_p99_m=trips.position_error_m.percentile(99),
                eta_error_p90_s=trips.eta_error_s.percentile(90),
                # Until the end, and when somebody stopped the run, trips are still to be judged.
                trips_judged=trips.judged if trips.is_over and self._requested() else None,
                trips_least=least_trips(trips.opened),
                farthest=self.nearby.farthest,
                slowest=None if crowd is None else crowd.slowest,
            ),
        )

    def _note(self, at_ms: int, kind: Kind, driver_id: str, **evidence: object) -> None:
        self.findings.note(kind, at_ms, DISPATCH, driver_id, **evidence)

    def _requested(self) -> int:
        return 0 if self._town.dispatch is None else self._town.dispatch.requested


def least_trips(begun: int) -> int:
    """How many trips must have been judged at least: a quarter of those that were begun, and one where any was asked
    for. All of them are judged, those too that are canceled at the end; but for those that failed, which is told."""
    return max(1, begun // 4)


def least_screens(riders: int, elapsed_s: float) -> int:
    """How many screens must have been judged for the rest to mean something: a quarter of what all riders together
    would give, looked at once a second, after they had time to settle. In a storm half of them may be away."""
    return max(1, round(riders * max(0.0, elapsed_s - SETTLES_S) / 4))
