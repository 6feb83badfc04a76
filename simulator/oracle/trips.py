"""What riders of trips were shown, against the truth: the car while it drives, the log and the track at the end. Pure.

Judged is only what a rider was connected and reading for (`TripView.settled_since_ms`), and what time alone brings with
`settle_ms` of grace. What a view notes by itself (a gap, a car that goes back) is not judged again here.

    told     each position: the fix was sent, was accepted, is the car's, and is as the phone said; and its progress
    sweep    once a second: shown as live and old; accepted and not shown; shown after the end; off by a newer fix;
             events that are not told yet, or were told late (trip_news.py); position errors
    judge    at the end: events lost, doubled, out of order, false; the track's fixes lost and doubled

A position's error is taken once a second, from what is shown as live to where the car is, so it holds the way driven
since the fix. That is known a little later, so it is reckoned `REPORTED_MS` afterwards. After a second in which the
simulator itself stood still nothing is held against anybody until `settle_ms` have gone by: its riders did not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import h3

from simulator.counts.findings import Findings, Kind
from simulator.counts.latency import Latencies
from simulator.dispatch.rides import CANCELED, COMPLETE, ENDED, ENROUTE_TO_PICKUP, NEW, Ride
from simulator.dispatch.trip_answers import Ledger, Log, Track, TripEvent
from simulator.oracle.attributes import altered
from simulator.oracle.journeys import Journey
from simulator.oracle.trip_logs import judge_log, judge_promises
from simulator.oracle.trip_news import EventsDue, Late, newer_fix
from simulator.oracle.trip_tracks import SAME_DEG, Span, judge_track
from simulator.oracle.truth import TRACK_KEPT_S, Truth
from simulator.phones.outboxes import Sent
from simulator.riders.trip_view import LIVE, NO_CAR, News, Progress, TripCar, TripView

#: By then the phone has reported again, standing or not, so that truth knows both ends of the way.
REPORTED_MS = 6_000


@dataclass(frozen=True, slots=True)
class TripPromises:
    """What the trip channel promises, with push's default settings, and the grace it is given."""

    stale_after_ms: int = 15_000
    settle_ms: int = 3_000
    #: As on the map (promises.py): a car this far from where a newer fix has it is shown off; and is not there at all.
    margin_m: float = 15.0
    ghost_error_m: float = 100.0
    #: How often the oracle looks.
    sweep_ms: int = 1_000


@dataclass(slots=True)
class _Case:
    """One trip. Times are epoch ms, 0 until it has happened."""

    view: TripView
    driver: int
    driver_id: str
    journey: Journey
    due: EventsDue
    history: Sequence[TripEvent] = ()
    #: The driver was acknowledged to be on the way; somebody asked to end it; that was acknowledged.
    under_way_ms: int = 0
    ending_ms: int = 0
    ended_ms: int = 0
    #: Its rider is there to be told.
    is_watched: bool = True
    #: What is wrong now and was noted: it counts once for as long as it lasts.
    wrong: set[Kind] = field(default_factory=set)


class TripOracle:
    """All trips of a run. `at_ms` is always the time of what is told, epoch ms."""

    def __init__(self, truth: Truth, findings: Findings, promises: TripPromises | None = None) -> None:
        self._truth, self._findings, self._promises = truth, findings, promises or TripPromises()
        self._cases: dict[str, _Case] = {}
        #: Where cars are, as it was shown or told: (when that was, driver, the time it is of, place, what to count in).
        self._places: deque[tuple[int, int, int, tuple[float, float], Latencies]] = deque()
        #: Found by stream, and told: judged by the next sweep, which knows whether the simulator stood still meanwhile.
        self._found: deque[tuple[_Case, Late]] = deque()
        self._swept_ms = self._stood_ms = 0
        #: Metres, of cars shown as live; and ms from the moment something was said until the rider was told.
        self.position_error_m, self.event_ms = Latencies(), Latencies()
        #: Metres from where a car was on its way, so what remained of it, to where it was when the fix was taken; and
        #: seconds from each ETA of a stop to when the car came to stand there.
        self.way_error_m, self.eta_error_s = Latencies(), Latencies()
        #: Trips that were begun, and whether the run is over, and all of them were waited for.
        self.opened, self.is_over = 0, False
        #: Trips judged to the end, events that their riders know, and fixes that were looked for in their tracks.
        self.judged = self.events = self.fixes = 0

    # -- while it runs ----------------------------------------------------------------------------------------------

    def open(self, ride: Ride, view: TripView) -> None:
        """A trip is about to be made, its ways are known, and somebody will watch it."""
        promises, driver = self._promises, self._truth.number[ride.driver_id]
        due = EventsDue(promises.settle_ms)
        journey = Journey(ride, promises.settle_ms, promises.stale_after_ms - promises.settle_ms)
        self._cases[ride.trip_id] = _Case(view, driver, ride.driver_id, journey, due)
        self.opened += 1

    def asked(self, trip_id: str, state: str, at_ms: int) -> None:
        """Somebody says that the trip is in `state`; there is no answer yet."""
        self._cases[trip_id].journey.asked(state, at_ms)
        if state in ENDED:
            self._cases[trip_id].ending_ms = at_ms

    def answered(self, trip: Ledger, state: str, at_ms: int) -> None:
        """Ingest acknowledged that the trip is in `state`, and told it so."""
        case = self._cases[trip.trip_id]
        judge_promises(case.history, trip.history, partial(self._note, case, at_ms))
        case.history = trip.history
        case.due.said(trip.history, at_ms)
        case.journey.answered(state, at_ms)
        if state == ENROUTE_TO_PICKUP:
            case.under_way_ms = at_ms
        elif state in ENDED:
            case.ended_ms = at_ms

    def failed(self, trip_id: str, state: str, why: str, at_ms: int) -> None:
        """The trip could not be taken to `state`."""
        self._note(self._cases[trip_id], at_ms, Kind.TRIP_FAILED, what="could not be said", state=state, why=why)

    def lost(self, trip_id: str, why: str, at_ms: int) -> None:
        """Its rider could not come back, or was told not to."""
        case = self._cases[trip_id]
        case.is_watched = False
        self._note(case, at_ms, Kind.RIDER_LOST, what="a rider of a trip is lost", why=why)

    def told(self, view: TripView, news: News, at_ms: int) -> None:
        """A message was taken in by the view at `at_ms`, and this is new in it."""
        case = self._cases[view.trip_id]
        for event in news.events:
            # Only who was there when it was said tells how long that takes.
            if event.by and view.settled_since_ms is not None and view.settled_since_ms < event.at_ms:
                self.event_ms.add(at_ms - event.at_ms)
            elif not event.by and view.settled_since_ms is not None:
                fix = self._truth.was_sent(case.driver, event.at_ms)
                if fix is not None and fix.judged_ms is not None:
                    self._found.append((case, Late(event, fix.judged_ms, view.settled_since_ms, at_ms)))
        if news.car is not None:
            self._judge_car(case, news.car, at_ms)
            if news.progress is None:
                self._note(case, at_ms, Kind.WIRE, what="a position without progress", fix_time_ms=news.car.fix_time_ms)
        if news.progress is not None and view.car is not None:
            self._judge_progress(case, news.progress, view.car, at_ms)

    def sweep(self, now_ms: int) -> None:
        """Look at what all riders are shown now."""
        settle_ms = self._promises.settle_ms
        if self._swept_ms and now_ms - self._swept_ms > self._promises.sweep_ms + settle_ms // 2:
            self._stood_ms = now_ms
        self._swept_ms = now_ms
        while self._found:
            found_case, late = self._found.popleft()
            if late.by_ms(self._stood_ms) > settle_ms:
                self._late(found_case, late, now_ms)
        while self._places and self._places[0][0] <= now_ms - REPORTED_MS:
            _, driver, of_ms, place, errors = self._places.popleft()
            here = self._truth.where(driver, of_ms)
            if here is not None:
                errors.add(h3.great_circle_distance(here, place, unit="m"))
        for case in self._cases.values():
            since_ms = case.view.settled_since_ms
            if since_ms is not None and max(since_ms, self._stood_ms) <= now_ms - settle_ms:
                self._look(case, now_ms)
                for late in case.due.late(case.view.events, max(since_ms, self._stood_ms), now_ms):
                    self._late(case, late, now_ms)

    # -- at the end -------------------------------------------------------------------------------------------------

    def judge(self, trip_id: str, ledger: Ledger | None, log: Log | None, track: Track | None, at_ms: int) -> None:
        """The trip is over, and this is what ingest and push say of it at `at_ms`; None: they did not answer."""
        case = self._cases.pop(trip_id)
        note = partial(self._note, case, at_ms)
        history = case.history
        if ledger is not None:
            judge_promises(history, ledger.history, note)
            history = ledger.history
        if history and case.is_watched:
            judge_log(history, case.view.events, None if log is None else log.events, note)
        if log is not None or case.is_watched:
            events = case.view.events if log is None else log.events
            since_ms = at_ms - (TRACK_KEPT_S * 1_000 - REPORTED_MS)
            case.journey.end(events, self._truth, case.driver, since_ms, self.eta_error_s, note)
        self.judged += 1
        self.events += len(case.view.events)
        span = self._span(case, at_ms)
        if span is not None and track is not None:
            if track.driver_id != case.driver_id:
                note(Kind.GHOST, what="the track is another driver's", shown=track.driver_id)
            else:
                sent = self._truth.sent_between(case.driver, span.from_ms, span.until_ms)
                self.fixes += judge_track(span, sent, track, note)

    def forget(self, trip_id: str) -> None:
        """Nothing more can be known of it: it failed, or the run was stopped."""
        self._cases.pop(trip_id, None)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _span(self, case: _Case, at_ms: int) -> Span | None:
        """What of the trip is judged: only as far back as truth knows what was sent. None: nothing."""
        settle_ms = self._promises.settle_ms
        from_ms = max(case.under_way_ms + settle_ms, at_ms - (TRACK_KEPT_S * 1_000 - REPORTED_MS))
        until_ms = case.ending_ms - settle_ms
        if not case.under_way_ms or not case.ending_ms or until_ms <= from_ms:
            return None
        return Span(from_ms, until_ms, at_ms - settle_ms)

    def _judge_car(self, case: _Case, car: TripCar, at_ms: int) -> None:
        if car.driver_id != case.driver_id:
            return
        sent = self._truth.was_sent(case.driver, car.fix_time_ms)
        note = partial(self._note, case, at_ms, fix_time_ms=car.fix_time_ms, shown=(car.lat, car.lon))
        if sent is None:
            if car.fix_time_ms > at_ms - TRACK_KEPT_S * 1_000 + REPORTED_MS:
                note(Kind.GHOST, what="shown at a fix that was never sent")
        elif sent.reason is not None:
            note(Kind.GHOST, what="shown at a rejected fix", reason=sent.reason)
        elif not sent.honest and sent.expect != "shown":
            note(Kind.GHOST, what="shown at a fix that is not the car's")
        elif sent.honest and (abs(car.lat - sent.lat) > SAME_DEG or abs(car.lon - sent.lon) > SAME_DEG):
            note(Kind.POSITION_ERROR, what="shown at another place than was sent", sent=(sent.lat, sent.lon))
        elif sent.expect == "shown" and (changed := altered(sent, car)):
            note(Kind.FIX_ALTERED, what="not what its phone said", **changed)

    def _judge_progress(self, case: _Case, progress: Progress, car: TripCar, at_ms: int) -> None:
        note = partial(self._note, case, at_ms, fix_time_ms=car.fix_time_ms, leg=progress.leg)
        sent = self._truth.was_sent(case.driver, car.fix_time_ms) if car.driver_id == case.driver_id else None
        place = case.journey.progressed(progress, car, sent, case.view.server_time_ms, note)
        if place is not None:
            self._places.append((at_ms, case.driver, car.fix_time_ms, place, self.way_error_m))

    def _look(self, case: _Case, now_ms: int) -> None:
        view, settle_ms = case.view, self._promises.settle_ms
        car = view.car
        ended = case.ended_ms and case.ended_ms <= now_ms - settle_ms
        newer = None
        if car is not None and view.freshness == LIVE and case.under_way_ms and not case.ending_ms:
            self._places.append((now_ms, case.driver, now_ms, (car.lat, car.lon), self.position_error_m))
            newer = newer_fix(self._truth, case.driver, car, case.under_way_ms + settle_ms, now_ms - settle_ms)
        off_m, behind = newer or (0.0, {})
        elsewhere = off_m > self._promises.ghost_error_m
        what = "is elsewhere by a newer fix" if elsewhere else "shown after the end of the trip"
        self._lasts(case, Kind.GHOST, elsewhere or bool(ended and car is not None), now_ms, what, **behind)
        off = not elsewhere and off_m > self._promises.margin_m
        self._lasts(case, Kind.POSITION_ERROR, off, now_ms, "is off by a newer fix", **behind)
        age_ms = 0 if car is None else now_ms - car.fix_time_ms
        old = view.freshness == LIVE and car is not None and age_ms > self._promises.stale_after_ms + settle_ms
        self._lasts(
            case, Kind.STALE_AS_LIVE, old, now_ms, "shown as live", age_ms=age_ms, server_ms=view.server_time_ms
        )
        hidden = self._hidden(case, now_ms) if view.freshness != LIVE and not case.ending_ms else None
        accepted_ms = None if hidden is None else hidden[1].judged_ms
        self._lasts(
            case,
            Kind.MISSING,
            hidden is not None,
            now_ms,
            "no car is shown" if view.freshness == NO_CAR else f"the car is shown as {view.freshness}",
            newest_fix_ms=None if hidden is None else hidden[0],
            accepted_ms=accepted_ms,
        )

    def _hidden(self, case: _Case, now_ms: int) -> tuple[int, Sent] | None:
        """A fix of the trip by which its car ought to be shown as live by now."""
        settle_ms = self._promises.settle_ms
        state = case.view.trip.state if case.view.trip is not None else NEW
        if not case.under_way_ms or case.under_way_ms > now_ms - settle_ms or state in (NEW, COMPLETE, CANCELED):
            return None
        fresh_ms = max(case.under_way_ms, now_ms - self._promises.stale_after_ms + settle_ms)
        for fix_time_ms, sent in reversed(self._truth.sent_between(case.driver, fresh_ms, now_ms)):
            settled = sent.judged_ms is not None and sent.judged_ms <= now_ms - settle_ms and sent.reason is None
            if settled and sent.expect == "shown":
                return fix_time_ms, sent
        return None

    def _late(self, case: _Case, late: Late, now_ms: int) -> None:
        what = "not told yet" if late.told_ms is None else "told late"
        self._note(case, now_ms, Kind.TRIP_EVENT_LATE, what=what, **late.evidence(now_ms, self._stood_ms))

    def _lasts(self, case: _Case, kind: Kind, wrong: bool, at_ms: int, what: str, **evidence: object) -> None:
        """Note it when it begins."""
        if not wrong:
            case.wrong.discard(kind)
        elif kind not in case.wrong:
            case.wrong.add(kind)
            self._note(case, at_ms, kind, what=what, **evidence)

    def _note(self, case: _Case, at_ms: int, kind: Kind, **evidence: object) -> None:
        self._findings.note(kind, at_ms, case.view.trip_id, case.driver_id, **evidence)
