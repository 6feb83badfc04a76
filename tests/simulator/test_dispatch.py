"""Requests get the nearest free driver that riders are shown, and cars move the same however slow the system is."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.demand.requests import Request
from simulator.dispatch.dispatch import CONFIRM_MS, DEPARTS_MS, TRY_AGAIN_MS, Dispatch, Everybody, NoErrands
from simulator.dispatch.rides import (
    ARRIVED_AT_PICKUP,
    CANCELED,
    COMPLETE,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    TAPS_MS,
    Place,
    Ride,
)
from simulator.dispatch.supply import AS_OF_MS, M_PER_DEGREE, NEARBY_M, Supply
from simulator.fleet.fixes import Fix, encode_fix
from simulator.fleet.fleet import Fleet
from simulator.fleet.jobs import Arrival, Stop
from simulator.oracle.truth import Truth
from simulator.roads.network import RoadNetwork, load_manhattan

START_MS = 1_767_225_600_000
#: Requests of the small city; more than it has drivers.
CALLS = 16
#: Nodes 100 m apart on a line to the north.
LINE = [(40.75 + number * 100 / M_PER_DEGREE, -73.99) for number in range(100)]


class Line:
    """Truth and fleet at once: drivers stand at nodes of the line and take two seconds a node."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self.driver_ids = [f"d-{number}" for number in range(len(nodes))]
        self.nodes = list(nodes)
        self.sent: list[tuple[int, tuple[Stop, ...], int]] = []
        self.off_air: set[int] = set()
        self._arrivals: list[Arrival] = []

    def where(self, driver: int, at_ms: int) -> tuple[float, float] | None:
        return LINE[self.nodes[driver]] if at_ms >= START_MS else None

    def on_air(self, driver: int, at_ms: int) -> bool:
        return driver not in self.off_air

    def send(self, driver: int, stops: Sequence[Stop], at_ms: int) -> None:
        self.sent.append((driver, tuple(stops), at_ms))
        for index, stop in enumerate(stops):
            at_ms += abs(stop.node - self.nodes[driver]) * 2_000
            self.nodes[driver] = stop.node
            self._arrivals.append(Arrival(driver, index, at_ms))
            at_ms += stop.dwell_ms or 0

    def arrivals_until(self, now_ms: int) -> list[Arrival]:
        told = sorted((each for each in self._arrivals if each.at_ms <= now_ms), key=lambda each: each.at_ms)
        self._arrivals = [each for each in self._arrivals if each.at_ms > now_ms]
        return told

    def ways_of(self, driver: int) -> list[list[tuple[float, float]]]:
        return [[LINE[0], LINE[1]], [LINE[1]]]


@dataclass
class Asked:
    """Errands that are only written down. `cars` are what nearby shows; None: it does not answer."""

    cars: Container[str] | None = None
    answers: dict[int, Container[str] | None] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, request: int, place: Place, radius_m: float) -> None:
        self.asked.append(request)

    def shown(self, request: int) -> Container[str] | None:
        return self.answers.get(request, self.cars)

    def say(self, ride: Ride) -> None:
        self.said.append((ride.driver_id, ride.state))


class Calls:
    """Requests at given times (ms since the start), from node to node."""

    def __init__(self, *calls: tuple[int, int, int]) -> None:
        self._left = [Request(number, at, f"r-{number}", *ends) for number, (at, *ends) in enumerate(sorted(calls))]

    @property
    def next_due_ms(self) -> int | None:
        return self._left[0].at_ms if self._left else None

    def due(self, now_ms: int) -> Iterator[Request]:
        while self._left and self._left[0].at_ms <= now_ms:
            yield self._left.pop(0)


def dispatch(line: Line, errands: Asked | NoErrands, calls: Calls, patience_ms: int = 60_000) -> Dispatch:
    supply = Supply(line, line.on_air)
    return Dispatch(errands, line, supply, calls, LINE, Random(1), "run", START_MS, patience_ms)


def play(each: Dispatch, until_ms: int, step_ms: int = 500) -> None:
    for now_ms in range(START_MS, START_MS + until_ms + 1, step_ms):
        each.tick(now_ms)


def test_the_nearest_driver_takes_the_rider_through_all_states() -> None:
    line, errands = Line([50, 12, 30]), Asked(cars={"d-0", "d-1", "d-2"})
    here = dispatch(line, errands, Calls((10_000, 10, 20)))
    play(here, 120_000)
    states = [NEW, ENROUTE_TO_PICKUP, ARRIVED_AT_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE]
    assert errands.said == [("d-1", state) for state in states]
    assert (here.requested, here.done, here.unserved, here.unconfirmed) == (1, 1, 0, 0)
    assert (here.waiting, here.under_way) == ([], [])


def test_the_driver_sets_off_three_seconds_after_the_request_whether_or_not_there_was_an_answer() -> None:
    sent = []
    for cars in ({"d-0"}, None):
        line = Line([12])
        here = dispatch(line, Asked(cars=cars), Calls((10_000, 10, 20)))
        play(here, 60_000)
        sent.append(line.sent)
        assert here.unconfirmed == (cars is None)
    assert sent[0] == sent[1]
    ((_, (pickup, dropoff), at_ms),) = sent[0]
    assert (pickup.node, dropoff.node, dropoff.dwell_ms) == (10, 20, TAPS_MS)
    assert at_ms == START_MS + 10_000 + DEPARTS_MS


def test_a_driver_that_riders_are_not_shown_is_passed_over_and_free_again() -> None:
    line = Line([11, 14, 30])
    here = dispatch(line, Asked(cars={"d-1", "d-2"}), Calls((10_000, 10, 20), (20_000, 12, 20)))
    play(here, 200_000)
    assert [driver for driver, *_ in line.sent] == [1, 2], "d-0 is nearer, but nobody sees it"


def test_drivers_that_are_off_the_air_or_too_far_or_not_yet_known_are_not_asked() -> None:
    far = 10 + int(NEARBY_M / 100) + 1
    line = Line([10, far])
    line.off_air = {0}
    errands = Asked(cars={"d-0", "d-1"})
    here = dispatch(line, errands, Calls((10_000, 10, 20)), patience_ms=30_000)
    play(here, 60_000)
    assert (line.sent, errands.asked, here.unserved) == ([], [], 1)
    early = dispatch(Line([10]), errands, Calls((0, 10, 20)))
    early.tick(START_MS)
    assert errands.asked == [], f"where it was {AS_OF_MS} ms ago is not known"


def test_a_request_waits_for_a_driver_until_its_patience_ends() -> None:
    line, errands = Line([10]), Asked(cars={"d-0"})
    calls = Calls((10_000, 10, 20), (11_000, 10, 20), (12_000, 10, 20))
    here = dispatch(line, errands, calls, patience_ms=80_000)
    play(here, 30_000)
    assert [waiting.since_ms - START_MS for waiting in here.waiting] == [11_000, 12_000]
    assert [ride.rider_id for ride in here.under_way] == ["r-0"]
    play(here, 400_000)
    assert (here.done, here.unserved, here.waiting) == (2, 1, [])


def test_nobody_is_served_twice_and_no_driver_has_two_riders() -> None:
    line = Line([10, 11, 12])
    calls = Calls(*[(10_000 + at, 10, 20) for at in range(5)])
    here = dispatch(line, Asked(cars=set(line.driver_ids)), calls, patience_ms=300_000)
    play(here, 20_000)
    assert sorted(driver for driver, *_ in line.sent) == [0, 1, 2]
    assert len({ride.trip_id for ride in here.under_way}) == 3
    play(here, 400_000)
    assert here.done == 5


def test_ways_are_told_where_there_is_a_way() -> None:
    here = dispatch(Line([10]), Asked(cars={"d-0"}), Calls((10_000, 10, 20)))
    play(here, 14_000)
    (ride,) = here.under_way
    assert (len(ride.approach) > 0, ride.route) == (True, ""), "a way of one point is none"


def test_at_the_end_trips_are_canceled_and_who_waits_goes_away() -> None:
    line, errands = Line([10]), Asked(cars={"d-0"})
    here = dispatch(line, errands, Calls((10_000, 10, 20), (11_000, 10, 20)))
    play(here, 20_000)
    here.close()
    assert errands.said[-1] == ("d-0", CANCELED)
    assert (here.abandoned, here.waiting, here.under_way, here.next_due_ms) == (2, [], [], None)


def test_a_trip_that_is_not_made_yet_is_not_canceled_either() -> None:
    errands = Asked(cars={"d-0"})
    here = dispatch(Line([10]), errands, Calls((10_000, 10, 20)))
    here.tick(START_MS + 10_000)
    here.tick(START_MS + 10_000 + CONFIRM_MS)
    here.close()
    assert errands.said == []


# -- determinism, with the real fleet -------------------------------------------------------------------------------


@cache
def grid() -> RoadNetwork:
    """A part of Manhattan would do; the whole has more ways to go wrong."""
    return load_manhattan()


@dataclass
class Played:
    """What one play of a small city came to."""

    fixes: list[bytes] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)


class Slow(Asked):
    """A system that answers some questions in time, all truly: it shows everybody, or nothing yet."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def shown(self, request: int) -> Container[str] | None:
        return Everybody() if self._random.random() < 0.5 else None


def a_city(steps_ms: Iterator[int], errands: Asked, seconds: int = 100, drivers: int = 12) -> Played:
    roads, played = grid(), Played()
    fleet = Fleet(roads, drivers, Random("7/fleet"), 1_000, 5_000)
    fleet.begin(START_MS)
    truth = Truth([driver.driver_id for driver in fleet.drivers])
    random = Random("7/demand")
    nodes = range(0, len(roads.positions), 37)
    # On whole seconds, so that some things fall on one moment.
    calls = Calls(
        *((random.randrange(10, 40) * 1_000, random.choice(nodes), random.choice(nodes)) for _ in range(CALLS))
    )
    supply = Supply(truth, lambda *_: True)
    here = Dispatch(
        errands, fleet, supply, calls, roads.positions, Random("7/dispatch"), "run", START_MS, patience_ms=60_000
    )
    now_ms, end_ms = START_MS, START_MS + seconds * 1_000
    while now_ms < end_ms:
        due_ms = here.next_due_ms
        now_ms = min([end_ms, now_ms + next(steps_ms), *([] if due_ms is None else [max(due_ms, now_ms + 1)])])
        fixes: list[Fix] = []
        for report in fleet.reports_until(now_ms):
            truth.moved(report.driver, report.fix.fix_time_ms, report.true_lat, report.true_lon)
            fixes.append(report.fix)
        played.fixes += map(encode_fix, fixes)
        here.tick(now_ms)
    played.said = errands.said
    assert here.requested == CALLS
    assert here.under_way, "the test is about something"
    return played


@cache
def as_on_a_grid() -> Played:
    return a_city(iter(lambda: 100, None), Slow(Random(0)))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_pings_and_trips_do_not_depend_on_how_time_is_cut_or_when_answers_come(seed: int) -> None:
    random = Random(seed)
    steps_ms = iter(lambda: random.randint(1, 1_000), None)
    assert a_city(steps_ms, Slow(Random(seed))) == as_on_a_grid()


@pytest.mark.parametrize("late_ms", [0, TRY_AGAIN_MS])
def test_a_rehearsal_decides_as_a_run_does(late_ms: int) -> None:
    runs = []
    for errands in (NoErrands(), Asked(cars=Everybody())):
        line = Line([50, 12, 30])
        here = dispatch(line, errands, Calls((10_000 + late_ms, 10, 20), (12_000, 31, 20)))
        play(here, 60_000)
        runs.append((line.sent, here.unconfirmed))
    assert runs[0] == runs[1]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_of_things_that_fall_on_one_moment_it_does_not_matter_when_they_were_planned(seed: int) -> None:
    """Where positions do not change under the question, dispatch need not even be asked at every moment that is due."""

    def told(least_ms: int, most_ms: int) -> list[tuple[int, tuple[Stop, ...], int]]:
        random, steps = Random(seed), Random(seed)
        line = Line([random.randrange(30) for _ in range(4)])
        calls = Calls(*((random.randrange(10, 20) * 1_000, *random.sample(range(30), 2)) for _ in range(12)))
        here = dispatch(line, NoErrands(), calls)
        now_ms = START_MS
        while now_ms < START_MS + 80_000:
            now_ms += steps.randint(least_ms, most_ms)
            here.tick(now_ms)
        return [sent for sent in line.sent if sent[2] < START_MS + 80_000]

    assert told(200, 1_000) == told(100, 100)
