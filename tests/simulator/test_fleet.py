"""Cars drive as cars do: on roads, at speeds that agree with their way, the same for the same seed."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from functools import cache
from random import Random
from statistics import fmean

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import VEHICLE_TYPES
from ingest.schemas import PingIn, decode_body, valid_id
from simulator.fleet.fixes import Fix, encode_fix, join_post
from simulator.fleet.fleet import Fleet
from simulator.fleet.kinematics import ACCELERATION_MPS2, BRAKING_MPS2
from simulator.fleet.plans import FLOW_MOST, HELD_MOST_S
from simulator.fleet.reports import Report
from simulator.roads.network import RoadNetwork, bearing_deg, load_manhattan

START_MS = 1_767_225_600_000
_SHA = """
import hashlib, sys
from tests.simulator.test_fleet import posts
print(hashlib.sha256(b"".join(posts(seed=7, steps_ms=[1_000] * 30))).hexdigest())
"""


@cache
def _manhattan() -> RoadNetwork:
    return load_manhattan()


@pytest.fixture(scope="module")
def manhattan() -> RoadNetwork:
    return _manhattan()


def drive(roads: RoadNetwork, drivers: int, seed: int, seconds: int) -> list[Fix]:
    fleet = Fleet(roads, drivers, Random(seed), interval_ms=1_000)
    fleet.begin(START_MS)
    return fleet.fixes_until(START_MS + 1_000 * seconds - 1)


def posts(seed: int, steps_ms: list[int], drivers: int = 20) -> list[bytes]:
    """The encoded posts of a fleet whose time is handed in these steps."""
    fleet = Fleet(_manhattan(), drivers, Random(seed), interval_ms=1_000)
    fleet.begin(START_MS)
    now_ms, bodies = START_MS - 1, []
    for step_ms in steps_ms:
        now_ms += step_ms
        bodies.append(join_post(encode_fix(fix) for fix in fleet.fixes_until(now_ms)))
    return bodies


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    steps_ms = [1_000] * 30
    assert posts(7, steps_ms) == posts(7, steps_ms)
    assert posts(7, steps_ms) != posts(8, steps_ms)


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_other_hashes() -> None:
    here = hashlib.sha256(b"".join(posts(7, [1_000] * 30))).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", _SHA],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1"},
    )
    assert there.stdout.strip() == here


@given(st.lists(st.integers(1, 7_000), min_size=1, max_size=20))
@settings(max_examples=15, deadline=None)
def test_the_fixes_do_not_depend_on_how_time_is_cut(steps_ms: list[int]) -> None:
    whole = posts(7, [sum(steps_ms)])[0]
    cut = [body.removeprefix(b'{"pings":[').removesuffix(b"]}") for body in posts(7, steps_ms)]
    assert join_post(part for part in cut if part) == whole


def test_each_driver_reports_once_an_interval_in_order_of_time(manhattan: RoadNetwork) -> None:
    fixes = drive(manhattan, drivers=50, seed=1, seconds=10)
    assert [fix.fix_time_ms for fix in fixes] == sorted(fix.fix_time_ms for fix in fixes)
    times: dict[str, list[int]] = {}
    for fix in fixes:
        times.setdefault(fix.driver_id, []).append(fix.fix_time_ms)
    assert len(times) == 50
    for reported in times.values():
        assert START_MS <= reported[0] < START_MS + 1_000
        assert reported == list(range(reported[0], START_MS + 10_000, 1_000))
    assert len({fix.fix_time_ms for fix in fixes[:50]}) > 1, "the load is spread over the interval"


def test_ingest_reads_every_fix_and_knows_its_words(manhattan: RoadNetwork) -> None:
    fixes = drive(manhattan, drivers=100, seed=2, seconds=3)
    read = decode_body(join_post(encode_fix(fix) for fix in fixes))
    for fix, ping in zip(fixes, read, strict=True):
        assert isinstance(ping, PingIn)
        assert (ping.driver_id, ping.fix_time_ms, ping.lat, ping.lon) == (
            fix.driver_id,
            fix.fix_time_ms,
            fix.lat,
            fix.lon,
        )
        assert valid_id(fix.driver_id)
        assert valid_id(fix.ping_id)
        assert fix.vehicle_type in VEHICLE_TYPES - {""}
        assert fix.heading_deg is not None
        assert 0 <= fix.heading_deg < 360
    assert len({fix.ping_id for fix in fixes}) == len(fixes)
    assert {fix.vehicle_type for fix in fixes} == {"AUTO", "TAXI", "TWO_WHEELER"}


def distance_from_roads_m(roads: RoadNetwork, place: tuple[float, float]) -> float:
    """Metres to the nearest link, brute force on a plane that is flat enough here."""
    metres = math.radians(6_371_007.180918475)
    narrow = math.cos(math.radians(place[0]))

    def plane(spot: tuple[float, float]) -> complex:
        return complex((spot[1] - place[1]) * metres * narrow, (spot[0] - place[0]) * metres)

    nearest = math.inf
    for link in roads.links:
        start = plane(roads.positions[link.from_node])
        along = plane(roads.positions[link.to_node]) - start
        share = min(1.0, max(0.0, -(start * along.conjugate()).real / abs(along) ** 2)) if along else 0.0
        nearest = min(nearest, abs(start + share * along))
    return nearest


def test_cars_stay_on_the_roads(manhattan: RoadNetwork) -> None:
    fleet = Fleet(manhattan, 10, Random(3), interval_ms=1_000)
    fleet.begin(0)
    for minute in range(5):
        fleet.fixes_until(60_000 * minute)
        for driver in fleet.drivers:
            assert distance_from_roads_m(manhattan, driver.car.position) < 0.5


def test_speed_and_heading_agree_with_the_way_driven(manhattan: RoadNetwork) -> None:
    fleet = Fleet(manhattan, 30, Random(4), interval_ms=1_000)
    for driver in fleet.drivers:
        car = driver.car
        fastest = 0.0
        for _ in range(600):
            if car.done:
                break
            node, place, speed_mps, heading_deg = car.node, car.position, car.speed_mps, car.heading_deg
            car.advance(0.1)
            moved_m = h3.great_circle_distance(place, car.position, unit="m")
            change = car.speed_mps - speed_mps
            assert change <= ACCELERATION_MPS2 * 0.1 + 1e-6
            fastest = max(fastest, car.speed_mps)
            if car.node == node and moved_m > 0.05 and car.heading_deg == heading_deg:
                assert moved_m / 0.1 == pytest.approx((speed_mps + car.speed_mps) / 2, abs=0.05)
                assert abs((bearing_deg(place, car.position) - heading_deg + 180) % 360 - 180) < 1.0
        assert fastest <= 80 / 3.6 * 1.05 * FLOW_MOST + 1e-6


def test_a_car_brakes_no_harder_than_a_driver_would_and_stands_at_red_lights(manhattan: RoadNetwork) -> None:
    fleet = Fleet(manhattan, 30, Random(5), interval_ms=1_000)
    stops: list[float] = []
    for driver in fleet.drivers:
        car, standing_s = driver.car, 0.0
        for _ in range(3_000):
            speed_mps = car.speed_mps
            car.advance(0.1)
            assert speed_mps - car.speed_mps <= BRAKING_MPS2 * 0.1 + 1e-6
            if car.speed_mps == 0.0 and not car.done:
                standing_s += 0.1
            elif standing_s:
                stops.append(standing_s)
                standing_s = 0.0
    assert len(stops) > 30
    assert max(stops) < HELD_MOST_S + 1
    assert 10 < fmean(stops) < 60


def test_what_a_phone_reports_is_near_the_car_and_no_jump(manhattan: RoadNetwork) -> None:
    last: dict[str, Fix] = {}
    for fix in drive(manhattan, drivers=40, seed=6, seconds=300):
        before = last.get(fix.driver_id)
        if before is not None:
            moved_m = h3.great_circle_distance((before.lat, before.lon), (fix.lat, fix.lon), unit="m")
            assert moved_m < 80 / 3.6 * 1.05 * FLOW_MOST + 15, (
                "ingest and stream would call this an impossible jump at 55 m/s"
            )
        last[fix.driver_id] = fix


def test_a_fleet_works_on_the_smallest_network() -> None:
    roads = RoadNetwork([(0.0, 0.0), (0.0, 0.001)], [(0, 1, 10.0), (1, 0, 10.0)])
    assert len(drive(roads, drivers=3, seed=1, seconds=600)) == 1_800


def test_a_phone_that_stands_reports_less_often_and_says_at_once_when_it_moves(manhattan: RoadNetwork) -> None:
    often = Fleet(manhattan, 40, Random(9), interval_ms=1_000)
    seldom = Fleet(manhattan, 40, Random(9), interval_ms=1_000, standing_interval_ms=5_000)
    for fleet in (often, seldom):
        fleet.begin(START_MS)
    everything, told = (fleet.reports_until(START_MS + 240_000) for fleet in (often, seldom))
    assert len(told) < 0.9 * len(everything)
    kept = {(report.driver, report.fix.fix_time_ms) for report in told}
    assert kept < {(report.driver, report.fix.fix_time_ms) for report in everything}
    newest: dict[int, Report] = {}
    for report in everything:
        at_ms, before = report.fix.fix_time_ms, newest.get(report.driver)
        if (report.driver, at_ms) in kept:
            newest[report.driver] = report
            continue
        assert before is not None
        assert before.fix.speed_mps == report.fix.speed_mps == 0.0, "only a car that stands is silent"
        assert at_ms - before.fix.fix_time_ms < 5_000, "and not for long"


def test_the_shares_of_vehicles_are_those_asked_for(manhattan: RoadNetwork) -> None:
    fleet = Fleet(manhattan, 200, Random(1), 5_000, vehicles={"BICYCLE": 0.25, "TRUCK": 0.75})
    kinds = [driver.vehicle_type for driver in fleet.drivers]
    assert set(kinds) == {"BICYCLE", "TRUCK"}
    assert kinds.count("BICYCLE") == pytest.approx(50, abs=25)
    fastest: dict[str, float] = {}
    fleet.begin(START_MS)
    for report in fleet.reports_until(START_MS + 60_000):
        speed_mps = report.fix.speed_mps or 0.0
        fastest[report.fix.vehicle_type] = max(speed_mps, fastest.get(report.fix.vehicle_type, 0.0))
    assert fastest["BICYCLE"] < fastest["TRUCK"]
    with pytest.raises(ValueError, match="AUTO"):
        Fleet(manhattan, 1, Random(1), 1_000, vehicles={"ROCKET": 1.0})


def test_a_report_holds_the_true_place_of_its_car(manhattan: RoadNetwork) -> None:
    fleet = Fleet(manhattan, 20, Random(2), interval_ms=1_000)
    fleet.begin(START_MS)
    errors_m = []
    for report in fleet.reports_until(START_MS + 60_000):
        true, told = (report.true_lat, report.true_lon), (report.fix.lat, report.fix.lon)
        assert report.fix.driver_id == fleet.drivers[report.driver].driver_id
        errors_m.append(h3.great_circle_distance(true, told, unit="m"))
    assert 2.0 < fmean(errors_m) < 9.0, "what a phone of 2 to 6 m makes of it"
    for driver in fleet.drivers[:5]:
        assert distance_from_roads_m(manhattan, driver.car.position) < 0.5


def test_a_fleet_without_drivers_or_with_a_tiny_interval_is_refused(manhattan: RoadNetwork) -> None:
    for drivers, interval_ms in ((0, 1_000), (1, 99)):
        with pytest.raises(ValueError, match="at least"):
            Fleet(manhattan, drivers, Random(1), interval_ms)
