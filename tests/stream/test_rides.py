"""Whose affair it is where a driver goes: the rider's who is being driven, and of those who wait nobody's."""

from __future__ import annotations

from ingest.trips import (
    CANCELED,
    COMPLETE,
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    REASSIGNED,
    STATE_CHANGED,
    Place,
    Trip,
    TripEvent,
)
from stream.rides import NEVER_MS, barred, rides_of


def trip(*steps: tuple[int, str, str]) -> Trip:
    """What happened to it: (at_ms, state, driver). NEW begins it, and later gives it to another driver."""
    history, assignment = [], 0
    for number, (at_ms, state, driver_id) in enumerate(steps, start=1):
        assignment += state == NEW
        type_ = STATE_CHANGED if state != NEW else CREATED if number == 1 else REASSIGNED
        history.append(TripEvent(f"v{number}", type_, at_ms, state, driver_id, assignment))
    last = history[-1]
    place = Place(40.7, -74.0)
    return Trip("t", len(history), assignment, last.driver_id, "r", last.state, place, place, steps[0][0], history)


def test_a_ride_is_from_its_first_step_to_its_end() -> None:
    ridden = trip((10, NEW, "d"), (20, ENROUTE_TO_PICKUP, "d"), (30, ENROUTE_TO_DROPOFF, "d"), (40, COMPLETE, "d"))
    assert rides_of(ridden, "d") == [(20, 40)]
    assert rides_of(ridden, "another") == []
    assert rides_of(trip((10, NEW, "d"), (20, ENROUTE_TO_PICKUP, "d")), "d") == [(20, NEVER_MS)]


def test_a_trip_that_was_called_off_before_it_began_is_no_ride() -> None:
    assert rides_of(trip((10, NEW, "d"), (20, CANCELED, "d")), "d") == []


def test_a_driver_who_gives_a_trip_away_has_ridden_until_then() -> None:
    given = trip((10, NEW, "d"), (20, ENROUTE_TO_PICKUP, "d"), (30, NEW, "e"), (40, ENROUTE_TO_PICKUP, "e"))
    assert rides_of(given, "d") == [(20, 30)]
    assert rides_of(given, "e") == [(40, NEVER_MS)]


def test_who_waits_is_not_to_know_where_the_other_goes_and_who_shares_the_car_is() -> None:
    ridden = trip((10, NEW, "d"), (20, ENROUTE_TO_PICKUP, "d"), (60, COMPLETE, "d"))
    assert barred(trip((15, NEW, "d")), [ridden]) == ((20, 60),)
    assert barred(trip((15, NEW, "d"), (40, ENROUTE_TO_PICKUP, "d")), [ridden]) == ((20, 39),)
    assert barred(trip((15, NEW, "d"), (20, ENROUTE_TO_PICKUP, "d")), [ridden]) == ()
    assert barred(trip((70, NEW, "d")), [ridden]) == ()
    assert barred(trip((15, NEW, "e")), [ridden]) == ()
    assert barred(trip((15, NEW, "d"), (50, CANCELED, "d")), [ridden]) == ((20, 60),)
    under_way = trip((10, NEW, "d"), (20, ENROUTE_TO_PICKUP, "d"))
    assert barred(trip((15, NEW, "d")), [under_way, ridden]) == ((20, 60), (20, NEVER_MS))
