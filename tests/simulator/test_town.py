"""A town plays the same whoever looks, and how often: what is posted hangs on the scenario and its seed alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import chain, repeat
from pathlib import Path

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.dispatch.dispatch import NoErrands
from simulator.dispatch.rides import ARRIVED_AT_PICKUP, CANCELED, COMPLETE, ENDED, STATES, Ride
from simulator.fleet.fleet import PHASE_MS
from simulator.phones.phones import Sending
from simulator.roads.network import RoadNetwork
from simulator.scenarios.city import load_city
from simulator.scenarios.scenario import Scenario, parse_scenario
from simulator.staging.fingerprint import Fingerprint
from simulator.staging.town import Town

START_MS = 1_767_225_600_000
#: Time enough for a trip to end, with all that can happen to a phone's reports on the way.
SMALL = """
title = "A few blocks"
duration_s = 90
seed = 4
[city]
area = { lat = 40.7580, lon = -73.9855, radius_m = 600 }
[fleet]
drivers = 60
standing_interval_s = 3
[demand]
trips = 9
until_s = 8
trip_m = [100, 250]
boarding_s = [1, 3]
[[faults]]
kind = "tunnel"
from_s = 10
until_s = 30
share = 0.2
flush = "shuffled"
[[faults]]
kind = "teleport"
rate = 0.03
[[faults]]
kind = "loss"
rate = 0.05
[[faults]]
kind = "delay"
share = 0.4
delay_s = [0.1, 3.0]
in_order = false
[[faults]]
kind = "duplicate"
rate = 0.1
after_s = [0.0, 4.0]
"""
SCENARIO = parse_scenario(SMALL, "small", Path())
END_MS = 90_000


@cache
def roads() -> RoadNetwork:
    return load_city(SCENARIO.city)


class Diary(NoErrands):
    """Nearby is the truth; what is said of each trip is written down, with the time."""

    def __init__(self) -> None:
        self.town: Town
        self.said: list[tuple[int, Ride, str]] = []

    def say(self, ride: Ride) -> None:
        self.said.append((self.town.now_ms - self.town.start_ms, ride, ride.state))

    def states(self) -> dict[int, list[str]]:
        states: dict[int, list[str]] = {}
        for _, ride, state in self.said:
            states.setdefault(ride.number, []).append(state)
        return states


class Unanswered(Diary):
    """A system that does not answer in time."""

    def shown(self, request: int) -> None:  # type: ignore[override]
        return None


def town_of(diary: Diary, scenario: Scenario = SCENARIO, start_ms: int = START_MS) -> Town:
    town = diary.town = Town(scenario, roads())
    town.begin(start_ms)
    town.serve(diary, "run", ())
    return town


def played(town: Town, steps_ms: Iterable[int]) -> list[Sending]:
    sendings, until_ms = [], -1
    for step_ms in chain(steps_ms, repeat(END_MS)):
        until_ms = min(until_ms + step_ms, END_MS - 1)
        sendings += town.advance(town.start_ms + until_ms)
        if until_ms == END_MS - 1:
            return sendings
    raise AssertionError("time ends")


def fingerprint(sendings: Iterable[Sending], start_ms: int = START_MS) -> str:
    found = Fingerprint()
    for sending in sendings:
        found.add(sending, start_ms)
    return found.hexdigest()


@cache
def at_one_go() -> tuple[str, dict[int, list[str]]]:
    diary = Diary()
    return fingerprint(played(town_of(diary), ())), diary.states()


@given(st.lists(st.integers(1, 2_000), max_size=80), st.integers(0, 10**9))
@settings(max_examples=15, deadline=None)
def test_the_same_seed_posts_the_same_bytes_however_time_is_cut_and_whenever_it_begins(
    steps_ms: list[int], later: int
) -> None:
    start_ms, diary = START_MS + later * PHASE_MS, Diary()
    sendings = played(town_of(diary, start_ms=start_ms), steps_ms)
    assert (fingerprint(sendings, start_ms), diary.states()) == at_one_go()


def test_another_seed_posts_something_else() -> None:
    assert fingerprint(played(town_of(Diary(), SCENARIO.with_(seed=5)), ())) != at_one_go()[0]


def test_a_system_that_does_not_answer_moves_no_car_otherwise() -> None:
    assert fingerprint(played(town_of(Unanswered()), ())) == at_one_go()[0]


def test_what_is_posted_is_in_order_and_never_before_it_was_read() -> None:
    sendings = played(town_of(Diary()), ())
    due_ms = [sending.send_at_ms for sending in sendings]
    assert len(sendings) > 3_000
    assert due_ms == sorted(due_ms)
    assert all(START_MS <= sending.fix.fix_time_ms <= sending.send_at_ms for sending in sendings)


def test_trips_go_through_their_states_with_one_driver_each_at_a_time_and_the_car_at_its_stop() -> None:
    diary, busy = Diary(), dict[int, int]()
    town = town_of(diary)
    told = 0
    while town.next_due_ms < START_MS + END_MS:
        town.advance(town.next_due_ms)
        for _, ride, state in diary.said[told:]:
            assert busy.setdefault(ride.driver, ride.number) == ride.number, "a driver has one trip at a time"
            if state in (ARRIVED_AT_PICKUP, COMPLETE):
                here, stop = (
                    town.truth.where(ride.driver, town.now_ms),
                    ride.dropoff if state == COMPLETE else ride.pickup,
                )
                assert here is not None
                # Truth knows where it was at its last report.
                assert h3.great_circle_distance(here, stop, unit="m") < 10
            if state in ENDED:
                del busy[ride.driver]
        told = len(diary.said)
    assert town.dispatch is not None
    town.dispatch.close()
    states = diary.states()
    assert town.dispatch.requested == len(states) == 9
    assert any(one[-1] == COMPLETE for one in states.values())
    for one in states.values():
        gone_through = one[:-1] if one[-1] == CANCELED else one
        assert tuple(gone_through) == STATES[: len(gone_through)]


def test_a_fault_that_cannot_be_is_refused_when_the_run_begins() -> None:
    scenario = parse_scenario(SMALL.replace('"loss"', '"gloss"'), "small", Path())
    with pytest.raises(ValueError, match="gloss"):
        Town(scenario, roads()).begin(START_MS)
