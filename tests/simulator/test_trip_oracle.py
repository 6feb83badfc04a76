"""The oracle of trips: it holds nothing against a system that tells the truth late, and finds every lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from simulator.counts.findings import Findings, Kind
from simulator.dispatch.rides import COMPLETE, ENROUTE_TO_PICKUP, NEW, STATES, Place, Ride
from simulator.dispatch.trip_answers import Ledger, Log, Track, TripEvent
from simulator.fleet.fixes import Fix
from simulator.oracle.trip_logs import judge_log, judge_promises
from simulator.oracle.trip_tracks import Span, judge_track
from simulator.oracle.trips import REPORTED_MS, TripOracle, TripPromises
from simulator.oracle.truth import Truth
from simulator.phones.outboxes import Sent
from simulator.phones.phones import Sending
from simulator.riders.trip_view import (
    SUB,
    News,
    Progress,
    ShownTrip,
    TripCar,
    TripEvents,
    TripFreshness,
    TripPosition,
    TripSnapshot,
    TripView,
)

AT_MS = 1_767_225_600_000
#: About a metre.
METRE_DEG = 9e-6
HERE, THERE = Place(40.76, -73.99), Place(40.77, -73.98)


def event(event_id: str, offset: int = 0, state: str = NEW, **more: Any) -> TripEvent:
    type_ = "trip.state_changed" if event_id.startswith("v") else "trip.arrived"
    return TripEvent(event_id, more.pop("type", type_), AT_MS, state, "d-1", 1, offset, **more)


def history(versions: int) -> list[TripEvent]:
    return [event(f"v{number + 1}", state=STATES[number]) for number in range(versions)]


class Notes(list[tuple[Kind, dict[str, object]]]):
    def __call__(self, kind: Kind, **evidence: object) -> None:
        self.append((kind, evidence))

    @property
    def kinds(self) -> Counter[Kind]:
        return Counter(kind for kind, _ in self)


# -- logs -----------------------------------------------------------------------------------------------------------


def a_log(random: Random) -> tuple[list[TripEvent], list[TripEvent]]:
    """What people said, and the log in which what stream found stands between."""
    said = history(random.randint(1, 5))
    ids = [one.event_id for one in said]
    for number in range(random.randrange(4)):
        ids.insert(random.randint(1, len(ids)), f"a1:zone:{number}")
    by_id = {one.event_id: one for one in said}
    log = [replace(by_id.get(id_, event(id_, type="geofence.entered")), offset=at + 1) for at, id_ in enumerate(ids)]
    return said, log


def judged(said: Sequence[TripEvent], told: Sequence[TripEvent], kept: Sequence[TripEvent] | None) -> Notes:
    notes = Notes()
    judge_log(said, told, kept, notes)
    return notes


@given(seed=st.integers(0, 10**9))
def test_a_log_that_was_told_as_it_is_is_not_held_against_anybody(seed: int) -> None:
    said, log = a_log(Random(seed))
    assert judged(said, log, log) == []
    assert judged(said, log, None) == []
    assert judged(said, log, log[-2:]) == [], "push keeps only the last events of a long log"


@settings(max_examples=200)
@given(seed=st.integers(0, 10**9))
def test_each_event_that_is_left_out_is_lost_and_each_that_moves_is_out_of_order(seed: int) -> None:
    random = Random(seed)
    said, log = a_log(random)
    at = random.randrange(len(log))
    notes = judged(said, log[:at] + log[at + 1 :], log)
    assert notes.kinds == {Kind.TRIP_EVENT_LOST: 1}
    assert notes[0][1]["event"] == log[at].event_id
    if len(log) > 1:
        first, second = sorted(random.sample(range(len(log)), 2))
        swapped = list(log)
        swapped[first], swapped[second] = log[second], log[first]
        assert judged(said, swapped, log).kinds.keys() == {Kind.TRIP_EVENT_OUT_OF_ORDER}


def test_an_event_that_nobody_said_or_found_is_made_up() -> None:
    said = history(2)
    assert judged(said, [*said, event("v3", state=COMPLETE)], None).kinds == {Kind.WIRE: 1}
    assert judged(said, [*said, event("a1:x", 3)], said).kinds == {Kind.WIRE: 1}
    assert judged(said, [said[0], replace(said[1], state=COMPLETE)], None).kinds == {Kind.WIRE: 1}


def test_a_car_arrives_once_at_each_place() -> None:
    said = history(1)
    arrivals = [event("a1:one", place="pickup"), event("a1:two", place="pickup"), event("a1:three", place="dropoff")]
    assert judged(said, said + arrivals, None).kinds == {Kind.TRIP_EVENT_DOUBLED: 1}


def test_what_was_acknowledged_stays() -> None:
    notes = Notes()
    judge_promises(history(2), history(3), notes)
    assert notes == []
    judge_promises(history(3), history(2), notes)
    assert notes.kinds == {Kind.TRIP_EVENT_LOST: 1}


# -- tracks ---------------------------------------------------------------------------------------------------------

SPAN = Span(AT_MS, AT_MS + 60_000, AT_MS + 90_000)


def a_fix(random: Random, at_ms: int) -> Sent:
    """Of any fate: accepted early or late, rejected, not judged yet, or not honest."""
    judged_ms = random.choice([at_ms + 50, at_ms + 40_000, SPAN.accepted_by_ms + 1, None])
    reason = random.choice([None, None, None, "low_accuracy"]) if judged_ms is not None else None
    honest = random.random() < 0.9
    lat = 40.75 + random.random() * 0.01
    expect = "shown" if honest or random.random() < 0.5 else "kept"
    return Sent(lat, -73.99, honest, expect, at_ms, judged_ms, reason)


def a_track(sent: Sequence[tuple[int, Sent]]) -> Track:
    """As the system owes it: all that was accepted, in order of time."""
    accepted = [(at_ms, fix.lat, fix.lon) for at_ms, fix in sent if fix.judged_ms is not None and fix.reason is None]
    return Track("d-1", accepted)


def sendings(random: Random) -> list[tuple[int, Sent]]:
    times = sorted(random.sample(range(SPAN.from_ms, SPAN.until_ms), 30))
    return [(at_ms, a_fix(random, at_ms)) for at_ms in times]


@given(seed=st.integers(0, 10**9))
def test_a_track_with_every_accepted_fix_is_whole_and_what_came_too_late_may_be_missing(seed: int) -> None:
    random, notes = Random(seed), Notes()
    sent = sendings(random)
    track = a_track(sent)
    looked_for = judge_track(SPAN, sent, track, notes)
    late = {at_ms for at_ms, fix in sent if (fix.judged_ms or 0) > SPAN.accepted_by_ms}
    judge_track(SPAN, sent, Track("d-1", [fix for fix in track.fixes if fix[0] not in late]), notes)
    before_and_after = [(AT_MS - 5, 1.0, 1.0), *track.fixes, (SPAN.until_ms + 5, 1.0, 1.0)]
    judge_track(SPAN, sent, Track("d-1", before_and_after), notes)
    assert notes == []
    assert looked_for == len(track.fixes) - len(late & {at_ms for at_ms, *_ in track.fixes})


@given(seed=st.integers(0, 10**9))
def test_each_fix_that_a_track_lacks_or_repeats_or_made_up_is_found(seed: int) -> None:
    random = Random(seed)
    sent = sendings(random)
    track = a_track(sent)
    owed = [
        at for at, (at_ms, *_) in enumerate(track.fixes) if (dict(sent)[at_ms].judged_ms or 0) <= SPAN.accepted_by_ms
    ]
    if not owed:
        return
    at = random.choice(owed)
    fixes, (at_ms, lat, lon) = track.fixes, track.fixes[at]

    def kinds(changed: list[tuple[int, float, float]]) -> Counter[Kind]:
        notes = Notes()
        judge_track(SPAN, sent, Track("d-1", changed), notes)
        return notes.kinds

    assert kinds(fixes[:at] + fixes[at + 1 :]) == {Kind.PING_LOST: 1}
    assert kinds(fixes[: at + 1] + fixes[at:]) == {Kind.PING_DOUBLED: 1}
    assert kinds([*fixes, (AT_MS - 1, lat, lon)]) == {Kind.BACKWARDS: 1}
    fix = dict(sent)[at_ms]
    moved = [*fixes[:at], (at_ms, lat + METRE_DEG, lon), *fixes[at + 1 :]]
    assert kinds(moved) == ({Kind.POSITION_ERROR: 1} if fix.honest and fix.expect == "shown" else {})
    unknown_ms = next(time for time in range(at_ms + 1, at_ms + 99) if time not in dict(sent))
    assert kinds(sorted([*fixes, (unknown_ms, lat, lon)]))[Kind.GHOST] == (unknown_ms <= SPAN.until_ms)
    rejected = [(time, one.lat, one.lon) for time, one in sent if one.reason is not None]
    assert kinds(sorted(fixes + rejected[:1]))[Kind.GHOST] == len(rejected[:1])


# -- while it drives ------------------------------------------------------------------------------------------------


class Trip:
    """A trip under way, as ingest answers and a rider is told; time is handed in."""

    def __init__(self) -> None:
        self.truth, self.findings = Truth(["d-0", "d-1"]), Findings()
        self.oracle = TripOracle(self.truth, self.findings, TripPromises(stale_after_ms=15_000, settle_ms=3_000))
        self.view = TripView("t-1", self.findings)
        self.oracle.open(Ride(1, "t-1", "r-1", 1, "d-1", 0, 1, HERE, THERE, AT_MS, 20_000), self.view)
        self.shown = ShownTrip("t-1", 1, NEW, "d-1", 1)
        self.history = [replace(event("v1"), offset=0)]
        self.tell(
            TripSnapshot(SUB, "snapshot", "e", 1, AT_MS, self.shown, "none", [replace(self.history[0], offset=1)])
        )
        self.say(ENROUTE_TO_PICKUP, AT_MS)

    def tell(self, message: TripSnapshot | TripEvents | TripPosition | TripFreshness) -> News:
        news = self.view.take(message, message.server_time_ms)
        self.oracle.told(self.view, news, message.server_time_ms)
        return news

    def say(self, state: str, at_ms: int, tell: bool = True) -> None:
        version = len(self.history) + 1
        self.history.append(replace(event(f"v{version}", state=state, by="dispatch"), at_ms=at_ms))
        self.oracle.asked("t-1", state, at_ms)
        self.oracle.answered(self.ledger, state, at_ms)
        self.shown = replace(self.shown, version=version, state=state)
        if tell:
            news = replace(self.history[-1], offset=version)
            self.tell(TripEvents(SUB, "e", version, at_ms + 20, [news], self.shown))

    @property
    def ledger(self) -> Ledger:
        return Ledger("t-1", len(self.history), self.history[-1].state, "d-1", "r-1", self.history)

    def fix(self, at_ms: int, lat: float = 40.75, reason: str | None = None, **more: Any) -> None:
        """The phone sends, and ingest judges."""
        self.truth.moved(1, at_ms, lat, -73.99)
        said = {"heading_deg": 90.5, "speed_mps": 4.2, "accuracy_m": 6.0, "vehicle_type": "TAXI"}
        fix = Fix(driver_id="d-1", fix_time_ms=at_ms, lat=lat, lon=-73.99, **said)  # type: ignore[arg-type]
        self.truth.sent(Sending(at_ms, 1, fix, more.get("honest", True), more.get("expect", "shown")), at_ms)
        self.truth.judged(1, at_ms, reason, at_ms + 10)

    def drive(self, at_ms: int, fix_time_ms: int | None = None, lat: float = 40.75, **changed: Any) -> None:
        """The rider is told a position."""
        if self.view.freshness != "live":
            self.tell(TripFreshness(SUB, at_ms, "live"))
        car = TripCar("d-1", lat, -73.99, fix_time_ms or at_ms, 0, "live", 90.5, 4.2, 6.0, "TAXI")
        self.tell(TripPosition(SUB, at_ms, replace(car, **changed), Progress("", False, 0.0)))

    @property
    def kinds(self) -> dict[Kind, int]:
        return dict(self.findings.counts)


def test_a_car_that_is_told_as_it_drives_is_not_held_against_anybody_and_its_error_is_measured() -> None:
    trip = Trip()
    for second in range(60):
        at_ms = AT_MS + second * 1_000
        trip.fix(at_ms, 40.75 + second * 5 * METRE_DEG)
        trip.drive(at_ms + 400, at_ms, 40.75 + second * 5 * METRE_DEG)
        trip.oracle.sweep(at_ms + 500)
    assert trip.kinds == {}
    error = trip.oracle.position_error_m.summary()
    assert error["count"] == 60 - (REPORTED_MS + 3_000) // 1_000, "not before the rider has settled"
    assert error["p50"] == pytest.approx(2.5, rel=0.02), "0.5 s at 5 m/s, and no more"


def test_a_position_comes_with_how_far_the_car_has_to_go_and_that_is_judged() -> None:
    trip = Trip()
    trip.fix(AT_MS + 1_000)
    car = TripCar("d-1", 40.75, -73.99, AT_MS + 1_000, 0, "live", 90.5, 4.2, 6.0, "TAXI")
    trip.tell(TripFreshness(SUB, AT_MS + 1_100, "live"))
    trip.tell(TripPosition(SUB, AT_MS + 1_100, car))
    assert trip.kinds == {Kind.WIRE: 1}
    # It is 1,112 m to the pickup, and there is no way; so this is less than the straight line.
    trip.tell(TripPosition(SUB, AT_MS + 1_200, car, Progress("pickup", False, 0.0, 900.0, 100.0, AT_MS + 101_000)))
    assert trip.kinds == {Kind.WIRE: 1, Kind.PROGRESS_ERROR: 1}
    assert trip.findings.first[Kind.PROGRESS_ERROR].evidence["leg"] == "pickup"


def test_an_event_is_timed_from_when_it_was_said() -> None:
    trip = Trip()
    trip.say("ARRIVED_AT_PICKUP", AT_MS + 5_000)
    assert trip.oracle.event_ms.max_ms == 20
    assert trip.oracle.event_ms.count == 1, "what was said before the rider was there is not timed"


def test_a_car_shown_as_live_that_is_old_is_told_once_for_as_long_as_it_lasts() -> None:
    trip = Trip()
    trip.fix(AT_MS)
    trip.drive(AT_MS + 50, AT_MS)
    for second in range(18):
        trip.oracle.sweep(AT_MS + second * 1_000)
    assert trip.kinds == {}
    for second in range(19, 30):
        trip.oracle.sweep(AT_MS + second * 1_000)
    assert trip.kinds == {Kind.STALE_AS_LIVE: 1}
    trip.tell(TripFreshness(SUB, AT_MS + 30_000, "stale"))
    trip.oracle.sweep(AT_MS + 31_000)
    assert trip.kinds == {Kind.STALE_AS_LIVE: 1}, "a phone that is silent is nobody's lie"


def test_a_car_whose_fixes_are_accepted_has_to_be_shown_as_live() -> None:
    trip = Trip()
    trip.oracle.sweep(AT_MS + 5_000)
    for second in range(2, 10):
        trip.fix(AT_MS + second * 1_000)
    trip.oracle.sweep(AT_MS + 4_500)
    assert trip.kinds == {}
    for second in range(5, 10):
        trip.oracle.sweep(AT_MS + second * 1_000 + 500)
    assert trip.kinds == {Kind.MISSING: 1}
    trip.view.settled_since_ms = None
    trip.oracle.sweep(AT_MS + 10_500)
    assert trip.kinds == {Kind.MISSING: 1}, "who is not connected is not judged"


def test_rejected_fixes_and_those_not_believed_need_not_be_shown() -> None:
    trip = Trip()
    for second in range(2, 10):
        trip.fix(AT_MS + second * 1_000, reason="low_accuracy" if second % 2 else None, expect="kept", honest=False)
    trip.oracle.sweep(AT_MS + 9_500)
    assert trip.kinds == {}


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (None, Kind.GHOST),
        ({"reason": "mock_location"}, Kind.GHOST),
        ({"honest": False, "expect": "kept"}, Kind.GHOST),
        ({"lat": 40.751}, Kind.POSITION_ERROR),
    ],
)
def test_a_position_that_nobody_sent_so_is_found(sent: dict[str, Any] | None, kind: Kind) -> None:
    trip = Trip()
    if sent is not None:
        trip.fix(AT_MS + 1_000, **sent)
    trip.drive(AT_MS + 1_100, AT_MS + 1_000)
    assert trip.kinds == {kind: 1}
    assert trip.findings.first[kind].evidence["fix_time_ms"] == AT_MS + 1_000


@pytest.mark.parametrize(
    "changed", [{"heading_deg": 90.0}, {"speed_mps": None}, {"accuracy_m": 0.0}, {"vehicle_type": "TRUCK"}]
)
def test_a_car_that_is_told_otherwise_than_its_phone_said_is_found(changed: dict[str, Any]) -> None:
    trip = Trip()
    trip.fix(AT_MS + 1_000)
    trip.drive(AT_MS + 1_100, AT_MS + 1_000, **changed)
    assert trip.kinds == {Kind.FIX_ALTERED: 1}
    evidence = trip.findings.first[Kind.FIX_ALTERED].evidence
    assert changed.items() <= evidence.items(), "what was told stands beside what was sent"


def test_a_phone_whose_clock_is_a_little_off_is_shown_where_it_says() -> None:
    trip = Trip()
    trip.fix(AT_MS + 1_000, honest=False, expect="shown", lat=40.7501)
    trip.drive(AT_MS + 1_100, AT_MS + 1_000)
    assert trip.kinds == {}


def drive_unseen(trip: Trip, seconds: range, mps: float) -> None:
    """The car drives north, and its rider, who was told where it was at first, hears nothing of it."""
    for second in seconds:
        trip.fix(AT_MS + second * 1_000, 40.75 + (second - seconds.start) * mps * METRE_DEG)
        if second == seconds.start:
            trip.drive(AT_MS + second * 1_000 + 100, AT_MS + second * 1_000)
        trip.oracle.sweep(AT_MS + second * 1_000 + 500)


def test_a_marker_that_lags_behind_a_newer_fix_is_a_position_error_and_a_block_away_a_ghost() -> None:
    for mps, kinds in ((1.0, {}), (5.0, {Kind.POSITION_ERROR: 1}), (20.0, {Kind.POSITION_ERROR: 1, Kind.GHOST: 1})):
        trip = Trip()
        drive_unseen(trip, range(4, 17), mps)
        assert trip.kinds == kinds, mps
        if kinds:
            evidence = trip.findings.first[Kind.POSITION_ERROR].evidence
            assert evidence["what"] == "is off by a newer fix"
            assert 15 < float(str(evidence["off_m"])) <= 100
            assert evidence["fix_time_ms"] == AT_MS + 4_000


def test_a_marker_is_not_held_against_who_was_cut_off_or_before_the_simulator_has_read_again() -> None:
    trip = Trip()
    drive_unseen(trip, range(4, 8), 5.0)
    trip.view.settled_since_ms = None
    drive_unseen(trip, range(8, 14), 5.0)
    assert trip.kinds == {}
    stalled = Trip()
    drive_unseen(stalled, range(4, 7), 5.0)
    for second in range(7, 11):
        stalled.fix(AT_MS + second * 1_000, 40.75 + second * 5 * METRE_DEG)
    stalled.oracle.sweep(AT_MS + 13_100)
    stalled.oracle.sweep(AT_MS + 15_100)
    assert stalled.kinds == {}, "it stood still for six seconds"


def test_what_was_said_is_told_within_the_grace_and_is_late_once() -> None:
    trip = Trip()
    trip.oracle.sweep(AT_MS + 4_000)
    trip.say("ARRIVED_AT_PICKUP", AT_MS + 5_000, tell=False)
    for second in range(5, 9):
        trip.oracle.sweep(AT_MS + second * 1_000)
    assert trip.kinds == {}
    for second in range(9, 12):
        trip.oracle.sweep(AT_MS + second * 1_000)
    assert trip.kinds == {Kind.TRIP_EVENT_LATE: 1}
    evidence = trip.findings.first[Kind.TRIP_EVENT_LATE].evidence
    assert (evidence["event"], evidence["late_ms"]) == ("v3", 4_000)


def test_the_grace_of_an_event_begins_when_its_rider_reads_again() -> None:
    trip = Trip()
    trip.view.settled_since_ms = None
    trip.say("ARRIVED_AT_PICKUP", AT_MS + 5_000, tell=False)
    for second in range(5, 20):
        trip.oracle.sweep(AT_MS + second * 1_000)
    trip.view.settled_since_ms = AT_MS + 20_000
    for second in range(20, 24):
        trip.oracle.sweep(AT_MS + second * 1_000)
    assert trip.kinds == {}
    trip.oracle.sweep(AT_MS + 24_000)
    assert trip.kinds == {Kind.TRIP_EVENT_LATE: 1}


@pytest.mark.parametrize(("after_ms", "kinds"), [(2_900, {}), (3_100, {Kind.TRIP_EVENT_LATE: 1})])
def test_what_stream_found_is_timed_from_when_the_fix_was_accepted(after_ms: int, kinds: dict[Kind, int]) -> None:
    trip = Trip()
    trip.oracle.sweep(AT_MS + 4_000)
    trip.fix(AT_MS + 5_000)
    found = replace(event("a1:approaching", 3, ENROUTE_TO_PICKUP, type="trip.approaching"), at_ms=AT_MS + 5_000)
    trip.drive(AT_MS + 5_100, AT_MS + 5_000)
    trip.oracle.sweep(AT_MS + 6_000)
    trip.tell(TripEvents(SUB, "e", 3, AT_MS + 5_010 + after_ms, [found], trip.shown))
    trip.oracle.sweep(AT_MS + 8_200)
    assert trip.kinds == kinds


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9))
def test_a_server_that_is_as_late_as_it_may_be_is_not_accused_of_what_it_told(seed: int) -> None:
    random, trip = Random(seed), Trip()
    grace_ms, mps = trip.oracle._promises.settle_ms, random.uniform(0, 30)
    due: list[tuple[int, int, float]] = []
    said_ms = AT_MS + random.randrange(5_000, 20_000)
    told_ms: int | None = None
    for at_ms in range(AT_MS + 100, AT_MS + 30_000, 100):
        if at_ms % 1_000 == 100:
            lat = 40.75 + (at_ms - AT_MS) / 1_000 * mps * METRE_DEG
            trip.fix(at_ms, lat)
            due.append((at_ms + 10 + random.randrange(grace_ms), at_ms, lat))
        if at_ms >= said_ms and told_ms is None:
            trip.say("ARRIVED_AT_PICKUP", at_ms, tell=False)
            told_ms = at_ms + random.randrange(grace_ms)
        if told_ms is not None and told_ms <= at_ms and len(trip.view.events) < len(trip.history):
            trip.tell(TripEvents(SUB, "e", 3, at_ms, [replace(trip.history[-1], offset=3)], trip.shown))
        known = [each for each in due if each[0] <= at_ms]
        due = [each for each in due if each[0] > at_ms]
        if known and (trip.view.car is None or max(known, key=lambda one: one[1])[1] > trip.view.car.fix_time_ms):
            _, fix_time_ms, lat = max(known, key=lambda one: one[1])
            trip.drive(at_ms, fix_time_ms, lat)
        if at_ms % 1_000 == 500:
            trip.oracle.sweep(at_ms)
    assert trip.kinds == {}


def test_a_car_that_is_still_shown_after_the_end_is_a_ghost() -> None:
    trip = Trip()
    trip.fix(AT_MS + 1_000)
    trip.drive(AT_MS + 1_100, AT_MS + 1_000)
    trip.say(COMPLETE, AT_MS + 2_000)
    trip.oracle.sweep(AT_MS + 4_000)
    assert trip.kinds == {}
    trip.oracle.sweep(AT_MS + 6_000)
    assert trip.kinds == {Kind.GHOST: 1}
    trip.tell(TripFreshness(SUB, AT_MS + 7_000, "none"))
    trip.oracle.sweep(AT_MS + 8_000)
    assert trip.kinds == {Kind.GHOST: 1}


def ended(trip: Trip) -> tuple[Log, Track]:
    """Half a minute of driving, and the end; what push then says of it."""
    for second in range(1, 31):
        trip.fix(AT_MS + second * 1_000)
    trip.say(COMPLETE, AT_MS + 31_000)
    fixes = [(at_ms, sent.lat, sent.lon) for at_ms, sent in trip.truth.sent_between(1, AT_MS, AT_MS + 31_000)]
    return Log("e", len(trip.history), list(trip.view.events)), Track("d-1", fixes)


def test_a_trip_that_ends_well_is_judged_to_the_end() -> None:
    trip = Trip()
    log, track = ended(trip)
    trip.oracle.judge("t-1", trip.ledger, log, track, AT_MS + 40_000)
    assert trip.kinds == {}
    assert (trip.oracle.judged, trip.oracle.events) == (1, 3)
    assert trip.oracle.fixes == 26, "30, less what is within 3 s of either end"


def test_a_lost_backfill_is_a_lost_ping() -> None:
    trip = Trip()
    log, track = ended(trip)
    hole = [fix for fix in track.fixes if not AT_MS + 10_000 <= fix[0] < AT_MS + 15_000]
    trip.oracle.judge("t-1", trip.ledger, log, Track("d-1", hole), AT_MS + 40_000)
    assert trip.kinds == {Kind.PING_LOST: 5}


def test_a_track_of_somebody_else_is_a_ghosts() -> None:
    trip = Trip()
    log, track = ended(trip)
    trip.oracle.judge("t-1", trip.ledger, log, Track("d-0", track.fixes), AT_MS + 40_000)
    assert trip.kinds == {Kind.GHOST: 1}


def test_a_lost_rider_is_not_also_said_to_have_missed_every_event() -> None:
    trip = Trip()
    trip.oracle.lost("t-1", "4503", AT_MS)
    trip.say(COMPLETE, AT_MS + 1_000, tell=False)
    trip.oracle.judge("t-1", trip.ledger, None, None, AT_MS + 2_000)
    assert trip.kinds == {Kind.RIDER_LOST: 1}


def test_an_acknowledged_state_that_ingest_forgets_is_lost() -> None:
    trip = Trip()
    trip.say("ARRIVED_AT_PICKUP", AT_MS + 1_000)
    forgot = replace(trip.ledger, history=trip.history[:2], version=2)
    trip.oracle.answered(forgot, "ENROUTE_TO_DROPOFF", AT_MS + 2_000)
    assert trip.kinds == {Kind.TRIP_EVENT_LOST: 1}
