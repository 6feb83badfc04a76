"""The oracle of the live map: nobody who tells the truth is accused, and what each rule says, one car at a time."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import h3
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.counts.findings import KEPT, Findings, Kind
from simulator.fleet.fixes import Fix
from simulator.oracle.nearby import SEATS_A_LOOK, NearbyOracle
from simulator.oracle.promises import Promises
from simulator.oracle.reach import Circles, Fleet, Reach, rank_cutoff_m
from simulator.oracle.sphere import apart_m, distance_m, unit_vectors
from simulator.oracle.truth import Fixes, Truth
from simulator.phones.phones import Sending
from simulator.riders.seat import Seat
from simulator.riders.view import Broken, SeenCar
from tests.simulator.perfect_server import CENTRE, START_MS, PerfectServer, Town, east_of, metres

PROMISES = Promises(start_ms=START_MS)


@given(seed=st.integers(0, 2**32), drivers=st.integers(1, 12), seats=st.integers(1, 4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_perfect_server_is_never_accused(seed: int, drivers: int, seats: int) -> None:
    server = PerfectServer(Town(seed, drivers, seats))
    server.play()
    assert not server.findings.counts, [each.words(START_MS) for each in server.findings.first.values()]


class Street:
    """A rider in the centre, and cars whose phones are heard at once. `now_ms` is when the oracle looks."""

    def __init__(
        self, drivers: int = 3, radius_m: float = 500.0, limit: int = 20, promises: Promises = PROMISES
    ) -> None:
        self.truth, self.findings = Truth([f"d-{n}" for n in range(drivers)]), Findings()
        self.oracle = NearbyOracle(self.truth, self.findings, promises)
        self.seat = Seat("map-1", *CENTRE, radius_m, limit, {}, START_MS)
        self.fixes: dict[tuple[int, int], Fix] = {}

    def send(
        self,
        driver: int,
        at_s: float,
        east_m: float,
        expect: str = "shown",
        honest: bool = True,
        judged: bool = True,
        reason: str | None = None,
    ) -> Fix:
        at_ms = START_MS + round(at_s * 1_000)
        lat, lon = east_of(CENTRE, 0.0, east_m)
        fix = Fix(driver_id=f"d-{driver}", fix_time_ms=at_ms, lat=lat, lon=lon)
        self.truth.moved(driver, at_ms, lat, lon)
        self.truth.sent(Sending(at_ms, driver, fix, honest, expect), at_ms)
        if judged:
            self.truth.judged(driver, at_ms, reason, at_ms)
        return fix

    def show(self, fix: Fix, freshness: str = "live") -> None:
        """Put the car on the screen, without judging the telling of it."""
        car = SeenCar(fix.driver_id, fix.lat, fix.lon, fix.fix_time_ms, 0, freshness)  # type: ignore[arg-type]
        self.seat.cars[fix.driver_id] = car

    def tell(self, fix: Fix, server_s: float, **changed: object) -> None:
        server_ms = START_MS + round(server_s * 1_000)
        age_ms = server_ms - fix.fix_time_ms
        said: dict[str, object] = {"lat": fix.lat, "lon": fix.lon, "fix_time_ms": fix.fix_time_ms}
        said |= {"cell": h3.latlng_to_cell(fix.lat, fix.lon, 9)}
        said |= {"age_ms": max(0, age_ms), "freshness": "live" if age_ms < PROMISES.stale_after_ms else "stale"}
        car = SeenCar(fix.driver_id, **{**said, **changed})  # type: ignore[arg-type]
        self.oracle.told(self.seat, car, server_ms, server_ms + 20)

    def sweep(self, at_s: float) -> dict[Kind, int]:
        self.oracle.sweep([self.seat], START_MS + round(at_s * 1_000))
        return dict(self.findings.counts)


# What is told.


def test_a_fix_that_a_phone_sent_to_be_shown_may_be_told_again_and_again() -> None:
    street = Street()
    fix = street.send(0, 1, 100)
    for _ in range(3):
        street.tell(fix, 1.1)
    street.tell(street.send(0, 2, 110), 2.1)
    assert not street.findings.counts
    assert street.oracle.shown == 4


@pytest.mark.parametrize(
    ("expect", "honest", "reason"),
    [("kept", False, None), ("kept", True, None), ("mock_location", False, None), ("shown", True, "too_old")],
)
def test_a_fix_that_was_rejected_or_must_not_be_shown_is_a_ghost(expect: str, honest: bool, reason: str | None) -> None:
    street = Street()
    street.tell(street.send(0, 1, 100, expect=expect, honest=honest, reason=reason), 1.1)
    assert street.findings.counts == {Kind.GHOST: 1}


def test_a_fix_that_was_never_sent_is_a_ghost_unless_it_may_be_of_a_run_before_this() -> None:
    street = Street()
    street.tell(Fix(driver_id="d-0", fix_time_ms=START_MS - 5_000, lat=40.75, lon=-73.98), 1)
    assert not street.findings.counts
    street.tell(Fix(driver_id="d-0", fix_time_ms=START_MS + 500, lat=40.75, lon=-73.98), 1)
    assert street.findings.counts == {Kind.GHOST: 1}


def test_a_driver_whom_nobody_knows_is_a_ghost_only_where_nobody_else_uses_the_system() -> None:
    for alone, ghosts in ((False, 0), (True, 1)):
        street = Street(promises=Promises(start_ms=START_MS, alone=alone))
        street.tell(Fix(driver_id="x-1", fix_time_ms=START_MS - 500, lat=40.75, lon=-73.98), 1)
        assert not street.findings.counts, "left over from a run before"
        street.tell(Fix(driver_id="x-1", fix_time_ms=START_MS + 500, lat=40.75, lon=-73.98), 1)
        assert street.findings.counts[Kind.GHOST] == ghosts


def test_a_car_that_is_told_somewhere_else_than_its_phone_said_is_a_position_error() -> None:
    street = Street()
    fix = street.send(0, 1, 100)
    street.tell(fix, 1.1, lat=fix.lat + 0.5 / 111_195)
    assert not street.findings.counts, "half a metre is rounding"
    street.tell(fix, 1.1, lat=fix.lat + 3 / 111_195)
    assert street.findings.counts == {Kind.POSITION_ERROR: 1}
    assert street.findings.first[Kind.POSITION_ERROR].evidence["apart_m"] == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("age_s", "said", "kind"),
    [
        (29.999, {}, None),
        (30.0, {}, None),
        (30.0, {"freshness": "live"}, Kind.STALE_AS_LIVE),
        (29.999, {"freshness": "stale"}, Kind.WIRE),
        (1.0, {"age_ms": 0}, Kind.WIRE),
        (119.999, {}, None),
        (120.0, {}, Kind.GHOST),
        # A phone's clock may be ahead of the server's: then the age is 0.
        (-0.5, {}, None),
    ],
)
def test_a_message_agrees_with_its_own_time_about_how_old_a_car_is(
    age_s: float, said: dict[str, object], kind: Kind | None
) -> None:
    street = Street()
    street.tell(street.send(0, 1, 100), 1 + age_s, **said)
    assert dict(street.findings.counts) == ({} if kind is None else {kind: 1})


def test_a_broken_promise_of_the_wire_is_noted_and_a_step_back_in_time_by_its_own_name() -> None:
    street = Street()
    street.oracle.broken(street.seat, Broken("update has seq 5 after 3"), START_MS)
    street.oracle.broken(street.seat, Broken("d-0 went backwards by 900 ms", "d-0", 900), START_MS)
    assert street.findings.counts == {Kind.WIRE: 1, Kind.BACKWARDS: 1}


# What is on the screen.


def test_a_car_must_be_shown_once_its_fix_has_settled() -> None:
    street = Street()
    street.send(0, 5, 100)
    assert not street.sweep(7.9), "accepted less than 3 s ago"
    assert street.sweep(8.0) == {Kind.MISSING: 1}


def test_a_case_that_lasts_is_noted_once_and_again_when_it_comes_back() -> None:
    street = Street()
    fix = street.send(0, 1, 100)
    for at_s in (5, 6, 7):
        assert street.sweep(at_s) == {Kind.MISSING: 1}
    street.show(fix)
    street.sweep(8)
    street.seat.cars.clear()
    assert street.sweep(9) == {Kind.MISSING: 2}


@pytest.mark.parametrize("unsure", [None, START_MS + 4_000])
def test_a_screen_that_was_not_connected_and_reading_for_long_is_not_judged(unsure: int | None) -> None:
    street = Street()
    street.send(0, 1, 100)
    street.seat.settled_since_ms = unsure
    assert not street.sweep(6)
    assert street.oracle.screens_judged == 0


def test_nobody_is_blamed_for_screens_that_the_simulator_itself_did_not_read() -> None:
    street = Street()
    street.sweep(4)
    street.send(0, 4.5, 100)
    assert not street.sweep(8), "4 s since the last look: the riders did not read meanwhile"
    assert street.oracle.sweeps_skipped == 1
    assert street.sweep(9) == {Kind.MISSING: 1}


@pytest.mark.parametrize(
    ("east_m", "if_shown", "if_not"),
    [
        (484, {}, {Kind.MISSING: 1}),
        (486, {}, {}),
        (514, {}, {}),
        (516, {Kind.GHOST: 1}, {}),
    ],
)
def test_a_car_near_the_rim_may_be_shown_or_not(
    east_m: float, if_shown: dict[Kind, int], if_not: dict[Kind, int]
) -> None:
    street = Street(radius_m=500)
    street.send(0, 1, east_m)
    assert street.sweep(5) == if_not
    street = Street(radius_m=500)
    street.show(street.send(0, 1, east_m))
    assert street.sweep(5) == if_shown


def test_a_car_that_may_have_crossed_the_rim_since_is_nobodys_fault() -> None:
    street = Street(radius_m=500)
    street.send(0, 1, 450)
    street.send(0, 6, 510)
    assert not street.sweep(6.5), "it may be shown at either place"
    assert not street.sweep(9.5)


def test_a_car_that_left_and_is_still_shown_is_a_ghost() -> None:
    street = Street(radius_m=500)
    street.show(street.send(0, 1, 480))
    street.send(0, 4, 560)
    assert not street.sweep(6)
    assert street.sweep(7) == {Kind.GHOST: 1}
    evidence = street.findings.first[Kind.GHOST].evidence
    assert evidence["why"] == "has left the rider's circle"
    assert (evidence["newer_fix_time_ms"], evidence["accepted_ago_ms"]) == (START_MS + 4_000, 3_000)


def test_a_marker_that_lags_behind_is_a_position_error_and_a_block_away_a_ghost() -> None:
    street = Street()
    street.show(street.send(0, 1, 0))
    street.send(0, 2, 10)
    assert not street.sweep(5), "10 m are noise"
    street.send(0, 3, 40)
    assert street.sweep(6) == {Kind.POSITION_ERROR: 1}
    street.send(0, 9, 140)
    assert street.sweep(12) == {Kind.POSITION_ERROR: 1}, "skipped: 6 s since the last look"
    assert street.sweep(13) == {Kind.POSITION_ERROR: 1, Kind.GHOST: 1}
    assert street.findings.first[Kind.GHOST].evidence["off_m"] == pytest.approx(140, abs=0.5)


def test_a_dead_phone_turns_stale_and_then_leaves() -> None:
    street = Street()
    fix = street.send(0, 0.001, 100)
    street.show(fix)
    at_s = 0.0
    while at_s < 33:
        assert not street.sweep(at_s), at_s
        at_s += 1
    assert street.sweep(34) == {Kind.STALE_AS_LIVE: 1}
    street.show(fix, "stale")
    at_s = 35.0
    while at_s < 123:
        assert street.sweep(at_s) == {Kind.STALE_AS_LIVE: 1}, at_s
        at_s += 1
    assert street.sweep(124) == {Kind.STALE_AS_LIVE: 1, Kind.GHOST: 1}


def test_a_dead_phone_may_be_missing_only_when_its_fix_is_nearly_gone() -> None:
    street = Street()
    street.send(0, 1, 100)
    assert street.sweep(117.9) == {Kind.MISSING: 1}
    late = Street()
    late.send(0, 1, 100)
    assert not late.sweep(118.1)


def test_a_car_that_is_called_stale_too_soon_is_a_broken_promise() -> None:
    street = Street()
    street.show(street.send(0, 1, 100), "stale")
    assert street.sweep(27.9) == {Kind.WIRE: 1}


def test_with_a_limit_only_a_car_that_is_surely_among_the_nearest_must_be_shown() -> None:
    street = Street(drivers=4, limit=2)
    fixes = [street.send(n, 1, east_m) for n, east_m in enumerate((100, 200, 205, 300))]
    street.show(fixes[0])
    street.show(fixes[2])
    assert not street.sweep(5), "200 m and 205 m: either may be the second"
    street.seat.cars.clear()
    street.show(fixes[3])
    assert street.sweep(6) == {Kind.MISSING: 1}
    assert street.findings.first[Kind.MISSING].driver_id == "d-0"


def test_cars_that_nobody_places_yet_and_cars_of_others_take_up_ranks() -> None:
    street = Street(drivers=2, limit=1)
    street.send(0, 1, 100)
    street.send(1, 4.9, 5, judged=False)
    assert not street.sweep(5), "d-1 may be the nearest already"
    other = Street(drivers=1, limit=1)
    other.send(0, 1, 100)
    other.show(Fix(driver_id="x-1", fix_time_ms=START_MS + 4_000, lat=CENTRE[0], lon=CENTRE[1]))
    assert not other.sweep(5)


def test_the_error_that_riders_see_is_measured_against_the_truth_when_they_see_it() -> None:
    street = Street()
    street.show(street.send(0, 10, 100))
    street.send(0, 11, 110, judged=False)
    street.truth.moved(0, START_MS + 12_000, *east_of(CENTRE, 0.0, 125.0))
    seen = street.oracle.sweep([street.seat], START_MS + 12_000)
    assert seen.position_error_m.tolist() == pytest.approx([25], abs=0.1)
    assert seen.age_ms.tolist() == [2_000]
    assert street.oracle.behind_m.max_ms == pytest.approx(10, abs=0.2)
    assert street.oracle.farthest is not None
    assert street.oracle.farthest.evidence["error_m"] == pytest.approx(25, abs=0.1)


# The geometry under it.

places = st.tuples(st.floats(-2_000, 2_000), st.floats(-2_000, 2_000))


@given(rider=places, way=st.lists(places, min_size=2, max_size=6), speed=st.floats(1, 40))
def test_wherever_on_its_way_a_car_is_shown_it_is_within_its_reach(
    rider: tuple[float, float], way: list[tuple[float, float]], speed: float
) -> None:
    stops = [east_of(CENTRE, *each) for each in way]
    legs_m = [metres(here, there) for here, there in pairwise(stops)]
    settled, newest = (
        Fixes(np.array([lat]), np.array([lon]), np.array([time_ms]))
        for (lat, lon), time_ms in ((stops[0], 1), (stops[-1], 2 + math.ceil(sum(legs_m) / speed * 1_000)))
    )
    here = east_of(CENTRE, *rider)
    fleet = Fleet(settled, newest, speed)
    near_m, far_m = fleet.from_places(unit_vectors(np.array([here[0]]), np.array([here[1]])), np.array([0]))
    for stop in stops:
        assert near_m[0] - 0.2 <= metres(here, stop) <= far_m[0] + 0.2


@given(
    near=st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=4),
    limit=st.integers(1, 5),
    unplaced=st.integers(0, 6),
    seed=st.integers(),
)
def test_a_car_below_the_cutoff_is_among_the_nearest_wherever_all_cars_are(
    near: list[list[int]], limit: int, unplaced: int, seed: int
) -> None:
    random = Random(seed)
    pairs = [
        (seat, float(near_m), near_m + random.choice((0, 3, 9))) for seat, row in enumerate(near) for near_m in row
    ]
    random.shuffle(pairs)
    columns = list(zip(*pairs, strict=True)) if pairs else [(), (), ()]
    seat, near_m, far_m = (np.array(column) for column in columns)
    reach = Reach(seat.astype(np.int64), np.arange(len(pairs)), near_m.astype(np.float64), far_m.astype(np.float64))
    n = len(near)
    circles = Circles(np.zeros((n, 3)), np.full(n, 100.0), np.full(n, limit))
    cutoff_m = rank_cutoff_m(reach, circles, np.full(n, unplaced))
    for which, (row, _, far) in enumerate(pairs):
        rivals = sum(o_row == row and o_near <= far for n, (o_row, o_near, _) in enumerate(pairs) if n != which)
        assert (far < cutoff_m[row]) == (rivals + unplaced < limit)


@given(here=places, there=places)
def test_distances_are_those_of_the_sphere(here: tuple[float, float], there: tuple[float, float]) -> None:
    one, other = east_of(CENTRE, *here), east_of(CENTRE, *there)
    vectors = [unit_vectors(np.array([lat]), np.array([lon])) for lat, lon in (one, other)]
    assert distance_m(*one, *other) == pytest.approx(metres(one, other), abs=0.2)
    assert apart_m(*vectors)[0] == pytest.approx(distance_m(*one, *other), abs=0.001)


def test_only_the_first_cases_of_a_kind_are_kept_but_all_are_counted() -> None:
    findings = Findings()
    for number in range(KEPT + 5):
        findings.note(Kind.GHOST, number, "map-1", f"d-{number}", off_m=1.23456, at=(1.0, 2.0))
    assert findings.counts[Kind.GHOST] == KEPT + 5
    assert len(findings.some(Kind.GHOST)) == KEPT
    assert findings.first[Kind.GHOST].words() == "ghost at 0.0 s, map-1 about d-0: off_m 1.2, at (1.000000, 2.000000)"


def test_screens_that_are_looked_at_in_turns_are_each_judged_as_of_their_own_time() -> None:
    street = Street()
    street.send(0, 1, 100)
    others = [Seat(f"map-{n}", *CENTRE, 500.0, 20, {}, START_MS) for n in range(2, 2 * SEATS_A_LOOK + 2)]
    times_ms = iter([START_MS + after_ms for after_ms in (3_999, 4_000, 4_001, 4_999, 5_000, 5_001)])
    seats = [street.seat, *others]
    looks = street.oracle.looks(seats, lambda: next(times_ms))
    next(looks)
    assert not street.findings.counts, "accepted less than 3 s ago"
    next(looks)
    assert street.findings.counts == {Kind.MISSING: SEATS_A_LOOK}
    assert [look.screens for look in looks] == [1]
    assert street.findings.counts == {Kind.MISSING: SEATS_A_LOOK + 1}
    assert sum(look.screens for look in street.oracle.looks(seats, lambda: next(times_ms))) == len(seats)
    assert street.findings.counts == {Kind.MISSING: len(seats)}, "each once for as long as it lasts"


def test_when_the_simulator_stands_still_in_the_midst_of_its_looks_the_rest_is_left_out() -> None:
    street = Street()
    street.send(0, 1, 100)
    others = [Seat(f"map-{n}", *CENTRE, 500.0, 20, {}, START_MS) for n in range(2, 2 * SEATS_A_LOOK + 2)]
    times_ms = iter([START_MS + 3_000, START_MS + 6_000])
    assert len(list(street.oracle.looks([street.seat, *others], lambda: next(times_ms)))) == 2
    assert not street.findings.counts
    assert street.oracle.sweeps_skipped == 1
