"""One trip's way from stop to stop: what was told of its progress, its ETAs, and what stream found at its stops. Pure.

`asked` and `answered` bring the trip's states and when they were said; the rules are those of trip_progress.py and
trip_arrivals.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.counts.findings import Kind
from simulator.counts.latency import Latencies
from simulator.dispatch.rides import (
    ARRIVED_AT_PICKUP,
    COMPLETE,
    DROPOFF,
    ENDED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    PICKUP,
    Ride,
)
from simulator.dispatch.trip_answers import TripEvent
from simulator.oracle.sphere import distance_m
from simulator.oracle.trip_arrivals import ARRIVAL_RADIUS_M, ARRIVED, ROUNDING_M, Visit, judge_found, must_arrive
from simulator.oracle.trip_progress import Leg, judge_progress, place_on_way
from simulator.oracle.truth import Truth
from simulator.oracle.ways import way_of
from simulator.phones.outboxes import Sent
from simulator.riders.trip_view import LIVE, Progress, TripCar

Note = Callable[..., None]
#: Each stop by its name on the wire: its number in the ride, the state in which the car heads there, and the one after.
STOPS = {
    "pickup": (PICKUP, ENROUTE_TO_PICKUP, ARRIVED_AT_PICKUP),
    "dropoff": (DROPOFF, ENROUTE_TO_DROPOFF, COMPLETE),
}
#: A car stands at a stop for less before somebody says so.
STANDS_MS = 120_000


class Journey:
    """Of one ride. `settle_ms` is the grace for news; a fix that is accepted within `fresh_ms` is of now."""

    def __init__(self, ride: Ride, settle_ms: int, fresh_ms: int) -> None:
        self._ride, self._settle_ms, self._fresh_ms = ride, settle_ms, fresh_ms
        self._legs = {
            "pickup": Leg(ride.pickup, way_of(ride.approach)),
            "dropoff": Leg(ride.dropoff, way_of(ride.route)),
        }
        #: By state, epoch ms.
        self._asked_ms: dict[str, int] = {}
        self._answered_ms: dict[str, int] = {}
        #: What was told of fixes that are the car's: the stop, the time of the fix, and when it would get there.
        self._etas: list[tuple[str, int, int]] = []

    def asked(self, state: str, at_ms: int) -> None:
        """Somebody says that the trip is in `state`; there is no answer yet."""
        self._asked_ms.setdefault(state, at_ms)

    def answered(self, state: str, at_ms: int) -> None:
        """Ingest acknowledged that."""
        self._answered_ms.setdefault(state, at_ms)

    def progressed(
        self, progress: Progress, car: TripCar, sent: Sent | None, at_ms: int, note: Note
    ) -> tuple[float, float] | None:
        """The rider was told this of `car`, by the server at `at_ms`; `sent` is what its phone sent.

        Returns where that puts the car on its way; None where nobody can say.
        """
        name = progress.leg
        leg = self._legs.get(name)
        if leg is not None:
            self._judge_leg(name, at_ms, note)
        elif name:
            note(Kind.WIRE, what="heads for a stop that the trip does not have")
        judge_progress(progress, car, leg, note)
        if leg is None or sent is None or not sent.honest or car.freshness != LIVE:
            return None
        if progress.eta_ms is not None and STOPS[name][1] in self._asked_ms:
            self._etas.append((name, car.fix_time_ms, progress.eta_ms))
        return place_on_way(progress, leg)

    def end(
        self, events: Sequence[TripEvent], truth: Truth, driver: int, since_ms: int, eta_error_s: Latencies, note: Note
    ) -> None:
        """The trip is over. `events` are its log; truth knows what was sent since `since_ms`."""
        stops = {name: leg.stop for name, leg in self._legs.items()}
        judge_found(events, stops, lambda fix_time_ms: truth.was_sent(driver, fix_time_ms), since_ms, note)
        found = {event.place for event in events if event.type == ARRIVED}
        for visit in self._visits(since_ms):
            if visit.place in found:
                continue
            from_ms = max(visit.heading_ms, visit.leaving_ms - STANDS_MS)
            sent = truth.sent_between(driver, from_ms, visit.leaving_ms)
            fixes = must_arrive(visit, stops[visit.place], sent, self._settle_ms, self._fresh_ms)
            if fixes:
                what = "stood at a stop, and was never found to have arrived"
                times = {"first_fix_ms": fixes[0][0], "last_fix_ms": fixes[-1][0], "fixes": len(fixes)}
                note(Kind.TRIP_EVENT_LOST, what=what, place=visit.place, **times)
        for name, fix_time_ms, eta_ms in self._etas:
            stood_ms = self._ride.stood_ms.get(STOPS[name][0])
            if stood_ms is not None and fix_time_ms < stood_ms:
                eta_error_s.add(abs(eta_ms - stood_ms) / 1_000)

    def _judge_leg(self, name: str, at_ms: int, note: Note) -> None:
        _, heading, after = STOPS[name]
        left_ms = self._answered_ms.get(after)
        if left_ms is not None and at_ms > left_ms + self._settle_ms:
            note(Kind.WIRE, what="heads for a stop where it has been", late_ms=at_ms - left_ms)
        # A driver may be on its way to the pickup before it says so; nobody boards before.
        if heading != ENROUTE_TO_PICKUP and heading not in self._asked_ms:
            note(Kind.WIRE, what="heads for a stop before anybody said so")

    def _visits(self, since_ms: int) -> list[Visit]:
        """The stops that the car was on its way to, as far back as is known; and that are not where it came from."""
        visits = []
        ends_ms = [self._asked_ms[state] for state in ENDED if state in self._asked_ms]
        for name, (_, heading, after) in STOPS.items():
            heading_ms = self._answered_ms.get(heading)
            leaving_ms = min([*ends_ms, *([self._asked_ms[after]] if after in self._asked_ms else [])], default=0)
            if heading_ms is not None and max(heading_ms, since_ms) < leaving_ms:
                visits.append(Visit(name, max(heading_ms, since_ms), leaving_ms))
        pickup, dropoff = self._ride.pickup, self._ride.dropoff
        round_trip = distance_m(*pickup, *dropoff) <= ARRIVAL_RADIUS_M + ROUNDING_M
        return [visit for visit in visits if visit.place == "pickup" or not round_trip]
