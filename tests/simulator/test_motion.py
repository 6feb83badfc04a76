"""What is said of how vehicles move is what they did, and a simulated fleet moves much as real taxis do."""

from __future__ import annotations

import gzip
import json
import math
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fleet.fixes import Fix
from simulator.fleet.fleet import Fleet
from simulator.fleet.gps import METRES_PER_DEGREE
from simulator.motion.__main__ import main
from simulator.motion.figures import STANDS_MPS, figures_of, motion_of, thin
from simulator.roads.network import load_manhattan, open_table
from simulator.traces.trace import Recording, read_trace
from tests.oracle.trace import trace_path

LAT, LON = 40.75, -73.98


def driven(legs: list[tuple[float, float]], interval_s: float = 15.0, driver_id: str = "driver-1") -> list[Fix]:
    """The fixes of a car that drives these legs (speed in m/s, course in degrees), one each interval."""
    north = east = 0.0
    fixes = []
    for number, (speed_mps, course_deg) in enumerate([(0.0, 0.0), *legs]):
        north += speed_mps * interval_s * math.cos(math.radians(course_deg))
        east += speed_mps * interval_s * math.sin(math.radians(course_deg))
        lat = LAT + north / METRES_PER_DEGREE
        lon = LON + east / (METRES_PER_DEGREE * math.cos(math.radians(LAT)))
        fixes.append(Fix(driver_id=driver_id, fix_time_ms=round(number * interval_s * 1_000), lat=lat, lon=lon))
    return fixes


def test_speeds_turns_and_stops_are_those_that_were_driven() -> None:
    seen = motion_of(driven([(8.0, 0.0), (8.0, 90.0), (0.0, 0.0), (0.2, 0.0), (5.0, 90.0), (5.0, 350.0)]), 15.0)
    assert seen.speed_mps == pytest.approx([8.0, 8.0, 0.0, 0.2, 5.0, 5.0], abs=0.01)
    assert seen.turn_deg == pytest.approx([90.0, 100.0], abs=0.1)
    assert seen.change_mps == pytest.approx([0.0, 0.0], abs=0.01)
    assert seen.stop_s == [30.0]
    figures = figures_of("a car", seen)
    assert (figures.legs, figures.runs, figures.stop_share) == (6, 1, 0.333)
    assert figures.stops_per_driven_km == pytest.approx(1 / 0.393, rel=0.01)


def test_a_stop_that_begins_or_ends_a_run_has_no_length_that_is_known() -> None:
    assert motion_of(driven([(0.0, 0.0), (8.0, 0.0), (8.0, 0.0), (0.0, 0.0)]), 15.0).stop_s == []


def test_a_vehicle_that_was_silent_begins_anew_and_vehicles_are_not_mixed() -> None:
    before, after = driven([(8.0, 0.0)] * 3), driven([(8.0, 90.0)] * 3)
    later = [
        Fix(driver_id="driver-1", fix_time_ms=fix.fix_time_ms + 600_000, lat=fix.lat, lon=fix.lon) for fix in after
    ]
    other = driven([(3.0, 180.0)] * 3, driver_id="driver-2")
    seen = motion_of([*later, *other, *before], 15.0)
    assert seen.runs == 3
    assert sorted(seen.speed_mps) == pytest.approx([3.0] * 3 + [8.0] * 6, abs=0.01)
    assert max(seen.turn_deg) < 1.0, "nobody saw the turn between"


def test_faster_legs_can_be_left_out_and_break_the_run() -> None:
    seen = motion_of(driven([(8.0, 0.0), (0.0, 0.0), (25.0, 90.0), (8.0, 90.0), (0.0, 0.0), (8.0, 90.0)]), 15.0, 14.0)
    assert sorted(seen.speed_mps) == pytest.approx([0.0, 0.0, 8.0, 8.0, 8.0], abs=0.01)
    assert seen.stop_s == [15.0]


@given(st.lists(st.integers(1, 40_000), max_size=60), st.sampled_from([1.0, 5.0, 15.0]))
@settings(deadline=None)
def test_a_thinned_trace_keeps_an_interval_and_no_run_spans_a_silence(waits_ms: list[int], interval_s: float) -> None:
    at_ms, fixes = 0, []
    for wait_ms in waits_ms:
        at_ms += wait_ms
        fixes.append(Fix(driver_id="driver-1", fix_time_ms=at_ms, lat=LAT, lon=LON))
    runs = list(thin(fixes, interval_s))
    kept = [fix for run in runs for fix in run]
    assert [fix.fix_time_ms for fix in kept] == sorted(fix.fix_time_ms for fix in kept)
    assert bool(kept) == bool(fixes)
    for run in runs:
        for one, two in pairwise(run):
            assert interval_s - 0.5 <= (two.fix_time_ms - one.fix_time_ms) / 1_000 <= 1.5 * interval_s


def test_a_fleet_looks_the_same_at_15_seconds_however_often_it_reports() -> None:
    fixes = driven([(8.0, 0.0), (8.0, 90.0), (0.0, 0.0), (5.0, 90.0)] * 5)
    often = driven([leg for leg in [(8.0, 0.0), (8.0, 90.0), (0.0, 0.0), (5.0, 90.0)] * 5 for _ in range(15)], 1.0)
    assert motion_of(often, 15.0).speed_mps == pytest.approx(motion_of(fixes, 15.0).speed_mps, abs=0.01)


def test_a_simulated_fleet_moves_within_what_was_measured_of_real_taxis() -> None:
    """docs/fleet.md has the figures of the taxis, in city streets: this is how far the fleet may drift from them."""
    fleet = Fleet(load_manhattan(), 50, Random(7), 15_000)
    fleet.begin(0)
    seen = motion_of(fleet.fixes_until(3_600_000), 15.0, 14.0)
    figures = figures_of("fleet", seen)
    assert 0.20 < figures.stop_share < 0.36
    assert 5.5 < figures.mean_moving_mps < 7.5
    assert figures.moving_mps_percentiles["p10"] < 3.0
    assert figures.moving_mps_percentiles["p90"] > 10.5
    assert 20.0 < figures.stop_s_percentiles["p50"] < 40.0
    assert 0.08 < figures.turned_share < 0.20
    assert 2.8 < figures.change_sigma_mps < 4.2


def furthest_apart(one: list[float], other: list[float]) -> float:
    """The largest difference between two distribution functions (Kolmogorov and Smirnov's distance)."""
    places = np.concatenate([one, other])
    ranks = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (one, other)]
    return float(np.abs(ranks[0] - ranks[1]).max())


def test_speeds_and_stops_of_the_fleet_are_distributed_much_like_those_of_taxis_in_porto() -> None:
    with open_table(trace_path("porto_taxi_folded_day.csv.gz")) as lines:
        taxis = motion_of(read_trace(lines).fixes, 15.0, 14.0)
    fleet = Fleet(load_manhattan(), 50, Random(8), 15_000)
    fleet.begin(0)
    cars = motion_of(fleet.fixes_until(3_600_000), 15.0, 14.0)
    moving = [[speed for speed in seen.speed_mps if speed >= STANDS_MPS] for seen in (cars, taxis)]
    assert furthest_apart(*moving) < 0.08
    assert furthest_apart(cars.speed_mps, taxis.speed_mps) < 0.18, "the taxis stand more"
    assert furthest_apart(cars.change_mps, taxis.change_mps) < 0.10
    assert furthest_apart(cars.stop_s, taxis.stop_s) < 0.18


def record(path: Path, fixes: list[Fix]) -> Path:
    with gzip.open(path, "wt", newline="") as file:
        Recording(file).write(fixes)
    return path


def test_two_traces_are_compared_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = record(tmp_path / "quick.csv.gz", driven([(9.0, 0.0), (9.0, 80.0), (0.0, 0.0)] * 10))
    slow = record(tmp_path / "slow.csv.gz", driven([(4.0, 0.0), (4.0, 10.0), (0.0, 0.0)] * 10))
    for plot, begins in ((tmp_path / "side.png", b"\x89PNG"), (tmp_path / "side.svg", b"<?xml")):
        assert main([str(quick), str(slow), "--plot", str(plot)]) == 0
        assert plot.read_bytes().startswith(begins)
    assert "| quick | slow |" in capsys.readouterr().out
    assert main([str(quick), str(slow), "--name", "a", "--name", "b", "--json"]) == 0
    text = capsys.readouterr().out
    figures = json.loads(text)
    assert [each["name"] for each in figures] == ["a", "b"]
    assert figures[0]["mean_moving_mps"] > figures[1]["mean_moving_mps"] > STANDS_MPS
    assert '"lat' not in text


def test_a_trace_that_cannot_be_compared_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stands = record(tmp_path / "stands.csv", driven([(0.0, 0.0)] * 5))
    assert main([str(stands)]) == 2
    assert main([str(tmp_path / "none.csv")]) == 2
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    assert main([str(tmp_path / "words.csv")]) == 2
    assert main([str(stands), str(stands)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    assert "no vehicle moves" in errors[0]
    assert "none.csv" in errors[1]
    assert "words.csv: no column for driver_id" in errors[2]
    assert "--name" in errors[3]
