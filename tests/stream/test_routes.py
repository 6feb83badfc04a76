"""Where a car is on its polyline: against dense samples of it, and along lines that cross and double themselves."""

from __future__ import annotations

import random
from itertools import pairwise
from math import cos, radians

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.trips import DROPOFF, NEW, PICKUP, Place, Trip, TripEvent
from stream.positions import METRES_PER_DEGREE
from stream.routes import OFF_ROUTE_M, Route, legs_of
from tests.oracle.distance import haversine_m
from tests.oracle.polylines import encode

Point = tuple[float, float]
#: (east, north) in metres.
Metres = tuple[float, float]


def at(east_m: float, north_m: float, origin: Point = (40.7, -74.0)) -> Point:
    lat, lon = origin
    east = lon + east_m / METRES_PER_DEGREE / cos(radians(lat))
    return lat + north_m / METRES_PER_DEGREE, (east + 180) % 360 - 180


def dense(corners: list[Metres], step_m: float = 1.0) -> list[tuple[float, Metres]]:
    """Places all along a line of east-north corners, with how far along each is."""
    found, along_m = [], 0.0
    for (ax, ay), (bx, by) in pairwise(corners):
        length_m = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
        steps = max(int(length_m / step_m), 1)
        for step in range(steps):
            share = step / steps
            found.append((along_m + share * length_m, (ax + share * (bx - ax), ay + share * (by - ay))))
        along_m += length_m
    found.append((along_m, corners[-1]))
    return found


#: North and a little to the side, so that no part comes near another.
straightish = st.lists(st.tuples(st.integers(-60, 60), st.integers(100, 400)), min_size=1, max_size=8).map(
    lambda steps: [
        (0.0, 0.0),
        *((float(east), float(sum(n for _, n in steps[: k + 1]))) for k, (east, _) in enumerate(steps)),
    ]
)
origins = st.sampled_from([(40.7, -74.0), (1.3, 103.8), (-36.8, 179.9995), (64.1, -21.9)])


@settings(max_examples=200)
@given(straightish, st.integers(0, 3_200), st.floats(-40, 40), origins, st.one_of(st.none(), st.integers(-90, 90)))
def test_a_car_is_found_where_the_line_is_nearest(
    corners: list[Metres], near: int, off_m: float, origin: Point, before_m: int | None
) -> None:
    samples = dense(corners)
    true_m, (east, north) = samples[near % len(samples)]
    here = at(east + off_m, north, origin)
    route = Route([at(*corner, origin) for corner in corners])
    match = route.find(*here, at_m=0.0 if before_m is None else true_m + before_m, moved_m=0.0)
    nearest_m = min(haversine_m(*here, *at(*there, origin)) for _, there in samples)
    assert match is not None
    # Where two segments meet, some metres along the line weigh as much as some off it.
    assert nearest_m - 1 <= match.offset_m <= (nearest_m**2 + 10**2) ** 0.5
    distances = {along_m: haversine_m(*here, *at(*there, origin)) for along_m, there in samples}
    best = [along_m for along_m, distance_m in distances.items() if distance_m <= nearest_m + 0.5]
    assert min(best) - 10 <= match.at_m <= max(best) + 10


def test_a_route_is_as_long_as_its_great_circles() -> None:
    points = [at(0, 0), at(300, 0), at(300, 40_000), at(-70_000, 40_000)]
    assert Route(points).length_m == pytest.approx(sum(haversine_m(*one, *two) for one, two in pairwise(points)))


GRID = {
    "out and back": [(0, 0), (0, 600), (0, 0)],
    "around the block twice": [(0, 0), (0, 200), (200, 200), (200, 0), (0, 0), (0, 200), (200, 200), (200, 0), (0, 0)],
    "a figure of eight": [(0, 0), (400, 400), (400, 0), (0, 400), (0, 0)],
    "there, back, and there again": [(0, 0), (300, 0), (100, 0), (700, 0)],
    "a hairpin": [(0, 0), (0, 500), (15, 500), (15, 0)],
}


@pytest.mark.parametrize("name", GRID)
@pytest.mark.parametrize("seed", range(8))
def test_a_car_on_a_route_that_crosses_or_doubles_itself_does_not_jump(name: str, seed: int) -> None:
    noise = random.Random(seed)
    corners = [(float(east), float(north)) for east, north in GRID[name]]
    route, samples = Route([at(*corner) for corner in corners]), dense(corners)
    speed_mps, every_s = noise.choice([6, 9, 14]), noise.choice([1, 2, 5])
    at_m, last = 0.0, at(*corners[0])
    errors = []
    for step in range(0, len(samples), speed_mps * every_s):
        true_m, (east, north) = samples[step]
        here = at(east + noise.gauss(0, 4), north + noise.gauss(0, 4))
        match = route.find(*here, at_m=at_m, moved_m=haversine_m(*last, *here))
        assert match is not None
        at_m, last = match.at_m, here
        errors.append(abs(at_m - true_m))
    assert max(errors) < 100
    assert errors[-1] < 60


def test_a_car_off_its_route_is_said_to_be() -> None:
    route = Route([at(0, 0), at(0, 1_000)])
    assert route.find(*at(OFF_ROUTE_M + 5, 500), at_m=500, moved_m=0) is None
    assert route.find(*at(OFF_ROUTE_M - 5, 500), at_m=500, moved_m=0) is not None
    assert route.find(*at(OFF_ROUTE_M + 5, 500), at_m=500, moved_m=0, reach_m=OFF_ROUTE_M + 30) is not None


def test_a_car_that_was_not_seen_for_long_is_found_far_along() -> None:
    route = Route([at(0, 0), at(0, 3_000), at(0, 6_000), at(0, 9_000)])
    match = route.find(*at(3, 7_000), at_m=100, moved_m=0)
    assert match is not None
    assert match.at_m == pytest.approx(7_000, abs=0.1)


def trip(
    route: str = "", approach: str = "", waypoints: tuple[Point, ...] = (), dropoff: Point = (40.71, -74.0)
) -> Trip:
    history = [TripEvent("v1", "trip.created", 0, NEW, "d", 1)]
    stops = [Place(*one) for one in waypoints]
    return Trip("t", 1, 1, "d", "r", NEW, Place(*at(0, 0)), Place(*dropoff), 0, history, stops, 0, approach, route)


def test_the_legs_of_a_route_end_where_it_passes_their_stops() -> None:
    route = encode([at(0, 0), at(0, 600), at(500, 600)])
    legs = legs_of(trip(route, encode([at(0, -900), at(0, 0)]), (at(10, 300),), at(500, 600)))
    assert legs[PICKUP].end_m == pytest.approx(900, abs=2)
    waypoint, dropoff = legs["waypoint:0"], legs[DROPOFF]
    assert (waypoint.begin_m, waypoint.end_m) == (0.0, pytest.approx(300, abs=2))
    assert waypoint.beyond_m == pytest.approx(10, abs=2)
    assert (dropoff.begin_m, dropoff.end_m) == (waypoint.end_m, pytest.approx(1_100, abs=3))


def test_a_stop_that_the_route_passes_twice_is_made_at_the_first_pass_unless_it_is_behind() -> None:
    there_and_back = encode([at(0, 0), at(0, 600), at(0, 0)])
    legs = legs_of(trip(there_and_back, "", (at(0, 400), at(0, 200)), at(0, 0)))
    assert legs["waypoint:0"].end_m == pytest.approx(400, abs=2)
    assert legs["waypoint:1"].end_m == pytest.approx(1_000, abs=2)
    assert legs[DROPOFF].end_m == pytest.approx(1_200, abs=2)


@pytest.mark.parametrize("polyline", ["", "_", "??", encode([at(0, 0)]), encode([at(0, 0), at(0, 0)]), "\x00"])
def test_what_is_no_line_is_driven_straight(polyline: str) -> None:
    legs = legs_of(trip(polyline, polyline, (at(0, 500),)))
    assert all(leg.route is None for leg in legs.values())
