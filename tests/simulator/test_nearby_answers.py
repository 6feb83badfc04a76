"""What dispatch is told of the cars nearby: who sorts by an honest distance is not accused, and the rest is found."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from simulator.counts.findings import Kind
from simulator.dispatch.rides import Place
from simulator.dispatch.trip_answers import Nearby, NearbyCar
from simulator.oracle.nearby_answers import Asked, judge_answer
from tests.simulator.perfect_server import CENTRE, START_MS, east_of, metres

ASKED = Asked(Place(*CENTRE), 1_000.0, 20)
ONE = ASKED._replace(limit=1)


def a_car(name: str, place: tuple[float, float]) -> NearbyCar:
    return NearbyCar(name, *place, START_MS, 0, "live", "892a100d2c3ffff")


def an_answer(random: Random) -> Nearby:
    """By another formula than the oracle's, and by places with a decimal less than those told."""
    cars = []
    for number in range(random.randrange(40)):
        place = east_of(CENTRE, random.uniform(-800, 800), random.uniform(-800, 800))
        away_m = metres(CENTRE, (round(place[0], 6), round(place[1], 6)))
        if away_m <= ASKED.radius_m:
            cars.append((away_m, a_car(f"d-{number}", place)))
    return Nearby(START_MS, [car for _, car in sorted(cars, key=lambda each: each[0])[: ASKED.limit]])


def judged(cars: list[NearbyCar], asked: Asked = ASKED) -> Counter[Kind]:
    kinds: Counter[Kind] = Counter()
    judge_answer(asked, Nearby(START_MS, cars), lambda kind, _, **__: kinds.update([kind]))
    return kinds


@given(seed=st.integers(0, 10**9))
def test_the_nearest_first_is_held_against_nobody(seed: int) -> None:
    assert judged(an_answer(Random(seed)).cars) == {}


@given(seed=st.integers(0, 10**9))
def test_two_cars_in_the_wrong_order_are_found(seed: int) -> None:
    random = Random(seed)
    cars = an_answer(random).cars
    if len(cars) < 2:
        return
    first, second = sorted(random.sample(range(len(cars)), 2))
    apart_m = metres(CENTRE, (cars[second].lat, cars[second].lon)) - metres(CENTRE, (cars[first].lat, cars[first].lon))
    cars[first], cars[second] = cars[second], cars[first]
    assert (Kind.WIRE in judged(cars)) == (apart_m > 1.0) or abs(apart_m - 1.0) < 0.1


@pytest.mark.parametrize(
    ("cars", "asked", "found"),
    [
        ([a_car("d-1", east_of(CENTRE, 0.0, 1_003.0))], ASKED, {Kind.GHOST: 1}),
        ([a_car("d-1", CENTRE), a_car("d-1", CENTRE)], ASKED, {Kind.WIRE: 1}),
        ([a_car("d-1", CENTRE), a_car("d-2", CENTRE)], ONE, {Kind.WIRE: 1}),
        ([a_car("d-1", CENTRE)], ONE, {}),
    ],
)
def test_cars_outside_twice_or_too_many_are_found(cars: list[NearbyCar], asked: Asked, found: dict[Kind, int]) -> None:
    assert judged(cars, asked) == found


def test_an_answer_names_the_drivers_in_it() -> None:
    car = a_car("d-1", CENTRE)
    assert Nearby(START_MS, [car, replace(car, driver_id="d-2")]).driver_ids == {"d-1", "d-2"}
