"""An arrival takes two fixes in a row that agree, is told once, and not at a stop that the car never left."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.trips import APPROACHING, ARRIVED
from stream.arrivals import Approach, Found

RADIUS_M, DEPARTURE_M = 60.0, 150.0

#: (metres to the stop, seconds to the stop), around every limit.
looks = st.lists(
    st.tuples(
        st.sampled_from([0.0, 59.9, 60.0, 60.1, 150.0, 150.1, 9_000.0]),
        st.sampled_from([0.0, 60.0, 61.0, 300.0, 301.0]),
    ),
    max_size=30,
)


def heading(armed: bool = True) -> Approach:
    approach = Approach()
    approach.head_for("dropoff", armed)
    return approach


def told_by(approach: Approach, seen: list[tuple[float, float]]) -> list[Found]:
    told: list[Found] = []
    for distance_m, eta_s in seen:
        told += approach.look(distance_m, eta_s, {one.key for one in told}, RADIUS_M, DEPARTURE_M)
    return told


def model(seen: list[tuple[float, float]], armed: bool) -> list[str]:
    """Looks at every pair of neighbours, from the beginning, and knows nothing of counting."""
    told: list[str] = []
    for before, now in pairwise(seen):
        armed = armed or (before[0] > DEPARTURE_M and now[0] > DEPARTURE_M)
        if not armed or "arrived:dropoff" in told:
            continue
        if before[0] <= RADIUS_M and now[0] <= RADIUS_M:
            told.append("arrived:dropoff")
        elif "approaching:dropoff:60" not in told and max(before[1], now[1]) <= 60:
            told.append("approaching:dropoff:60")
        elif not {"approaching:dropoff:60", "approaching:dropoff:300"} & set(told) and max(before[1], now[1]) <= 300:
            told.append("approaching:dropoff:300")
    return told


@given(looks, st.booleans())
def test_what_is_told_is_what_two_neighbours_agree_on_and_was_not_told(
    seen: list[tuple[float, float]], armed: bool
) -> None:
    assert [found.key for found in told_by(heading(armed), seen)] == model(seen, armed)


@given(looks, st.integers(0, 29), st.booleans())
def test_no_single_fix_is_an_arrival(seen: list[tuple[float, float]], at: int, armed: bool) -> None:
    away = [(max(distance_m, 60.1), eta_s) for distance_m, eta_s in seen]
    away.insert(min(at, len(away)), (0.0, 0.0))
    assert ARRIVED not in [found.type for found in told_by(heading(armed), away)]


def test_a_rider_is_told_five_minutes_then_one_then_that_the_car_is_there() -> None:
    seen = [(float(at * 10), float(at)) for at in range(400, -1, -5)]
    told = told_by(heading(), seen)
    assert [found.type for found in told] == [APPROACHING, APPROACHING, ARRIVED]
    assert [found.eta_s for found in told] == [295, 55, None]


def test_a_round_trip_ends_when_the_car_is_back_and_not_when_it_leaves() -> None:
    there = [(0.0, 0.0)] * 5
    away = [(100.0, 20.0)] * 5
    far = [(200.0, 40.0)] * 2
    assert told_by(heading(armed=False), there + away + there) == []
    assert ARRIVED in [found.type for found in told_by(heading(armed=False), there + far + there)]
    assert told_by(heading(armed=False), there + far[:1] + there) == []


def test_an_interruption_begins_the_count_again() -> None:
    approach = heading()
    assert told_by(approach, [(0.0, 0.0)]) == []
    approach.interrupt()
    assert told_by(approach, [(0.0, 0.0)]) == []
    assert [found.type for found in told_by(approach, [(0.0, 0.0)])] == [ARRIVED]
