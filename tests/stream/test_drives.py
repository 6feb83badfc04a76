"""What a rider is shown of the car on its way: the leg, what remains of it, and whether it is on its route."""

from __future__ import annotations

import msgspec
import pytest

from ingest.events import Ping
from ingest.transitions import Wish, advance, allowed, create
from ingest.trips import DROPOFF, PICKUP, Place, Trip
from stream.drives import Drive, TripRules
from stream.positions import METRES_PER_DEGREE
from stream.trip_channels import TripCar
from tests.oracle.polylines import encode

RULES = TripRules(60, 150, 1.3, 7, 55, 15_000, 86_400_000)
START_MS = 1_000_000


def place(north_m: float, east_m: float = 0.0) -> Place:
    return Place(40.7 + north_m / METRES_PER_DEGREE, -74.0 + east_m / METRES_PER_DEGREE / 0.7581)


def line(*north_m: float) -> str:
    return encode((place(at).lat, place(at).lon) for at in north_m)


def trip(dropoff_m: float = 3_000, route: str = "", approach: str = "", waypoints: tuple[float, ...] = ()) -> Trip:
    stops = [place(at) for at in waypoints]
    return create("t", Wish("d", "r", place(0), place(dropoff_m), stops, approach, route), "dispatch", START_MS)


def until(trip: Trip, state: str) -> Trip:
    while trip.state != state:
        after = advance(trip, allowed(trip)[0], "driver", START_MS)
        assert isinstance(after, Trip)
        trip = after
    return trip


def on(trip: Trip) -> Drive:
    drive = Drive(trip, RULES)
    drive.turn(trip)
    return drive


def seen(drive: Drive, at_s: float, north_m: float, east_m: float = 0.0) -> TripCar:
    """The car after a fix of then and there."""
    here = place(north_m, east_m)
    assert drive.move(Ping("d", START_MS + round(at_s * 1000), here.lat, here.lon, 0, accuracy_m=5.0))
    assert drive.car is not None
    return drive.car


def test_without_a_route_the_rest_is_the_straight_line_and_the_detour_of_roads() -> None:
    car = seen(on(trip()), 1, -1_000)
    assert (car.leg, car.route_m, car.off_route) == (PICKUP, None, False)
    assert car.remaining_m == pytest.approx(1_300)
    assert car.eta_s == pytest.approx(1_300 / 7)


def test_on_a_route_the_rest_is_what_remains_of_it() -> None:
    drive = on(until(trip(3_000, line(0, 1_500, 3_000)), "ENROUTE_TO_DROPOFF"))
    car = seen(drive, 1, 1_000, 8)
    assert (car.leg, car.off_route) == (DROPOFF, False)
    assert (car.route_m, car.remaining_m) == (pytest.approx(1_000, abs=2), pytest.approx(2_000, abs=2))


def test_a_car_that_leaves_its_route_is_off_it_and_comes_back() -> None:
    drive = on(until(trip(3_000, line(0, 3_000)), "ENROUTE_TO_DROPOFF"))
    seen(drive, 1, 1_000)
    off = seen(drive, 20, 1_100, 300)
    assert (off.off_route, off.route_m) == (True, None)
    assert off.remaining_m == pytest.approx((1_900**2 + 300**2) ** 0.5 * 1.3, rel=0.01)
    back = seen(drive, 40, 1_200, 3)
    assert (back.off_route, back.route_m) == (False, pytest.approx(1_200, abs=2))


def test_the_way_of_a_route_that_comes_back_is_not_cut_short() -> None:
    drive = on(until(trip(0, line(0, 1_000, 0)), "ENROUTE_TO_DROPOFF"))
    for at in range(99):
        assert seen(drive, 1 + at, at * 10.0).remaining_m == pytest.approx(2_000 - at * 10, abs=25)
    for at in range(99, -1, -1):
        assert seen(drive, 201 - at, at * 10.0).remaining_m == pytest.approx(at * 10, abs=25)


def test_a_waypoint_ends_its_leg_and_the_car_that_stands_there_has_a_place_on_the_route() -> None:
    ordered = trip(3_000, line(0, 3_000), waypoints=(1_200,))
    drive = on(until(ordered, "ENROUTE_TO_INTERMEDIATE_DESTINATION"))
    car = seen(drive, 1, 1_000)
    assert (car.leg, car.remaining_m) == ("waypoint:0", pytest.approx(200, abs=2))
    drive.turn(until(ordered, "ARRIVED_AT_INTERMEDIATE_DESTINATION"))
    assert drive.car is not None
    assert (drive.car.leg, drive.car.remaining_m, drive.car.eta_s) == ("", None, None)
    assert drive.car.route_m == pytest.approx(1_000, abs=2)
    drive.turn(until(ordered, "ENROUTE_TO_DROPOFF"))
    assert (drive.car.leg, drive.car.remaining_m) == (DROPOFF, pytest.approx(2_000, abs=2))
    drive.turn(until(ordered, "COMPLETE"))
    assert drive.car is None


def test_a_round_trip_is_not_over_while_the_car_still_stands_where_it_began() -> None:
    drive = on(until(trip(10), "ENROUTE_TO_DROPOFF"))
    found = []
    told: set[str] = set()
    for at, north_m in enumerate([0, 5, 10, 0, 400, 410, 420, 15, 10, 5]):
        seen(drive, at * 60, north_m)
        news = drive.look(START_MS + at * 60_000, told)
        told.update(one.key for one in news)
        found += [(at, one.key) for one in news if one.key.startswith("arrived")]
    assert found == [(8, "arrived:dropoff")]


def test_a_driver_who_already_stands_at_the_pickup_has_arrived() -> None:
    drive = on(until(trip(), "ENROUTE_TO_PICKUP"))
    seen(drive, 1, 5)
    assert drive.look(START_MS + 1_000, ()) == []
    seen(drive, 2, 6)
    assert [one.key for one in drive.look(START_MS + 2_000, ())] == ["arrived:pickup"]


def test_nothing_is_told_of_a_driver_who_has_not_set_out() -> None:
    drive = on(trip())
    for at in range(5):
        seen(drive, at, 0)
        assert drive.look(START_MS + at * 1_000, ()) == []


def test_a_car_never_goes_back_in_time_or_before_its_assignment() -> None:
    drive = on(trip())
    seen(drive, 10, -500)
    before = drive.car
    for at_ms in (START_MS - 1, START_MS + 9_999, START_MS + 10_000):
        assert not drive.move(Ping("d", at_ms, 40.7, -74.0, 0))
    assert drive.car == before


def test_pings_that_were_read_before_the_trip_place_the_car_unless_they_are_false() -> None:
    drive = on(trip())
    recent = [Ping("d", START_MS + at * 1_000, place(-at * 10.0).lat, -74.0, 0) for at in (3, 1, 2, 2)]
    false = Ping("d", START_MS + 4_000, 10.0, 10.0, 0)
    assert drive.move_to_newest([*recent, false])
    assert drive.car is not None
    assert drive.car.fix_time_ms == START_MS + 3_000
    assert not drive.move_to_newest([])


def test_the_eta_follows_the_car() -> None:
    drive = on(until(trip(9_000, line(0, 9_000)), "ENROUTE_TO_DROPOFF"))
    for at in range(0, 500, 5):
        car = seen(drive, at, at * 12.0)
    assert car.eta_s is not None
    assert car.remaining_m is not None
    assert car.eta_s == pytest.approx(car.remaining_m / 12, rel=0.05)
    assert drive.take_car() == msgspec.structs.replace(car, distance_m=drive.track.distance_m)
