"""Progress and arrivals of trips: nobody who measures honestly is accused, however unluckily, and lies are found."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from simulator.counts.findings import Kind
from simulator.counts.latency import Latencies
from simulator.dispatch.rides import (
    ARRIVED_AT_PICKUP,
    COMPLETE,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    Place,
    Ride,
)
from simulator.dispatch.trip_answers import TripEvent
from simulator.fleet.fixes import Fix
from simulator.oracle.journeys import Journey
from simulator.oracle.sphere import distance_m
from simulator.oracle.trip_arrivals import ARRIVAL_RADIUS_M, Visit, judge_found, must_arrive
from simulator.oracle.trip_progress import OFF_ROUTE_M, Leg, judge_progress, place_on_way
from simulator.oracle.truth import Truth
from simulator.oracle.ways import Way, way_of
from simulator.phones.outboxes import Sent
from simulator.phones.phones import Sending
from simulator.riders.trip_view import Progress, TripCar
from simulator.roads.polylines import decode_polyline, encode_polyline
from tests.simulator.perfect_server import CENTRE, east_of, metres

AT_MS = 1_767_225_600_000
SETTLE_MS, FRESH_MS = 3_000, 12_000


class Notes(list[tuple[Kind, dict[str, object]]]):
    def __call__(self, kind: Kind, **evidence: object) -> None:
        self.append((kind, evidence))

    @property
    def kinds(self) -> Counter[Kind]:
        return Counter(kind for kind, _ in self)


# -- ways -----------------------------------------------------------------------------------------------------------


def a_line(random: Random) -> list[tuple[float, float]]:
    """Blocks of a city: corners, crossings of itself, and now and then there and back."""
    line, heading = [CENTRE], (1, 0)
    for _ in range(random.randint(1, 12)):
        heading = random.choice([heading, heading, (heading[1], heading[0]), (-heading[1], -heading[0])])
        block_m = random.choice((80.0, 274.0)) * random.choice((1, 1, 1, -1 if random.random() < 0.2 else 1))
        line.append(east_of(line[-1], heading[0] * block_m, heading[1] * block_m))
    return line


@given(seed=st.integers(0, 10**9))
def test_a_polyline_is_read_as_it_was_written(seed: int) -> None:
    random = Random(seed)
    points = [(random.uniform(-90, 90), random.uniform(-180, 180)) for _ in range(random.randrange(20))]
    read = decode_polyline(encode_polyline(points))
    assert len(read) == len(points)
    for one, other in zip(points, read, strict=True):
        assert one == pytest.approx(other, abs=5.1e-6)


@given(seed=st.integers(0, 10**9))
def test_a_way_is_as_long_as_its_pieces_and_nothing_on_it_is_off_it(seed: int) -> None:
    random = Random(seed)
    line = a_line(random)
    way = Way(line)
    assert way.length_m == pytest.approx(sum(metres(*ends) for ends in pairwise(line)), abs=0.5)
    at_m = random.uniform(0, way.length_m)
    assert way.off_m(*way.place(at_m)) < 0.1
    assert way.place(-5) == line[0]
    assert way.place(way.length_m + 5) == pytest.approx(line[-1])
    aside = east_of(CENTRE, random.uniform(-900, 900), random.uniform(-900, 900))
    steps = [way.length_m * step / 999 for step in range(1_000)]
    nearest_m = min(metres(aside, way.place(each)) for each in steps)
    assert way.off_m(*aside) == pytest.approx(nearest_m, abs=way.length_m / 1_500 + 0.1)


def test_one_place_is_no_way() -> None:
    assert way_of("") is None
    assert way_of(encode_polyline([CENTRE])) is None
    assert way_of(encode_polyline([CENTRE, CENTRE])) is None


# -- progress -------------------------------------------------------------------------------------------------------


class Drive:
    """A car somewhere on its way, or beside it, and what an honest server says of that."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        line = a_line(random)
        has_way = random.random() < 0.9
        self.way = way_of(encode_polyline(line)) if has_way else None
        self.leg = Leg(Place(*line[-1]), self.way)
        self.accuracy_m = random.choice((None, 5.0, 30.0, 200.0))
        true = Way(line)
        self.at_m = random.uniform(0, true.length_m)
        self.off_m = random.choice((3.0, 10.0, 45.0, 70.0, 300.0))
        lat, lon = true.place(self.at_m)
        place = east_of((lat, lon), *(random.uniform(-self.off_m, self.off_m) / 1.5 for _ in range(2)))
        fix_time_ms = AT_MS + random.randrange(9_999)
        self.car = TripCar("d-1", *place, fix_time_ms, 0, "live", accuracy_m=self.accuracy_m)
        self.progress = self.honest()

    def honest(self) -> Progress:
        """Where it matches is anybody's choice, within reach: near where the car is, or at another pass of the way."""
        random, car, way = self.random, self.car, self.way
        straight_m = metres((car.lat, car.lon), self.leg.stop)
        reach_m = OFF_ROUTE_M + min(self.accuracy_m or 0.0, OFF_ROUTE_M)
        on_route = way is not None and way.off_m(car.lat, car.lon) <= reach_m
        route_m = None
        if way is not None and on_route:
            passes = [way.length_m * step / 2_000 for step in range(2_001)]
            within = [each for each in passes if metres(way.place(each), (car.lat, car.lon)) <= reach_m]
            route_m = random.choice(within) if within else None
            on_route = route_m is not None
        remaining_m = straight_m * 1.3 if way is None or route_m is None else way.length_m - route_m
        # Between a traffic jam and as fast as anybody drives.
        eta_s = max(remaining_m, straight_m) / random.uniform(1.75, 29.0)
        return Progress(
            "pickup",
            way is not None and not on_route,
            round(random.uniform(0, 5_000), 1),
            round(remaining_m, 1),
            round(eta_s, 1),
            car.fix_time_ms + round(eta_s * 1_000),
            None if route_m is None else round(route_m, 1),
        )

    def judged(self, **changed: Any) -> Notes:
        notes = Notes()
        judge_progress(replace(self.progress, **changed), self.car, self.leg, notes)
        return notes


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_server_that_measures_along_the_way_is_never_accused_however_it_matches(seed: int) -> None:
    drive = Drive(seed)
    assert drive.judged() == []
    notes = Notes()
    judge_progress(Progress("", False, 12.0), drive.car, None, notes)
    assert notes == []


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_who_is_told_a_way_that_remains_from_elsewhere_is_told_a_lie(seed: int) -> None:
    drive = Drive(seed)
    way, remaining_m = drive.way, drive.progress.remaining_m
    assert remaining_m is not None
    if way is None or drive.progress.off_route:
        assert drive.judged(remaining_m=remaining_m / 1.4 - 20).kinds[Kind.PROGRESS_ERROR] >= (remaining_m > 20)
        return
    assert drive.judged(remaining_m=way.length_m + 10, route_m=None).kinds[Kind.PROGRESS_ERROR] == 1
    assert drive.judged(route_m=way.length_m - remaining_m + 9).kinds == {Kind.PROGRESS_ERROR: 1}
    at_m = drive.random.uniform(0, way.length_m)
    apart_m = metres(way.place(at_m), (drive.car.lat, drive.car.lon))
    limit_m = OFF_ROUTE_M + min(drive.accuracy_m or 0.0, OFF_ROUTE_M) + 5
    told = drive.judged(remaining_m=way.length_m - at_m, route_m=at_m)
    if abs(apart_m - limit_m) > 0.5:
        assert any("remaining_m" in evidence for _, evidence in told) == (apart_m > limit_m)
    if way.off_m(drive.car.lat, drive.car.lon) < 44:
        straight_m = metres((drive.car.lat, drive.car.lon), drive.leg.stop)
        notes = drive.judged(off_route=True, route_m=None, remaining_m=straight_m * 1.3)
        assert notes.kinds == {Kind.PROGRESS_ERROR: 1}


def test_a_car_that_is_told_at_the_beginning_of_its_way_for_ever_is_found_after_a_block() -> None:
    line = [CENTRE, east_of(CENTRE, 500.0, 0.0)]
    leg = Leg(Place(*line[1]), Way(line))
    found = []
    for driven_m in range(0, 500, 10):
        notes = Notes()
        car = TripCar("d-1", *east_of(CENTRE, float(driven_m), 0.0), AT_MS, 0, "live", accuracy_m=5.0)
        judge_progress(Progress("dropoff", False, 0.0, 500.0, 60.0, AT_MS + 60_000, 0.0), car, leg, notes)
        found.append(notes.kinds[Kind.PROGRESS_ERROR])
    assert found == [0] * 7 + [1] * 43, "50 m, 5 m of accuracy and 5 m for decimals"


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"remaining_m": -1.0}, Kind.WIRE),
        ({"eta_s": -0.1, "eta_ms": AT_MS - 100}, Kind.WIRE),
        ({"eta_ms": None}, Kind.WIRE),
        ({"eta_ms": AT_MS + 61_000}, Kind.WIRE),
        ({"eta_s": 10.0, "eta_ms": AT_MS + 10_000}, Kind.PROGRESS_ERROR),
    ],
)
def test_progress_that_cannot_be_is_found(changed: dict[str, Any], kind: Kind) -> None:
    line = [CENTRE, east_of(CENTRE, 500.0, 0.0)]
    progress = replace(Progress("dropoff", False, 0.0, 500.0, 60.0, AT_MS + 60_000, 0.0), **changed)
    notes = Notes()
    judge_progress(progress, TripCar("d-1", *CENTRE, AT_MS, 0, "live"), Leg(Place(*line[1]), Way(line)), notes)
    assert notes.kinds[kind] == 1


def test_a_car_is_on_its_way_where_the_rest_of_it_begins() -> None:
    line = [CENTRE, east_of(CENTRE, 500.0, 0.0)]
    leg = Leg(Place(*line[1]), Way(line))
    here = place_on_way(Progress("dropoff", False, 0.0, 200.0), leg)
    assert here is not None
    assert distance_m(*here, *east_of(CENTRE, 300.0, 0.0)) < 0.5
    assert place_on_way(Progress("dropoff", True, 0.0, 200.0), leg) is None


# -- arrivals -------------------------------------------------------------------------------------------------------

STOP = Place(*CENTRE)


def a_fix(at_ms: int, off_m: float, accepted_ms: int | None = None, expect: str = "shown") -> tuple[int, Sent]:
    lat, lon = east_of(CENTRE, off_m, 0.0)
    accepted_ms = at_ms + 30 if accepted_ms is None else accepted_ms
    return at_ms, Sent(lat, lon, True, expect, at_ms, accepted_ms, None)


def an_arrival(random: Random) -> tuple[Visit, list[tuple[int, Sent]]]:
    """A car comes near, or passes by and comes back, and its fixes are accepted at once, late or in a heap."""
    sent, accepted_ms = [], AT_MS
    for second in range(random.randint(3, 40)):
        at_ms = AT_MS + second * random.choice((1_000, 1_000, 2_000))
        off_m = abs(20 - second) * random.choice((3.0, 8.0)) if random.random() < 0.95 else 300.0
        accepted_ms = max(accepted_ms, at_ms + random.choice((20, 100, 100, 4_000, 20_000)))
        sent.append(a_fix(at_ms, off_m, accepted_ms, "shown" if random.random() < 0.9 else "kept"))
    by_time = dict(sorted(sent))
    return Visit("pickup", AT_MS - random.choice((9_000, 2_000, 0)), AT_MS + 60_000), list(by_time.items())


def found_by_an_unlucky_stream(random: Random, visit: Visit, sent: list[tuple[int, Sent]]) -> bool:
    """Two looks in a row within the radius, of frames that come as late as they may, with as much in them as fits."""
    looks: list[tuple[int, int, bool]] = []
    waiting = sorted((fix.judged_ms or 0, at_ms, fix) for at_ms, fix in sent if fix.expect == "shown")
    heads_ms = visit.heading_ms + random.choice((0, SETTLE_MS))
    while waiting:
        frame_ms = waiting[0][0] + random.choice((0, SETTLE_MS // 2, SETTLE_MS, SETTLE_MS))
        heap = [each for each in waiting if each[0] <= frame_ms]
        waiting = [each for each in waiting if each[0] > frame_ms]
        _, at_ms, live = max(heap, key=lambda each: each[1])
        if frame_ms >= heads_ms and (not looks or at_ms > looks[-1][1]):
            inside = metres((live.lat, live.lon), STOP) <= ARRIVAL_RADIUS_M
            looks.append((frame_ms, at_ms, inside and at_ms >= frame_ms - FRESH_MS - SETTLE_MS))
    in_time = [inside for frame_ms, _, inside in looks if frame_ms <= visit.leaving_ms]
    return any(one and other for one, other in pairwise(in_time))


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_who_must_have_arrived_is_found_by_the_unluckiest_stream(seed: int) -> None:
    random = Random(seed)
    visit, sent = an_arrival(random)
    leaving_ms = sent[-1][0] + random.choice((3_000, 6_000))
    visit = visit._replace(leaving_ms=leaving_ms)
    if must_arrive(visit, STOP, sent, SETTLE_MS, FRESH_MS):
        assert found_by_an_unlucky_stream(random, visit, sent)


def test_a_car_that_stands_at_a_stop_for_twice_the_grace_has_arrived_and_not_before() -> None:
    sent = [a_fix(AT_MS + second * 1_000, max(0.0, 100.0 - 10 * second)) for second in range(20)]
    for leaving_s in range(20):
        visit = Visit("pickup", AT_MS - 60_000, AT_MS + leaving_s * 1_000)
        known = [each for each in sent if each[0] <= visit.leaving_ms]
        # Within the radius from the fifth second on; another look by the ninth; known by the twelfth.
        assert bool(must_arrive(visit, STOP, known, SETTLE_MS, FRESH_MS)) == (leaving_s >= 13), leaving_s


@pytest.mark.parametrize("wrong", ["late", "outside", "unjudged", "refused"])
def test_fixes_that_say_nothing_about_now_or_another_place_break_the_row(wrong: str) -> None:
    sent = [a_fix(AT_MS + second * 1_000, 10.0) for second in range(14)]
    visit = Visit("pickup", AT_MS - 60_000, AT_MS + 14_000)
    assert must_arrive(visit, STOP, sent, SETTLE_MS, FRESH_MS)
    at_ms, fix = sent[8]
    changed: dict[str, Any] = {
        "late": {"judged_ms": at_ms + FRESH_MS + 1},
        "outside": {"lat": fix.lat + 0.001},
        "unjudged": {"judged_ms": None},
        "refused": {"reason": "low_accuracy"},
    }[wrong]
    sent[8] = at_ms, fix._replace(**changed)
    assert not must_arrive(visit, STOP, sent, SETTLE_MS, FRESH_MS)


def found(type_: str, at_ms: int, **more: Any) -> TripEvent:
    place = more.pop("place", "pickup")
    return TripEvent(f"a1:{type_}:{at_ms}", f"trip.{type_}", at_ms, "ENROUTE_TO_PICKUP", "d-1", 1, place=place, **more)


def judged(*events: TripEvent) -> Counter[Kind]:
    sent = dict([a_fix(AT_MS, 300.0), a_fix(AT_MS + 1_000, 59.0), a_fix(AT_MS + 2_000, 120.0)])
    notes = Notes()
    judge_found(events, {"pickup": STOP}, sent.get, AT_MS - 1_000, notes)
    return notes.kinds


def test_what_is_found_where_the_car_is_is_held_against_nobody() -> None:
    near, here = found("approaching", AT_MS, eta_s=280), found("arrived", AT_MS + 1_000)
    assert judged() == {}
    assert judged(near, found("approaching", AT_MS, eta_s=58), here) == {}
    assert judged(found("arrived", AT_MS - 2_000)) == {}, "of longer ago than is known"


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([found("arrived", AT_MS + 2_000)], Kind.TRIP_EVENT_FALSE),
        ([found("arrived", AT_MS + 500)], Kind.TRIP_EVENT_FALSE),
        ([found("approaching", AT_MS, eta_s=8)], Kind.TRIP_EVENT_FALSE),
        ([found("approaching", AT_MS)], Kind.WIRE),
        ([found("arrived", AT_MS + 1_000, place="waypoint:7")], Kind.WIRE),
        ([found("arrived", AT_MS + 1_000), found("approaching", AT_MS, eta_s=58)], Kind.TRIP_EVENT_OUT_OF_ORDER),
        ([found("approaching", AT_MS, eta_s=eta_s) for eta_s in (290, 200, 59, 40)], Kind.TRIP_EVENT_DOUBLED),
    ],
)
def test_what_is_found_elsewhere_or_too_often_is_a_lie(events: list[TripEvent], kind: Kind) -> None:
    assert judged(*events) == {kind: 1}


# -- a journey ------------------------------------------------------------------------------------------------------

DROPOFF = Place(*east_of(CENTRE, 1_000.0, 0.0))


class Journeyed:
    """A journey of one ride without ways, and what was noted of it."""

    def __init__(self) -> None:
        self.ride = Ride(1, "t-1", "r-1", 0, "d-0", 0, 1, STOP, DROPOFF, AT_MS, 20_000)
        self.journey, self.notes = Journey(self.ride, SETTLE_MS, FRESH_MS), Notes()
        self.truth, self.eta_error_s = Truth(["d-0"]), Latencies()

    def say(self, state: str, at_ms: int) -> None:
        self.journey.asked(state, at_ms)
        self.journey.answered(state, at_ms + 20)

    def tell(self, leg: str, at_ms: int, eta_s: float = 100.0, honest: bool = True) -> None:
        lat, lon = east_of(CENTRE, 500.0, 0.0)
        car = TripCar("d-0", lat, lon, at_ms - 500, 500, "live")
        progress = Progress(leg, False, 0.0, 650.0, eta_s, car.fix_time_ms + round(eta_s * 1_000))
        sent = Sent(lat, lon, honest, "shown", at_ms - 500, at_ms - 400, None)
        self.journey.progressed(progress, car, sent, at_ms, self.notes)

    def end(self, *events: TripEvent) -> Counter[Kind]:
        self.journey.end(events, self.truth, 0, AT_MS - 1_000, self.eta_error_s, self.notes)
        return self.notes.kinds


def test_a_car_heads_for_a_stop_from_when_somebody_says_so_until_somebody_says_that_it_is_there() -> None:
    trip = Journeyed()
    trip.tell("pickup", AT_MS)
    trip.say(ENROUTE_TO_PICKUP, AT_MS)
    trip.say(ARRIVED_AT_PICKUP, AT_MS + 10_000)
    trip.tell("pickup", AT_MS + 10_020 + SETTLE_MS)
    trip.say(ENROUTE_TO_DROPOFF, AT_MS + 20_000)
    trip.tell("dropoff", AT_MS + 20_100)
    assert trip.notes == []
    trip.tell("pickup", AT_MS + 20_100)
    assert trip.notes.kinds == {Kind.WIRE: 1}
    early = Journeyed()
    early.say(ENROUTE_TO_PICKUP, AT_MS)
    early.tell("dropoff", AT_MS + 10_000)
    assert early.notes.kinds == {Kind.WIRE: 1}
    early.tell("waypoint:3", AT_MS + 10_000)
    assert early.notes.kinds == {Kind.WIRE: 2}


def test_an_eta_is_measured_by_when_the_car_stood_there_and_only_while_it_was_under_way() -> None:
    trip = Journeyed()
    trip.tell("pickup", AT_MS, eta_s=900.0)
    trip.say(ENROUTE_TO_PICKUP, AT_MS)
    trip.tell("pickup", AT_MS + 1_500, eta_s=100.0)
    trip.tell("pickup", AT_MS + 2_500, eta_s=110.0)
    trip.tell("pickup", AT_MS + 3_500, eta_s=500.0, honest=False)
    trip.ride.stood_ms[0] = AT_MS + 91_000
    trip.tell("pickup", AT_MS + 92_000, eta_s=70.0)
    assert trip.end() == {}
    assert trip.eta_error_s.count == 2, "not before it set off, not of a false fix, and not when it was there"
    assert trip.eta_error_s.max_ms == pytest.approx(21.0)


def stand(trip: Journeyed, stop: Place, from_ms: int, seconds: int) -> None:
    """The car stands at a stop, and says so every second."""
    for second in range(seconds):
        at_ms = from_ms + second * 1_000
        fix = Fix(driver_id="d-0", fix_time_ms=at_ms, lat=stop.lat, lon=stop.lon)
        trip.truth.sent(Sending(at_ms, 0, fix, True, "shown"), at_ms)
        trip.truth.judged(0, at_ms, None, at_ms + 30)


def test_whoever_stands_at_a_stop_for_long_is_found_to_have_arrived_there() -> None:
    for place, kinds in (("pickup", {}), ("dropoff", {Kind.TRIP_EVENT_LOST: 1, Kind.TRIP_EVENT_FALSE: 1})):
        trip = Journeyed()
        trip.say(ENROUTE_TO_PICKUP, AT_MS)
        stand(trip, STOP, AT_MS + 5_000, 15)
        trip.say(ARRIVED_AT_PICKUP, AT_MS + 20_000)
        assert trip.end(found("arrived", AT_MS + 7_000, place=place)) == kinds
    brief = Journeyed()
    brief.say(ENROUTE_TO_PICKUP, AT_MS)
    stand(brief, STOP, AT_MS + 5_000, 5)
    brief.say(ARRIVED_AT_PICKUP, AT_MS + 10_000)
    assert brief.end() == {}


def test_who_gets_out_where_it_got_in_need_not_be_found_to_arrive() -> None:
    trip = Journeyed()
    trip.ride.dropoff = STOP
    trip.say(ENROUTE_TO_DROPOFF, AT_MS)
    stand(trip, STOP, AT_MS + 5_000, 15)
    trip.say(COMPLETE, AT_MS + 20_000)
    assert trip.end() == {}
