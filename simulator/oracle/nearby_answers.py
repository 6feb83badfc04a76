"""An answer of `GET /v1/nearby` by itself: the nearest first, none outside of the circle, twice, or too many. Pure.

Whether each car in it is rightly shown is judged like one on a rider's screen (nearby.py), and whether the nearest by
truth is in it by dispatch. The wire tells no distances: they are reckoned from the places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simulator.counts.findings import Kind
from simulator.dispatch.rides import Place
from simulator.dispatch.trip_answers import Nearby
from simulator.oracle.sphere import distance_m

#: Hears of one finding: its kind, the driver, and the evidence.
Note = Callable[..., None]
#: Decimals that a system may drop; two cars that are about as far away may stand in any order.
ROUNDING_M = 1.0


class Asked(NamedTuple):
    """What was asked for."""

    place: Place
    radius_m: float
    limit: int


def judge_answer(asked: Asked, answer: Nearby, note: Note) -> None:
    """The cars are judged as they are shown, not as they are."""
    if len(answer.cars) > asked.limit:
        note(Kind.WIRE, "", why="more cars than were asked for", cars_shown=len(answer.cars), limit=asked.limit)
    before_m, seen = 0.0, set()
    for car in answer.cars:
        away_m = distance_m(*asked.place, car.lat, car.lon)
        if car.driver_id in seen:
            note(Kind.WIRE, car.driver_id, why="twice in one answer of GET /v1/nearby")
        seen.add(car.driver_id)
        if away_m > asked.radius_m + ROUNDING_M:
            why = "outside of the circle that was asked for"
            note(Kind.GHOST, car.driver_id, why=why, from_rider_m=away_m, radius_m=asked.radius_m)
        if away_m < before_m - ROUNDING_M:
            why = "told after a car that is farther away"
            note(Kind.WIRE, car.driver_id, why=why, from_rider_m=away_m, before_m=before_m)
        before_m = max(before_m, away_m)
