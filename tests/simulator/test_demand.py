"""People want to go: as many as was asked, when and from where was asked, and the same people for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, pairwise
from random import Random

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.demand.recorded import Recorded, RequestsError, read_requests
from simulator.demand.requests import Request, Requests
from simulator.roads.network import RoadNetwork, load_manhattan
from simulator.scenarios.scenario import Demand, HotSpot

TIMES_SQUARE = (40.7580, -73.9855)


@pytest.fixture(scope="module")
def manhattan() -> RoadNetwork:
    return load_manhattan()


@pytest.fixture(scope="module")
def nyc() -> list[Recorded]:
    return read_requests("nyc")


def small_town() -> RoadNetwork:
    """Six by six corners, 111 m apart, streets in both directions."""
    corners = [(0.001 * row, 0.001 * column) for row in range(6) for column in range(6)]
    streets = [(a, b) for a in range(36) for b in range(36) if b - a in (1, 6) and (b - a == 6 or b % 6)]
    return RoadNetwork(corners, [(a, b, 10.0) for each in streets for a, b in (each, each[::-1])])


TOWN = small_town()
RECORDED = [
    Recorded(at_s, within_s, 0.001 * (at_s % 6), 0.001 * (at_s % 5), 0.001 * (at_s % 3), 0.005)
    for at_s, within_s in [(0, 60), (0, 60), (30, 1), (61, 1), (43_200, 60), (86_340, 60), (86_399, 1)]
]

demands = st.one_of(
    st.builds(Demand, trips=st.integers(1, 50), trip_m=st.just((100.0, 400.0)), from_s=st.floats(0, 50)),
    st.builds(Demand, rate_per_min=st.floats(1, 200), trip_m=st.just((100.0, 400.0)), until_s=st.floats(60, 90)),
    st.builds(Demand, file=st.just("mine"), start=st.sampled_from(["00:00", "12:00", "23:59"])),
    st.builds(Demand, file=st.just("mine"), rate_per_min=st.floats(1, 200)),
)


@given(demands, st.integers(0, 5), st.lists(st.integers(0, 120_000), max_size=20))
@settings(max_examples=150, deadline=None)
def test_the_same_people_want_to_go_however_time_is_cut(demand: Demand, seed: int, cuts: list[int]) -> None:
    whole = list(Requests(demand, TOWN, Random(seed), 100.0, RECORDED))
    in_pieces = Requests(demand, TOWN, Random(seed), 100.0, RECORDED)
    pieces: list[Request] = []
    for now_ms in [*sorted(cuts), 120_000]:
        assert in_pieces.next_due_ms == (whole[len(pieces)].at_ms if len(pieces) < len(whole) else None)
        due = in_pieces.due(now_ms)
        assert all(request.at_ms <= now_ms for request in due)
        pieces += due
    assert pieces == whole
    assert [request.number for request in whole] == list(range(len(whole)))
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(whole))
    end_s = 100.0 if demand.until_s is None else demand.until_s
    assert all(demand.from_s * 1_000 - 1 <= request.at_ms <= end_s * 1_000 + 1 for request in whole)
    assert len({request.rider_id for request in whole}) == len(whole)
    assert all(request.origin_node != request.destination_node for request in whole)
    if demand.trips is not None:
        assert len(whole) == demand.trips


def apart_m(roads: RoadNetwork, request: Request) -> float:
    ends = roads.positions[request.origin_node], roads.positions[request.destination_node]
    distance_m: float = h3.great_circle_distance(*ends, unit="m")
    return distance_m


def test_trips_are_as_far_as_was_asked(manhattan: RoadNetwork) -> None:
    demand = Demand(trips=100, trip_m=(300, 700), most_trip_s=90)
    for request in Requests(demand, manhattan, Random(1), 60.0):
        assert 300 <= apart_m(manhattan, request) <= 700
        route = manhattan.route(request.origin_node, request.destination_node)
        assert manhattan.travel_ms(route) <= 90_000


def test_a_rate_brings_about_so_many(manhattan: RoadNetwork) -> None:
    came = len(list(Requests(Demand(rate_per_min=60), manhattan, Random(1), 600.0)))
    assert 525 <= came <= 675  # three standard deviations of a Poisson of 600


def test_demand_for_ever_goes_on(manhattan: RoadNetwork, nyc: Sequence[Recorded]) -> None:
    for demand in (Demand(rate_per_min=600), Demand(rate_per_min=60, file="nyc"), Demand(file="nyc")):
        requests = list(islice(Requests(demand, manhattan, Random(1), None, nyc), 20_000 if demand.file else 500))
        assert requests[-1].at_ms > 45_000


def test_a_hot_spot_draws_its_share(manhattan: RoadNetwork) -> None:
    spot = HotSpot(lat=TIMES_SQUARE[0], lon=TIMES_SQUARE[1], sigma_m=200, share=0.7)
    demand = Demand(trips=400, hot_spots=(spot,))
    near = sum(
        h3.great_circle_distance(TIMES_SQUARE, manhattan.positions[request.origin_node], unit="m") <= 600
        for request in Requests(demand, manhattan, Random(1), 300.0)
    )
    # 99 % of the 70 % (two-dimensional, three sigma), and 2 % of the rest, who are there by chance.
    assert 0.63 * 400 <= near <= 0.77 * 400


def test_real_people_go_where_they_went(manhattan: RoadNetwork, nyc: Sequence[Recorded]) -> None:
    """By day as it was, from six in the evening: places and minutes are the file's, to within a block."""
    requests = list(Requests(Demand(file="nyc", start="18:00"), manhattan, Random(1), 1_800.0, nyc))
    evening = [each for each in nyc if 64_800 <= each.at_s < 66_600]
    assert len(evening) * 0.95 <= len(requests) <= len(evening)
    for request in requests:
        origin, destination = (manhattan.positions[node] for node in request[3:])
        assert any(
            0 <= 64_800 + request.at_ms / 1_000 - each.at_s <= 60.001
            and h3.great_circle_distance(origin, each[2:4], unit="m") <= 250
            and h3.great_circle_distance(destination, each[4:6], unit="m") <= 250
            for each in evening
        )


def test_real_places_at_a_rate_of_ones_own(manhattan: RoadNetwork, nyc: Sequence[Recorded]) -> None:
    demand = Demand(file="nyc", start="18:00", trips=300, trip_m=(800, 3_000))
    requests = list(Requests(demand, manhattan, Random(1), 300.0, nyc))
    assert len(requests) == 300
    assert all(800 <= apart_m(manhattan, request) <= 3_000 for request in requests)


@pytest.mark.parametrize(
    ("demand", "recorded", "says"),
    [
        (Demand(rate_per_min=1, trip_m=(5_000, 9_000)), (), r"demand\.trip_m: no trip of 5000 to 9000 m was found"),
        (Demand(rate_per_min=1, trip_m=(400, 500), most_trip_s=3), (), r"in 3 s \(most_trip_s\)"),
        (Demand(rate_per_min=1, hot_spots=(HotSpot(lat=1, lon=1, sigma_m=9, share=1),)), (), "hot_spots.0.: is 156,"),
        (Demand(file="mine"), [Recorded(0, 60, 50, 8, 51, 8)], "none of its 1 requests goes from one place on these"),
        (Demand(file="mine", trip_m=(5_000, 6_000)), RECORDED, "as far away as demand.trip_m says"),
        (Demand(file="mine", most_trip_s=0.1), RECORDED, r"demand\.most_trip_s: no request"),
    ],
)
def test_a_demand_that_cannot_be_met_is_refused_before_anything_runs(
    demand: Demand, recorded: Sequence[Recorded], says: str
) -> None:
    with pytest.raises(RequestsError, match=says):
        Requests(demand, TOWN, Random(1), 60.0, recorded)
