"""Whatever goes wrong with phones: no report vanishes, none is early, and what is expected of a ping is what comes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import DriverRule, admit
from ingest.schemas import PingIn
from ingest.settings import IngestSettings
from simulator.fleet.fixes import Fix, encode_fix
from simulator.fleet.gps import METRES_PER_DEGREE
from simulator.fleet.reports import Report
from simulator.phones.belief import Belief
from simulator.phones.faults import faults_of
from simulator.phones.phones import WITHHELD, Phones, Sending
from simulator.scenarios.scenario import Area
from simulator.scenarios.scenario import Fault as FaultTable
from stream.positions import DUPLICATE, DriverState

LAT, LON = 40.75, -73.98
START_MS = 1_767_225_600_000
MAX_SPEED_MPS = 55.0
SHOWN_OR_KEPT = {"shown", "kept"}


def drive(seed: int, drivers: int, seconds: int, interval_ms: int = 1_000) -> list[Report]:
    """Cars that go back and forth at up to 25 m/s, with a few metres of error; some of them stand."""
    random = Random(seed)
    reports = []
    for driver in range(drivers):
        speed_mps, phase_ms = random.choice((0.0, 3.0, 12.0, 25.0)), random.randrange(interval_ms // 100) * 100
        course = random.uniform(0.0, 2.0 * math.pi)
        for at_ms in range(START_MS + phase_ms, START_MS + 1_000 * seconds, interval_ms):
            way_m = 3_000.0 * math.sin(speed_mps * (at_ms - START_MS) / 1_000 / 3_000.0)
            lat = LAT + way_m * math.cos(course) / METRES_PER_DEGREE
            lon = LON + way_m * math.sin(course) / METRES_PER_DEGREE
            error = [random.gauss(0.0, 3.0) / METRES_PER_DEGREE for _ in range(2)]
            fix = Fix(
                ping_id=f"{driver}-{at_ms}",
                driver_id=f"driver-{driver}",
                fix_time_ms=at_ms,
                lat=round(lat + error[0], 6),
                lon=round(lon + error[1], 6),
                accuracy_m=4.5,
            )
            reports.append(Report(driver, fix, lat, lon))
    reports.sort(key=lambda report: (report.fix.fix_time_ms, report.driver))
    return reports


def post(reports: list[Report], tables: list[FaultTable], seed: int, drivers: int) -> tuple[list[Sending], Phones]:
    phones = Phones(faults_of(tables, seed, drivers, START_MS), START_MS)
    phones.read(reports)
    return phones.due(START_MS + 86_400_000), phones


seconds = st.floats(0.0, 8.0)
ranges = st.tuples(seconds, seconds).map(sorted).map(tuple)
rates = st.sampled_from((0.05, 0.3, 0.7, 1.0))
own_members = st.one_of(
    st.tuples(
        st.just("tunnel"),
        st.fixed_dictionaries(
            {"flush": st.sampled_from(("in_order", "reversed", "shuffled")), "buffer": st.sampled_from((0, 3, 1_000))}
        ),
    ),
    st.tuples(st.just("loss"), st.fixed_dictionaries({"rate": rates})),
    st.tuples(st.just("delay"), st.fixed_dictionaries({"delay_s": ranges, "in_order": st.booleans()})),
    st.tuples(
        st.just("duplicate"), st.fixed_dictionaries({"rate": rates, "copies": st.integers(1, 3), "after_s": ranges})
    ),
    st.tuples(st.just("reorder"), st.fixed_dictionaries({"rate": rates, "hold_s": ranges})),
    st.tuples(
        st.just("clock_skew"),
        st.fixed_dictionaries({"skew_s": st.sampled_from((-90_000.0, -300.0, -5.0, -0.2, 3.0, 20.0, 55.0, 400.0))}),
    ),
    st.tuples(
        st.just("teleport"),
        st.fixed_dictionaries({"rate": rates, "distance_m": st.sampled_from((20.0, 300.0, 5_000.0, 900_000.0))}),
    ),
    st.tuples(st.just("mock"), st.fixed_dictionaries({"rate": rates})),
    st.tuples(st.sampled_from(("stuck", "dead_phone")), st.just({})),
    st.tuples(st.just("zero_position"), st.fixed_dictionaries({"rate": rates})),
)


@st.composite
def faults(draw: st.DrawFn) -> list[FaultTable]:
    tables, skewed = [], False
    for kind, params in draw(st.lists(own_members, min_size=1, max_size=5)):
        if kind == "clock_skew" and skewed:
            continue
        skewed |= kind == "clock_skew"
        from_s = draw(st.integers(0, 25))
        in_area = kind == "tunnel" and draw(st.booleans())
        area = Area(lat=LAT, lon=LON, radius_m=draw(st.sampled_from((50.0, 200.0)))) if in_area else None
        tables.append(
            FaultTable(
                kind=kind,
                from_s=from_s,
                until_s=from_s + draw(st.integers(1, 20)),
                share=draw(st.sampled_from((0.4, 1.0))),
                area=area,
                params=params,
            )
        )
    return tables


@settings(max_examples=80, deadline=None)
@given(tables=faults(), seed=st.integers(0, 1_000))
def test_every_report_is_posted_or_lost_and_none_before_it_was_read(tables: list[FaultTable], seed: int) -> None:
    reports = drive(seed, drivers=4, seconds=50)
    sendings, phones = post(reports, tables, seed, drivers=4)
    assert phones.waiting == 0
    read_ms = {report.fix.ping_id: report.fix.fix_time_ms for report in reports}
    posted = {sending.fix.ping_id for sending in sendings}
    assert posted <= set(read_ms)
    assert len(posted) + phones.lost.total() == len(reports)
    assert set(phones.lost) <= {table.kind for table in tables} | {WITHHELD}
    assert all(sending.send_at_ms >= read_ms[sending.fix.ping_id] for sending in sendings)
    moments = [(sending.send_at_ms, sending.driver) for sending in sendings]
    assert moments == sorted(moments)
    copies = 1 + sum(3 for table in tables if table.kind == "duplicate") * 4 ** len(tables)
    assert max(Counter(sending.fix.ping_id for sending in sendings).values(), default=1) <= copies


@settings(max_examples=40, deadline=None)
@given(tables=faults(), seed=st.integers(0, 1_000), cuts=st.lists(st.integers(0, 80_000), max_size=30))
def test_what_is_posted_does_not_depend_on_how_time_is_cut(
    tables: list[FaultTable], seed: int, cuts: list[int]
) -> None:
    reports = drive(seed, drivers=4, seconds=50)
    whole, at_once = post(reports, tables, seed, drivers=4)
    phones = Phones(faults_of(tables, seed, 4, START_MS), START_MS)
    pieces: list[Sending] = []
    read = 0
    for cut in [*sorted(cuts), 86_400_000]:
        until_ms = START_MS + cut
        upto = read
        while upto < len(reports) and reports[upto].fix.fix_time_ms <= until_ms:
            upto += 1
        phones.read(reports[read:upto])
        read = upto
        piece = phones.due(until_ms)
        assert all(sending.send_at_ms <= until_ms for sending in piece)
        pieces += piece
        assert phones.next_due_ms is None or phones.next_due_ms > until_ms
    assert pieces == whole
    assert [encode_fix(sending.fix) for sending in pieces] == [encode_fix(sending.fix) for sending in whole]
    assert phones.lost == at_once.lost


@settings(max_examples=150, deadline=None)
@given(
    tables=faults(),
    seed=st.integers(0, 1_000),
    interval_ms=st.sampled_from((1_000, 5_000)),
    network_ms=st.sampled_from((0, 30, 2_000)),
)
def test_the_system_does_with_each_ping_what_is_expected_of_it(
    tables: list[FaultTable], seed: int, interval_ms: int, network_ms: int
) -> None:
    """The oracle is the system's own admission and fold; the simulator wrote the rules down a second time."""
    sendings, _ = post(drive(seed, 4, 50, interval_ms), tables, seed, drivers=4)
    limits = IngestSettings()
    states: dict[int, DriverState] = {}
    should_show: dict[int, int] = {}
    for sending in sendings:
        fix, arrived_ms = sending.fix, sending.send_at_ms + network_ms
        ping_in = PingIn(
            fix_time_ms=fix.fix_time_ms,
            lat=fix.lat,
            lon=fix.lon,
            ping_id=fix.ping_id,
            driver_id=fix.driver_id,
            accuracy_m=fix.accuracy_m,
            is_mock=fix.is_mock,
        )
        admitted = admit(ping_in, DriverRule(""), arrived_ms, arrived_ms, limits)
        if sending.expect not in SHOWN_OR_KEPT:
            assert getattr(admitted, "reason", None) == sending.expect
            continue
        assert not hasattr(admitted, "reason"), admitted
        before = states.get(sending.driver)
        if before is None:
            state = states[sending.driver] = DriverState([admitted], MAX_SPEED_MPS)
            assert sending.expect == "shown"
        else:
            state = before
            verdict = state.fold(admitted, MAX_SPEED_MPS)
            assert verdict != DUPLICATE or sending.expect == "kept"
        if sending.expect == "shown":
            assert fix.fix_time_ms > should_show.get(sending.driver, 0)
            should_show[sending.driver] = fix.fix_time_ms
        # Always the newest that is to be shown, whatever was kept: nothing is ever taken back.
        assert state.live.fix_time_ms == should_show[sending.driver]


@settings(max_examples=50, deadline=None)
@given(tables=faults(), seed=st.integers(0, 1_000))
def test_a_phone_is_believed_again_soon_after_its_troubles_are_over(tables: list[FaultTable], seed: int) -> None:
    reports = drive(seed, drivers=3, seconds=260)
    sendings, _ = post(reports, tables, seed, drivers=3)
    shown_to_be_true: defaultdict[int, int] = defaultdict(int)
    for sending in sendings:
        if sending.expect == "shown" and sending.honest:
            shown_to_be_true[sending.driver] = sending.fix.fix_time_ms
    for driver in range(3):
        assert shown_to_be_true[driver] == max(report.fix.fix_time_ms for report in reports if report.driver == driver)


def fix_at(second: float, place_m: float, accuracy_m: float = 0.0) -> Fix:
    return Fix(
        driver_id="driver-0",
        fix_time_ms=START_MS + round(second * 1_000),
        lat=LAT + place_m / METRES_PER_DEGREE,
        lon=LON,
        accuracy_m=accuracy_m,
    )


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.sampled_from(("true", "true", "lost", 5_000.0, 9_000.0, 70_000.0)), max_size=60))
def test_no_crowd_of_false_fixes_shuts_a_driver_out(steps: list[str | float]) -> None:
    belief = Belief()
    assert belief.weigh(fix_at(0, 0.0), honest=True) == "shown"
    last = "true"
    for second, step in enumerate(steps, start=1):
        if step == "true":
            verdict = belief.weigh(fix_at(second, 10.0 * second), honest=True)
            assert verdict is not None, "a true fix that is the newest may always be posted"
            assert verdict == "shown" or last != "true", "the second of two true fixes is shown"
            last = "true"
        elif isinstance(step, float) and belief.weigh(fix_at(second, step), honest=False) is not None:
            last = "false"


def test_of_two_fixes_with_one_time_the_second_is_a_copy_or_is_not_posted() -> None:
    belief = Belief()
    assert belief.weigh(fix_at(0, 0.0), honest=True) == "shown"
    assert belief.weigh(fix_at(0, 0.0), honest=True) == "kept"
    assert belief.weigh(fix_at(0, 5.0), honest=True) is None
    assert belief.shown == fix_at(0, 0.0)


def test_a_late_false_fix_that_would_take_back_the_shown_one_is_not_posted() -> None:
    belief = Belief()
    assert [belief.weigh(fix_at(second, 0.0), honest=True) for second in (0, 1, 3)] == ["shown"] * 3
    assert belief.weigh(fix_at(2, 5_000.0), honest=False) is None
    assert belief.weigh(fix_at(2, 5.0), honest=True) == "kept"


def test_without_faults_every_report_is_posted_as_it_is_when_it_is_read() -> None:
    reports = drive(seed=1, drivers=5, seconds=30)
    sendings, phones = post(reports, [], 1, 5)
    assert [(sending.send_at_ms, sending.driver, sending.fix) for sending in sendings] == [
        (report.fix.fix_time_ms, report.driver, report.fix) for report in reports
    ]
    assert all(sending.honest and sending.expect == "shown" for sending in sendings)
    assert phones.lost == {}
    assert phones.next_due_ms is None


def test_a_second_seed_strikes_others_and_the_same_seed_the_same() -> None:
    reports = drive(seed=1, drivers=40, seconds=10)
    tables = [FaultTable(kind="dead_phone", share=0.5)]
    first, again, other = (post(reports, tables, seed, 40)[0] for seed in (7, 7, 8))
    assert first == again
    assert {sending.driver for sending in first} != {sending.driver for sending in other}


def test_a_report_that_comes_after_what_was_due_then_is_a_mistake_of_the_caller() -> None:
    reports = drive(seed=1, drivers=1, seconds=3)
    phones = Phones([], START_MS)
    phones.due(reports[1].fix.fix_time_ms)
    with pytest.raises(ValueError, match="read all reports until a moment before"):
        phones.read(reports[:1])
    with pytest.raises(ValueError, match="read all reports until a moment before"):
        phones.read([reports[2], reports[1]])
