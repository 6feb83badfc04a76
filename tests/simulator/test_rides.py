"""What is said of a ride follows from when its car got where, in the one order that the trip API takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.trips import STATES as ALL_STATES
from simulator.dispatch.rides import (
    ARRIVED_AT_PICKUP,
    BOARDING_MS,
    CANCELED,
    COMPLETE,
    DROPOFF,
    ENDED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    PICKUP,
    STATES,
    TAPS_MS,
    Place,
    Ride,
)

HERE, THERE = Place(40.75, -73.99), Place(40.76, -73.98)


def a_ride(departs_ms: int = 1_000, boarding_ms: int = 20_000) -> Ride:
    return Ride(1, "t-1", "r-1", 0, "d-1", 3, 4, HERE, THERE, departs_ms, boarding_ms)


def test_its_states_are_those_of_the_trip_wire() -> None:
    assert set(STATES) | ENDED <= set(ALL_STATES)


@given(
    departs_ms=st.integers(0, 10**12),
    drives_ms=st.integers(0, 10**6),
    carries_ms=st.integers(0, 10**6),
    boarding_ms=st.integers(*BOARDING_MS),
)
def test_however_short_the_ways_everything_is_said_once_and_in_order(
    departs_ms: int, drives_ms: int, carries_ms: int, boarding_ms: int
) -> None:
    ride = a_ride(departs_ms, boarding_ms)
    there_ms = departs_ms + drives_ms
    steps = [
        *ride.begins(),
        *ride.arrives(PICKUP, there_ms),
        *ride.arrives(DROPOFF, there_ms + boarding_ms + carries_ms),
    ]
    assert [state for _, state in steps] == list(STATES)
    times = [at_ms for at_ms, _ in steps]
    assert times == sorted(times)
    assert len(set(times)) == len(times), "no two at once"
    assert all(ride.say(state) for _, state in steps)


def test_the_driver_stands_at_the_dropoff_until_the_trip_is_said_to_be_over() -> None:
    ride = a_ride()
    pickup, dropoff = ride.stops()
    assert (pickup.node, pickup.dwell_ms, dropoff.node) == (3, 20_000, 4)
    assert dropoff.dwell_ms == TAPS_MS
    assert ride.arrives(DROPOFF, 5_000) == [(5_000 + TAPS_MS, COMPLETE)]


def test_no_state_is_skipped_or_said_twice_and_nothing_follows_the_end() -> None:
    ride = a_ride()
    assert not ride.say(CANCELED), "what was not made cannot be canceled"
    assert not ride.say(ENROUTE_TO_PICKUP)
    assert ride.say(NEW)
    assert not ride.say(NEW)
    assert ride.say(ENROUTE_TO_PICKUP)
    assert not ride.say(ENROUTE_TO_DROPOFF)
    assert ride.say(ARRIVED_AT_PICKUP)
    assert ride.say(CANCELED)
    assert not ride.say(ENROUTE_TO_DROPOFF)
    assert not ride.say(CANCELED)


def test_a_link_that_lets_others_watch_is_not_printed() -> None:
    ride = a_ride()
    ride.share_url = "https://example.org/share#secret"
    assert "secret" not in repr(ride)
