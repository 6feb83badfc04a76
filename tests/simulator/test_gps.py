"""A phone's error has the size it says and drifts, it does not jump."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from statistics import fmean

import pytest

from simulator.fleet.gps import BEST_SIGMA_M, CORRELATION_S, METRES_PER_DEGREE, WORST_SIGMA_M, Receiver

LAT, LON = 40.75, -73.98


def errors_m(receiver: Receiver, random: Random, count: int, elapsed_s: float) -> list[tuple[float, float]]:
    """(north, east) errors of fixes taken in a row."""
    fixes = [receiver.observe(LAT, LON, elapsed_s, random) for _ in range(count)]
    narrow = math.cos(math.radians(LAT))
    return [((lat - LAT) * METRES_PER_DEGREE, (lon - LON) * METRES_PER_DEGREE * narrow) for lat, lon in fixes]


def test_the_error_has_the_spread_and_the_memory_of_its_model() -> None:
    random = Random(1)
    receiver = Receiver(random)
    for axis in range(2):
        walk = [error[axis] for error in errors_m(receiver, random, 60_000, elapsed_s=3.0)]
        variance = fmean(value * value for value in walk)
        assert math.sqrt(variance) == pytest.approx(receiver.sigma_m, rel=0.05)
        assert abs(fmean(walk)) < receiver.sigma_m * 0.1
        correlation = fmean(a * b for a, b in pairwise(walk)) / variance
        assert correlation == pytest.approx(math.exp(-3.0 / CORRELATION_S), abs=0.01)


def test_the_spread_does_not_depend_on_how_often_the_phone_looks() -> None:
    for elapsed_s in (0.1, 1.0, 60.0):
        random = Random(2)
        receiver = Receiver(random)
        receiver.sigma_m = 4.0
        walk = [north for north, _ in errors_m(receiver, random, 100_000, elapsed_s)]
        assert math.sqrt(fmean(value * value for value in walk)) == pytest.approx(4.0, rel=0.15)


def test_accuracy_is_the_radius_that_holds_68_percent_of_fixes() -> None:
    random = Random(3)
    inside = total = 0
    for _ in range(2_000):
        receiver = Receiver(random)
        assert BEST_SIGMA_M <= receiver.sigma_m <= WORST_SIGMA_M
        for north, east in errors_m(receiver, random, 5, elapsed_s=120.0):
            inside += math.hypot(north, east) <= receiver.accuracy_m
            total += 1
    assert inside / total == pytest.approx(0.68, abs=0.02)
