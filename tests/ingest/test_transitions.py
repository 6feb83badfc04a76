"""Random commands, and a model of a trip that shares nothing with the code: they agree on every state and refusal."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.transitions import MAX_ASSIGNMENTS, Illegal, Wish, advance, allowed, cancel, create, reassign
from ingest.trips import CREATED, REASSIGNED, STATE_CHANGED, STATES, Place, Trip, decode_trip, encode_trip, next_stop

PICKUP, DROPOFF = Place(40.7, -74.0, "home"), Place(40.8, -74.1)


def new(waypoints: int = 0, driver_id: str = "d-1") -> Trip:
    stops = [Place(40.7 + at / 100, -74.0) for at in range(waypoints)]
    return create("t-1", Wish(driver_id, "r-1", PICKUP, DROPOFF, stops, "_p~iF~ps|U", "way"), "dispatch", 1_000)


@dataclass
class Itinerary:
    """The model: a trip is a place in a list of states that is written down beforehand."""

    waypoints: int
    at: int = 0
    canceled: bool = False
    driver_id: str = "d-1"
    drivers: int = 1
    happened: int = 1
    states: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        legs = ["ENROUTE_TO_INTERMEDIATE_DESTINATION", "ARRIVED_AT_INTERMEDIATE_DESTINATION"] * self.waypoints
        self.states = ["NEW", "ENROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP", *legs, "ENROUTE_TO_DROPOFF", "COMPLETE"]

    @property
    def state(self) -> str:
        return "CANCELED" if self.canceled else self.states[self.at]

    @property
    def over(self) -> bool:
        return self.canceled or self.at == len(self.states) - 1

    @property
    def waypoints_behind(self) -> int:
        return min(max(0, self.at - 3) // 2, self.waypoints)

    def go(self, state: str) -> bool:
        if self.over:
            return False
        if state == "CANCELED":
            self.canceled = True
        elif state == self.states[self.at + 1]:
            self.at += 1
        else:
            return False
        self.happened += 1
        return True

    def give_to(self, driver_id: str) -> bool:
        if self.over or self.at > 2 or driver_id == self.driver_id or self.drivers == MAX_ASSIGNMENTS:
            return False
        self.at, self.driver_id = 0, driver_id
        self.drivers += 1
        self.happened += 1
        return True


#: "+" takes the trip on as it should go, so that long rides are met; the rest is whatever an app may send.
COMMANDS = st.lists(
    st.one_of(
        st.just("+"),
        st.just("+"),
        st.just("+"),
        st.sampled_from(STATES[:-1]),
        st.sampled_from(["cancel", "CANCELED"]),
        st.sampled_from(["give:d-1", "give:d-2", "give:d-3"]),
    ),
    max_size=40,
)


@given(st.integers(0, 4), COMMANDS, st.lists(st.integers(0, 5_000), min_size=40, max_size=40))
def test_a_trip_goes_where_the_model_goes_and_nowhere_else(
    waypoints: int, commands: list[str], at_ms: list[int]
) -> None:
    trip, model = new(waypoints), Itinerary(waypoints)
    for command, now_ms in zip(commands, at_ms, strict=False):
        if command == "+":
            command = model.state if model.over else model.states[model.at + 1]
        after: Trip | Illegal
        if command.startswith("give:"):
            driver_id = command[5:]
            after, went = reassign(trip, driver_id, "approach", "dispatch", now_ms), model.give_to(driver_id)
        elif command == "cancel":
            after, went = cancel(trip, "driver", now_ms, "no show"), model.go("CANCELED")
        else:
            after, went = advance(trip, command, "driver", now_ms), model.go(command)
        assert isinstance(after, Trip) == went
        if isinstance(after, Illegal):
            assert after.allowed == allowed(trip)
            continue
        assert after.history[:-1] == trip.history, "what happened stays"
        assert after.history[-1].at_ms >= trip.history[-1].at_ms, "and in order"
        trip = after
        assert (trip.state, trip.driver_id, trip.assignment) == (model.state, model.driver_id, model.drivers)
        assert trip.version == len(trip.history) == model.happened
        assert trip.history[-1].event_id == f"v{trip.version}"
        if not model.canceled:
            assert trip.next_waypoint == model.waypoints_behind
        assert trip.ended == model.over
        assert (trip.pickup, trip.dropoff, trip.rider_id) == (PICKUP, DROPOFF, "r-1")
        next_stop(trip)  # an index that is out of range would raise
        assert decode_trip(encode_trip(trip)) == trip
    assert set(allowed(trip)) == {state for state in STATES if Itinerary.go(clone(model), state)}


def clone(model: Itinerary) -> Itinerary:
    return Itinerary(model.waypoints, model.at, model.canceled, model.driver_id, model.drivers, model.happened)


def test_a_ride_with_two_stops_is_told_stop_by_stop() -> None:
    trip = new(waypoints=2)
    while not trip.ended:
        trip = went(advance(trip, allowed(trip)[0], "driver", 2_000))
    assert [(each.type, each.state, each.place) for each in trip.history] == [
        (CREATED, "NEW", ""),
        (STATE_CHANGED, "ENROUTE_TO_PICKUP", ""),
        (STATE_CHANGED, "ARRIVED_AT_PICKUP", ""),
        (STATE_CHANGED, "ENROUTE_TO_INTERMEDIATE_DESTINATION", "waypoint:0"),
        (STATE_CHANGED, "ARRIVED_AT_INTERMEDIATE_DESTINATION", "waypoint:0"),
        (STATE_CHANGED, "ENROUTE_TO_INTERMEDIATE_DESTINATION", "waypoint:1"),
        (STATE_CHANGED, "ARRIVED_AT_INTERMEDIATE_DESTINATION", "waypoint:1"),
        (STATE_CHANGED, "ENROUTE_TO_DROPOFF", ""),
        (STATE_CHANGED, "COMPLETE", ""),
    ]
    assert {each.by for each in trip.history} == {"dispatch", "driver"}


def test_another_driver_begins_anew_with_their_own_way_and_the_first_is_remembered() -> None:
    trip = went(advance(new(), "ENROUTE_TO_PICKUP", "driver", 2_000))
    trip = went(reassign(trip, "d-2", "", "dispatch", 3_000, "flat tyre"))
    assert (trip.state, trip.driver_id, trip.assignment, trip.approach, trip.route) == ("NEW", "d-2", 2, "", "way")
    assert trip.drivers == {"d-1", "d-2"}
    last = trip.history[-1]
    assert (last.type, last.driver_id, last.assignment, last.reason) == (REASSIGNED, "d-2", 2, "flat tyre")


def test_a_trip_that_nobody_wants_is_not_passed_on_for_ever() -> None:
    trip = new()
    for number in range(2, MAX_ASSIGNMENTS + 1):
        trip = went(reassign(trip, f"d-{number}", "", "dispatch", 1_000))
    refused = reassign(trip, "d-0", "", "dispatch", 1_000)
    assert isinstance(refused, Illegal)
    assert "create another" in refused.detail


@pytest.mark.parametrize("state", ["COMPLETE", "CANCELED"])
def test_a_trip_that_has_ended_says_so(state: str) -> None:
    trip = new()
    while not trip.ended:
        trip = went(advance(trip, "CANCELED" if state == "CANCELED" else allowed(trip)[0], "driver", 1_000))
    for refused in (
        advance(trip, "ENROUTE_TO_PICKUP", "driver", 1_000),
        cancel(trip, "driver", 1_000),
        reassign(trip, "d-2", "", "dispatch", 1_000),
    ):
        assert isinstance(refused, Illegal)
        assert "has ended" in refused.detail
        assert refused.allowed == ()


def went(after: Trip | Illegal) -> Trip:
    assert isinstance(after, Trip)
    return after
