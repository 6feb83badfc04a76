"""An ETA follows how fast the car is getting nearer, and stays within what a car can do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.eta import MIN_SHARE, PACE_TAU_S, Pace

DEFAULT_MPS, MAX_MPS = 7.0, 55.0


def driven(*steps: tuple[float, float], way: str = "pickup") -> Pace:
    """A pace fed with (seconds, remaining metres)."""
    pace = Pace()
    for at_s, remaining_m in steps:
        pace.feed(way, int(at_s * 1000), remaining_m, DEFAULT_MPS, MAX_MPS)
    return pace


def test_a_car_not_seen_driving_is_taken_to_drive_at_the_default() -> None:
    assert Pace().eta_s(700, DEFAULT_MPS) == pytest.approx(100)
    assert driven((0, 700)).eta_s(700, DEFAULT_MPS) == pytest.approx(100)


@given(st.floats(2.0, 40.0), st.integers(1, 30))
def test_the_eta_comes_to_what_the_car_really_needs(speed_mps: float, every_s: int) -> None:
    steps = [(at, 100_000 - at * speed_mps) for at in range(0, int(6 * PACE_TAU_S), every_s)]
    pace = driven(*steps)
    assert pace.eta_s(1_000, DEFAULT_MPS) == pytest.approx(1_000 / speed_mps, rel=0.03)


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(-500, 20_000)), max_size=30), st.floats(0, 1e6))
def test_no_history_makes_an_eta_that_no_car_could_have(steps: list[tuple[int, float]], remaining_m: float) -> None:
    at_s, remaining = 0, 50_000.0
    fed = [(0.0, remaining)]
    for elapsed_s, progress_m in steps:
        at_s, remaining = at_s + elapsed_s, remaining - progress_m
        fed.append((at_s, remaining))
    eta_s = driven(*fed).eta_s(remaining_m, DEFAULT_MPS)
    assert remaining_m / MAX_MPS <= eta_s * (1 + 1e-9)
    assert eta_s <= remaining_m / (MIN_SHARE * DEFAULT_MPS)
    assert driven(*fed).eta_s(remaining_m + 1, DEFAULT_MPS) > eta_s


def test_a_red_light_is_no_traffic_jam() -> None:
    drive = [(at, 10_000 - at * 10.0) for at in range(0, 600, 5)]
    before = driven(*drive).eta_s(1_000, DEFAULT_MPS)
    after = driven(*drive, *((at, 4_050.0) for at in range(600, 640, 5))).eta_s(1_000, DEFAULT_MPS)
    assert before < after < 1.6 * before


def test_another_way_to_measure_is_not_taken_for_a_leap() -> None:
    pace = driven(*((at, 10_000 - at * 10.0) for at in range(0, 600, 5)))
    speed_mps = pace.speed_mps
    pace.feed("pickup straight", 600_000, 500.0, DEFAULT_MPS, MAX_MPS)
    assert pace.speed_mps == speed_mps
    pace.feed("pickup straight", 605_000, 450.0, DEFAULT_MPS, MAX_MPS)
    assert pace.speed_mps == pytest.approx(10.0, rel=0.05)


def test_a_fix_that_is_told_again_counts_once() -> None:
    pace = driven((0, 1_000), (10, 900))
    speed_mps = pace.speed_mps
    pace.feed("pickup", 10_000, 900, DEFAULT_MPS, MAX_MPS)
    pace.feed("pickup", 5_000, 100, DEFAULT_MPS, MAX_MPS)
    assert pace.speed_mps == speed_mps
    pace.feed("pickup", 20_000, 800, DEFAULT_MPS, MAX_MPS)
    assert pace == driven((0, 1_000), (10, 900), (20, 800))
