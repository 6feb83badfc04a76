"""A driver with a job goes where it is sent, by shortest time, and its arrivals are known to the millisecond."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from random import Random

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.polylines import decode_polyline
from simulator.fleet.fleet import Fleet
from simulator.fleet.jobs import Arrival, Stop
from simulator.fleet.kinematics import BRAKING_MPS2, Phase, cover, fastest_end_mps, fastest_start_mps
from simulator.fleet.reports import Report
from simulator.roads.network import RoadNetwork, load_manhattan
from simulator.roads.polylines import encode_polyline, route_points

START_MS = 1_767_225_600_000


@cache
def manhattan() -> RoadNetwork:
    return load_manhattan()


def working(drivers: int = 5, seed: int = 3, interval_ms: int = 1_000) -> Fleet:
    fleet = Fleet(manhattan(), drivers, Random(seed), interval_ms)
    fleet.begin(START_MS)
    return fleet


def apart_m(here: tuple[float, float], there: tuple[float, float]) -> float:
    return float(h3.great_circle_distance(here, there, unit="m"))


def test_a_driver_comes_to_each_stop_waits_there_and_waits_at_the_last_until_released() -> None:
    fleet, roads = working(), manhattan()
    pickup, dropoff = 400, 900
    fleet.send(0, [Stop(pickup, 20_000), Stop(dropoff, None)], START_MS + 3_000)
    reports = fleet.reports_until(START_MS + 3_600_000)
    first, second = fleet.arrivals_until(START_MS + 3_600_000)
    assert (first.driver, first.stop_index, second.stop_index) == (0, 0, 1)
    assert first.at_ms > START_MS + 3_000
    assert second.at_ms > first.at_ms + 20_000
    assert fleet.arrivals_until(START_MS + 3_600_000) == [], "each arrival is told once"
    for report in reports:
        if report.driver == 0:
            at_ms, here = report.fix.fix_time_ms, (report.true_lat, report.true_lon)
            if first.at_ms <= at_ms <= first.at_ms + 20_000:
                assert apart_m(here, roads.positions[pickup]) < 0.1
            elif at_ms >= second.at_ms:
                assert apart_m(here, roads.positions[dropoff]) < 0.1
    fleet.release(0, START_MS + 3_600_500)
    fleet.reports_until(START_MS + 3_660_000)
    assert apart_m(fleet.drivers[0].car.position, roads.positions[dropoff]) > 10, "it drives where it likes again"


def test_a_car_comes_to_stand_at_the_very_millisecond_of_its_arrival() -> None:
    fleet, roads = working(drivers=12), manhattan()
    for number in range(12):
        fleet.send(number, [Stop(100 * number + 7, None)], START_MS + 1_000)
    fleet.reports_until(START_MS + 2_000)
    whole = working(drivers=12, interval_ms=60_000)
    for number in range(12):
        whole.send(number, [Stop(100 * number + 7, None)], START_MS + 1_000)
    whole.reports_until(START_MS + 7_200_000)
    arrivals = whole.arrivals_until(START_MS + 7_200_000)
    assert sorted(each.driver for each in arrivals) == list(range(12))
    for arrival in arrivals:
        fleet.reports_until(arrival.at_ms)
        driver = fleet.drivers[arrival.driver]
        stop = roads.positions[100 * arrival.driver + 7]
        driver.drive_until(arrival.at_ms - 100)
        assert driver.car.speed_mps > 0.0
        driver.drive_until(arrival.at_ms)
        assert driver.car.speed_mps == pytest.approx(0.0, abs=0.01)
        assert driver.car.position == pytest.approx(stop)


def test_a_driver_with_a_job_is_not_free_from_the_order_until_it_is_released() -> None:
    fleet = working(interval_ms=10_000)
    assert fleet.free(1, START_MS)
    fleet.send(1, [Stop(400, None)], START_MS + 3_000)
    assert not fleet.free(1, START_MS), "an order for later takes it too"
    fleet.reports_until(START_MS + 3_600_000)
    assert not fleet.free(1, START_MS + 3_600_000), "it waits"
    fleet.release(1, START_MS + 3_601_000)
    assert not fleet.free(1, START_MS + 3_600_999)
    assert fleet.free(1, START_MS + 3_601_000)
    assert fleet.free(0, START_MS)


def test_a_job_whose_last_stop_has_an_end_ends_by_itself() -> None:
    fleet = working(interval_ms=10_000)
    fleet.send(2, [Stop(400, 5_000)], START_MS)
    fleet.reports_until(START_MS + 3_600_000)
    (arrival,) = fleet.arrivals_until(START_MS + 3_600_000)
    assert fleet.free(2, arrival.at_ms + 5_000)
    assert not fleet.free(2, arrival.at_ms + 4_999)
    assert len(fleet.drivers[2].car.ahead) > 0, "it drives somewhere else"


def test_another_job_takes_the_place_of_the_first_and_its_arrivals_are_not_told() -> None:
    fleet = working(interval_ms=10_000)
    fleet.send(0, [Stop(400, None)], START_MS)
    fleet.send(0, [Stop(900, None)], START_MS + 5_000)
    fleet.reports_until(START_MS + 3_600_000)
    (arrival,) = fleet.arrivals_until(START_MS + 3_600_000)
    assert arrival.at_ms > START_MS + 5_000
    assert apart_m(fleet.drivers[0].car.position, manhattan().positions[900]) < 0.1
    assert fleet.drivers[0].car.node == 900


def test_a_job_where_the_driver_stands_already_begins_there() -> None:
    fleet = working(interval_ms=10_000)
    fleet.send(0, [Stop(400, None)], START_MS)
    fleet.reports_until(START_MS + 3_600_000)
    fleet.arrivals_until(START_MS + 3_600_000)
    at_ms = START_MS + 3_700_000
    fleet.send(0, [Stop(400, 2_000), Stop(400, 3_000), Stop(900, None)], at_ms)
    fleet.reports_until(at_ms + 3_600_000)
    here, again, there = fleet.arrivals_until(at_ms + 3_600_000)
    assert (here.at_ms, again.at_ms) == (at_ms, at_ms + 2_000)
    assert there.at_ms > at_ms + 5_000


def test_a_driver_drives_on_to_a_crossing_where_it_can_stop_and_then_by_shortest_time() -> None:
    roads = manhattan()
    fleet = working(drivers=60, seed=8)
    fleet.reports_until(START_MS + 10_000)
    moving = [number for number, driver in enumerate(fleet.drivers) if driver.car.speed_mps > 5.0]
    assert len(moving) > 10
    for number in moving:
        car = fleet.drivers[number].car
        fleet.drivers[number].drive_until(START_MS + 10_000)
        turned, there = car.restart(), car.position
        fleet.send(number, [Stop(1_234, None)], START_MS + 10_000)
        fleet.reports_until(START_MS + 10_000)
        (way,) = fleet.ways_of(number)
        shortest = roads.route(turned.node, 1_234)
        ends = [roads.links[link].to_node for link in (*turned.links, *shortest)]
        assert way[0] == there
        assert way[-1] == roads.positions[1_234]
        assert [point for point in way[1:] if point != way[0]][-len(shortest) :] == [
            roads.positions[node] for node in ends[len(turned.links) :]
        ]
        assert list(fleet.drivers[number].car.ahead) == ends


def test_a_driver_that_is_sent_elsewhere_brakes_and_turns_no_harder_than_others() -> None:
    fleet = working(drivers=15, seed=5)
    random = Random(1)
    for second in range(0, 120, 8):
        for number in range(15):
            fleet.send(number, [Stop(random.randrange(4_000), None)], START_MS + second * 1_000 + 500)
    before: dict[int, tuple[int, float, tuple[float, float]]] = {}
    for step in range(1_200):
        fleet.reports_until(START_MS + 100 * step)
        for number, driver in enumerate(fleet.drivers):
            driver.drive_until(START_MS + 100 * step)
            speed, place = driver.car.speed_mps, driver.car.position
            if number in before:
                _, last, from_place = before[number]
                assert last - speed <= BRAKING_MPS2 * 0.1 + 1e-6
                assert apart_m(from_place, place) <= max(last, speed) * 0.1 + 0.15 * 0.1 + 1e-3
            before[number] = (step, speed, place)


JOBS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 60_000),
        st.lists(st.integers(0, 4_000), min_size=1, max_size=3),
        st.sampled_from([None, 0, 1_500]),
    ),
    max_size=4,
    unique_by=lambda job: job[0],
)


@given(JOBS, st.lists(st.integers(1, 40_000), min_size=1, max_size=8), st.sampled_from([700, 1_000, 4_000]))
@settings(max_examples=15, deadline=None)
def test_reports_and_arrivals_do_not_depend_on_how_time_is_cut(
    jobs: list[tuple[int, int, list[int], int | None]], steps_ms: list[int], interval_ms: int
) -> None:
    def play(cuts_ms: list[int]) -> tuple[list[Report], list[Arrival]]:
        fleet = working(drivers=4, interval_ms=interval_ms)
        for driver, after_ms, nodes, dwell_ms in jobs:
            stops = [*(Stop(node, 1_000) for node in nodes[:-1]), Stop(nodes[-1], dwell_ms)]
            fleet.send(driver, stops, START_MS + after_ms)
        reports, arrivals = [], []
        for cut_ms in cuts_ms:
            reports += fleet.reports_until(START_MS + cut_ms)
            arrivals += fleet.arrivals_until(START_MS + cut_ms)
        return reports, arrivals

    ends_ms = [sum(steps_ms[: index + 1]) for index in range(len(steps_ms))]
    reports, arrivals = play([*ends_ms, 400_000])
    assert (reports, arrivals) == play([400_000])
    assert [(each.at_ms, each.driver, each.stop_index) for each in arrivals] == sorted(
        (each.at_ms, each.driver, each.stop_index) for each in arrivals
    )


def test_an_order_given_at_the_moment_it_is_for_is_the_same_as_one_given_before() -> None:
    ahead, now = working(), working()
    at_ms = START_MS + 7_000
    ahead.send(0, [Stop(400, None)], at_ms)
    told = now.reports_until(at_ms)
    now.send(0, [Stop(400, None)], at_ms)
    assert ahead.reports_until(at_ms + 60_000) == told + now.reports_until(at_ms + 60_000)


def test_a_job_for_one_driver_changes_nothing_for_the_others() -> None:
    sent, plain = working(), working()
    sent.send(0, [Stop(400, None)], START_MS + 2_000)
    for_others = [report for report in sent.reports_until(START_MS + 120_000) if report.driver != 0]
    assert for_others == [report for report in plain.reports_until(START_MS + 120_000) if report.driver != 0]


def test_an_order_that_cannot_be_carried_out_is_refused() -> None:
    fleet = working()
    fleet.reports_until(START_MS + 5_000)
    with pytest.raises(ValueError, match="1000 ms before what was played"):
        fleet.send(0, [Stop(1, None)], START_MS + 4_000)
    with pytest.raises(ValueError, match="at least one stop"):
        fleet.send(0, [], START_MS + 6_000)
    with pytest.raises(ValueError, match="last stop"):
        fleet.send(0, [Stop(1, None), Stop(2, None)], START_MS + 6_000)
    fleet.send(0, [Stop(1, None)], START_MS + 9_000)
    with pytest.raises(ValueError, match="later time"):
        fleet.release(0, START_MS + 8_000)


@given(
    st.lists(
        st.tuples(st.floats(-90, 90, allow_nan=False), st.floats(-180, 180, allow_nan=False)), min_size=0, max_size=30
    )
)
def test_a_polyline_is_read_by_ingest_as_it_was_meant(points: list[tuple[float, float]]) -> None:
    read = decode_polyline(encode_polyline(points))
    assert len(read) == len(points)
    for (lat, lon), (told_lat, told_lon) in zip(points, read, strict=True):
        assert abs(lat - told_lat) <= 0.5001e-5
        assert abs(lon - told_lon) <= 0.5001e-5


def test_the_polyline_of_a_route_is_the_example_of_its_format_and_follows_the_roads() -> None:
    assert encode_polyline([(38.5, -120.2), (40.7, -120.95), (43.252, -126.453)]) == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"
    roads = manhattan()
    links = roads.route(10, 2_000)
    read = decode_polyline(encode_polyline(route_points(roads, 10, links)))
    assert len(read) == len(links) + 1
    assert apart_m(read[0], roads.positions[10]) < 1.2
    assert apart_m(read[-1], roads.positions[2_000]) < 1.2


SPEEDS = st.floats(0.0, 25.0)


@given(st.floats(0.1, 500.0), SPEEDS, st.floats(1.0, 25.0), SPEEDS)
@settings(max_examples=300)
def test_a_stretch_is_covered_whole_within_the_limit_and_without_a_jolt(
    stretch_m: float, start_mps: float, limit_mps: float, wanted_mps: float
) -> None:
    end_mps = min(wanted_mps, limit_mps, fastest_end_mps(start_mps, stretch_m))
    start_mps = min(start_mps, fastest_start_mps(end_mps, stretch_m))
    phases = cover(stretch_m, start_mps, limit_mps, end_mps)
    assert sum(phase.moved_m(phase.duration_s) for phase in phases) == pytest.approx(stretch_m, abs=1e-6)
    speeds = [(phase.start_mps, phase.speed_mps(phase.duration_s)) for phase in phases]
    assert speeds[0][0] == pytest.approx(start_mps)
    assert speeds[-1][1] == pytest.approx(end_mps, abs=1e-3)
    for (_, before), (after, _) in pairwise(speeds):
        assert before == pytest.approx(after, abs=1e-6)
    assert max(max(pair) for pair in speeds) <= max(start_mps, limit_mps) + 1e-6
    assert all(abs(phase.mps2) <= BRAKING_MPS2 + 1e-6 for phase in phases)
    assert all(math.isfinite(phase.duration_s) and phase.duration_s >= 0.0 for phase in phases)


def test_a_longer_stretch_takes_longer_and_no_stretch_takes_no_time() -> None:
    assert cover(0.0, 3.0, 10.0, 3.0) == []

    def duration_s(phases: list[Phase]) -> float:
        return sum(phase.duration_s for phase in phases)

    times = [duration_s(cover(stretch_m, 0.0, 10.0, 0.0)) for stretch_m in (1.0, 10.0, 100.0, 1_000.0)]
    assert times == sorted(times)
    # 10 m/s: 33.3 m and 6.7 s up, 25 m and 5 s down, 941.7 m at 10 m/s.
    assert times[-1] == pytest.approx(6.667 + 94.167 + 5.0, abs=0.01)
