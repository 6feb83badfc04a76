"""Each kind of fault does to a phone what docs/faults.md says, and a bad table is refused in one clear line."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import h3
import msgspec
import pytest

from simulator.fleet.fixes import Fix, encode_fix
from simulator.fleet.gps import METRES_PER_DEGREE
from simulator.fleet.reports import Report
from simulator.phones.faults import KINDS, faults_of, problems_of
from simulator.phones.phones import WITHHELD, Phones, Sending
from simulator.scenarios.scenario import Area
from simulator.scenarios.scenario import Fault as FaultTable
from simulator.scenarios.shipped import load_scenario, scenario_names

LAT, LON = 40.75, -73.98
START_MS = 1_767_225_600_000
SPEED_MPS = 10.0


def report(driver: int, second: float) -> Report:
    """Cars drive north from (LAT, LON) at 10 m/s, one behind another by no distance."""
    at_ms = START_MS + round(second * 1_000)
    lat = LAT + second * SPEED_MPS / METRES_PER_DEGREE
    fix = Fix(
        ping_id=f"{driver}-{at_ms}", driver_id=f"driver-{driver}", fix_time_ms=at_ms, lat=lat, lon=LON, accuracy_m=5.0
    )
    return Report(driver, fix, lat, LON)


def play(*tables: FaultTable, drivers: int = 1, seconds: int = 60, seed: int = 1) -> tuple[list[Sending], Phones]:
    phones = Phones(faults_of(tables, seed, drivers, START_MS), START_MS)
    phones.read(report(driver, second) for second in range(seconds) for driver in range(drivers))
    return phones.due(START_MS + 100_000_000), phones


def fault(kind: str, from_s: float = 0.0, until_s: float | None = None, **own: object) -> FaultTable:
    share, area = own.pop("share", 1.0), own.pop("area", None)
    assert isinstance(share, float)
    assert area is None or isinstance(area, Area)
    return FaultTable(kind=kind, from_s=from_s, until_s=until_s, share=share, area=area, params=own)


def read_s(sendings: list[Sending]) -> list[int]:
    """When each was read, in seconds of the run."""
    return [(int(sending.fix.ping_id.partition("-")[2]) - START_MS) // 1_000 for sending in sendings]


def sent_s(sendings: list[Sending]) -> list[float]:
    return [(sending.send_at_ms - START_MS) / 1_000 for sending in sendings]


def metres_from(sending: Sending, second: float) -> float:
    true = report(0, second)
    there = (sending.fix.lat, sending.fix.lon)
    return float(h3.great_circle_distance(there, (true.true_lat, true.true_lon), unit="m"))


# --- links ---------------------------------------------------------------------------------------------------------


def test_a_tunnel_holds_what_is_read_and_all_of_it_is_posted_at_its_end_oldest_first() -> None:
    sendings, phones = play(fault("tunnel", 10, 30))
    assert read_s(sendings) == list(range(60))
    assert sent_s(sendings) == [second if not 10 <= second < 30 else 30 for second in range(60)]
    assert all(sending.expect == "shown" and sending.honest for sending in sendings)
    assert [phones.on_air(0, START_MS + second * 1_000) for second in (9, 10, 29, 30)] == [True, False, False, True]


def test_a_buffer_that_is_posted_newest_first_moves_the_marker_once() -> None:
    sendings, _ = play(fault("tunnel", 10, 30, flush="reversed"))
    flushed = [sending for sending in sendings if 10 <= read_s([sending])[0] < 30]
    assert read_s(flushed) == list(range(29, 9, -1))
    assert [sending.expect for sending in flushed] == ["shown"] + ["kept"] * 19


def test_of_a_shuffled_buffer_only_what_is_newer_than_all_before_moves_the_marker() -> None:
    sendings, _ = play(fault("tunnel", 10, 30, flush="shuffled"))
    newest = -1
    order = read_s(sendings)
    assert sorted(order) == list(range(60))
    assert order != sorted(order)
    for second, sending in zip(order, sendings, strict=True):
        assert (sending.expect == "shown") == (second > newest)
        newest = max(newest, second)


def test_a_small_buffer_keeps_the_newest_and_no_buffer_nothing() -> None:
    sendings, phones = play(fault("tunnel", 10, 30, buffer=5))
    assert read_s(sendings) == [*range(10), *range(25, 60)]
    assert phones.lost == {"tunnel": 15}
    sendings, phones = play(fault("tunnel", 10, 30, buffer=0))
    assert read_s(sendings) == [*range(10), *range(30, 60)]


def test_a_tunnel_in_a_place_holds_the_phones_of_the_cars_that_are_in_it() -> None:
    # 10 m/s: within 55 m of the point 300 m up the road from second 24.5 to 35.5.
    area = Area(lat=LAT + 300.0 / METRES_PER_DEGREE, lon=LON, radius_m=55.0)
    sendings, phones = play(fault("tunnel", area=area))
    assert read_s(sendings) == list(range(60))
    assert sent_s(sendings) == [second if not 25 <= second <= 35 else 36 for second in range(60)]
    assert [phones.on_air(0, START_MS + second * 1_000) for second in (24, 25, 35, 36)] == [True, False, False, True]


def test_a_tunnel_that_opens_while_a_car_is_in_it_lets_everything_out() -> None:
    area = Area(lat=LAT + 300.0 / METRES_PER_DEGREE, lon=LON, radius_m=55.0)
    sendings, phones = play(fault("tunnel", 28, 32, area=area))
    assert sent_s(sendings) == [second if not 28 <= second < 32 else 32 for second in range(60)]
    assert phones.waiting == 0


def test_a_car_that_never_leaves_an_open_ended_tunnel_is_still_waiting() -> None:
    area = Area(lat=LAT + 600.0 / METRES_PER_DEGREE, lon=LON, radius_m=95.0)
    sendings, phones = play(fault("tunnel", area=area))
    assert read_s(sendings) == list(range(51))
    assert phones.waiting == 9
    assert phones.next_due_ms is None


def test_a_lost_report_is_never_posted_and_counted() -> None:
    sendings, phones = play(fault("loss", rate=0.25), drivers=20)
    assert 0.2 < phones.lost["loss"] / 1_200 < 0.3
    assert len(sendings) + phones.lost["loss"] == 1_200
    assert phones.on_air(0, START_MS), "some get through"
    _, phones = play(fault("loss", 10, 20, rate=1.0))
    assert phones.lost == {"loss": 10}
    assert not phones.on_air(0, START_MS + 15_000)


def test_a_slow_uplink_delays_within_its_range_and_keeps_the_order() -> None:
    sendings, _ = play(fault("delay", delay_s=[2.0, 9.0]))
    assert read_s(sendings) == list(range(60))
    waits = [sent - read for sent, read in zip(sent_s(sendings), read_s(sendings), strict=True)]
    assert min(waits) >= 2.0
    assert max(waits) <= 9.0
    assert all(sending.expect == "shown" for sending in sendings)


def test_what_is_read_after_a_slow_uplink_waits_for_what_is_still_under_way() -> None:
    sendings, _ = play(fault("delay", 0, 10, delay_s=[30.0, 30.0]))
    assert read_s(sendings) == list(range(60))
    assert sent_s(sendings)[:10] == [30.0 + second for second in range(10)]
    assert sent_s(sendings)[10:39] == [39.0] * 29


def test_delays_that_do_not_keep_the_order_make_fixes_late() -> None:
    sendings, _ = play(fault("delay", delay_s=[0.0, 9.0], in_order=False))
    order = read_s(sendings)
    assert order != sorted(order)
    assert [sending.expect == "kept" for sending in sendings] == [
        second < max(order[: at + 1]) for at, second in enumerate(order)
    ]


def test_a_duplicate_is_the_same_ping_again_and_kept() -> None:
    sendings, _ = play(fault("duplicate", rate=1.0, copies=2, after_s=[0.0, 3.0]))
    assert set(Counter(read_s(sendings)).values()) == {3}
    first: dict[str, Sending] = {}
    for sending in sendings:
        known = first.setdefault(sending.fix.ping_id, sending)
        assert sending.fix == known.fix
        assert sending.expect == ("shown" if sending is known else "kept")
        assert 0 <= sending.send_at_ms - known.send_at_ms <= 3_000


def test_a_report_that_is_held_is_overtaken_and_late() -> None:
    sendings, _ = play(fault("reorder", rate=0.2, hold_s=[3.0, 4.0]))
    held = [sending for sending in sendings if sending.send_at_ms != sending.fix.fix_time_ms]
    assert 3 <= len(held) <= 25
    assert all(3_000 <= sending.send_at_ms - sending.fix.fix_time_ms <= 4_000 for sending in held)
    assert all(sending.expect == "kept" for sending in held if sending.send_at_ms < START_MS + 55_000)


def test_a_dead_phone_says_nothing_any_more_not_even_what_it_had_kept() -> None:
    sendings, phones = play(fault("tunnel", 10, 30), fault("dead_phone", 20))
    assert read_s(sendings) == list(range(10))
    assert phones.lost == {"dead_phone": 50}
    assert not phones.on_air(0, START_MS + 1_000_000_000)


def test_a_phone_that_comes_back_reports_again() -> None:
    sendings, phones = play(fault("dead_phone", 20, 40))
    assert read_s(sendings) == [*range(20), *range(40, 60)]
    assert phones.lost == {"dead_phone": 20}
    assert phones.on_air(0, START_MS + 40_000)


# --- misreadings ---------------------------------------------------------------------------------------------------


def test_a_clock_that_is_a_little_ahead_is_believed_and_when_it_is_right_again_the_fixes_are_late_for_so_long() -> None:
    sendings, phones = play(fault("clock_skew", 10, 30, skew_s=15.0))
    for second, sending in zip(read_s(sendings), sendings, strict=True):
        ahead_ms = sending.fix.fix_time_ms - sending.send_at_ms
        if 10 <= second < 30:
            assert (15_001 <= ahead_ms <= 15_099, sending.honest, sending.expect) == (True, False, "shown")
        else:
            assert (ahead_ms, sending.honest) == (0, True)
            assert sending.expect == ("kept" if 30 <= second <= 45 else "shown")
    assert len({sending.fix.fix_time_ms for sending in sendings}) == len(sendings), "no fix time is used twice"
    assert [phones.on_air(0, START_MS + second * 1_000) for second in (9, 10, 44, 46)] == [True, False, False, True]


def test_a_clock_that_is_put_back_makes_fixes_late() -> None:
    sendings, phones = play(fault("clock_skew", 20, skew_s=-300.0))
    assert [sending.expect for sending in sendings] == ["shown"] * 20 + ["kept"] * 40
    assert phones.lost == {}


@pytest.mark.parametrize(
    ("skew_s", "reason"), [(180.0, "future_fix"), (86_400.0, "future_fix"), (-90_000.0, "too_old")]
)
def test_a_clock_that_is_far_off_is_refused(skew_s: float, reason: str) -> None:
    sendings, _ = play(fault("clock_skew", 10, 20, skew_s=skew_s))
    assert [sending.expect for sending in sendings] == ["shown"] * 10 + [reason] * 10 + ["shown"] * 40


def test_a_leap_is_not_believed_and_the_fix_after_it_is_not_either() -> None:
    sendings, phones = play(fault("teleport", rate=0.2, distance_m=5_000.0))
    leaps = [at for at, sending in enumerate(sendings) if not sending.honest]
    assert len(leaps) >= 3
    assert all(next_at - at > 4 for at, next_at in pairwise([-1, *leaps]))
    for at, sending in enumerate(sendings):
        assert (metres_from(sending, at) > 4_900) == (at in leaps)
        assert sending.expect == ("kept" if at in leaps or at - 1 in leaps else "shown")
    assert phones.lost == {}


def test_a_mocked_fix_says_so_lies_elsewhere_and_is_refused() -> None:
    sendings, phones = play(fault("mock", 10, 20))
    for second, sending in zip(read_s(sendings), sendings, strict=True):
        mocked = 10 <= second < 20
        assert sending.fix.is_mock == mocked == (not sending.honest)
        assert sending.expect == ("mock_location" if mocked else "shown")
        assert metres_from(sending, second) == pytest.approx(2_000.0 if mocked else 0.0, rel=0.01, abs=0.5)
        assert (b'"is_mock":true' in encode_fix(sending.fix)) == (b"is_mock" in encode_fix(sending.fix)) == mocked
    assert not phones.on_air(0, START_MS + 15_000)


def test_a_stuck_phone_says_one_place_with_new_times_and_the_way_back_takes_two_fixes() -> None:
    sendings, _ = play(fault("stuck", 10, 30))
    stuck = sendings[10:30]
    assert {(sending.fix.lat, sending.fix.lon) for sending in stuck} == {(stuck[0].fix.lat, stuck[0].fix.lon)}
    assert [sending.fix.fix_time_ms for sending in stuck] == [sending.send_at_ms for sending in stuck]
    assert [sending.honest for sending in sendings] == [True] * 11 + [False] * 19 + [True] * 30
    assert [at for at, sending in enumerate(sendings) if sending.expect != "shown"] == [30]


def test_a_phone_without_a_fix_says_zero_and_is_refused() -> None:
    sendings, _ = play(fault("zero_position", 0, 10))
    assert [(sending.fix.lat, sending.fix.lon) for sending in sendings[:10]] == [(0.0, 0.0)] * 10
    assert [sending.expect for sending in sendings] == ["null_island"] * 10 + ["shown"] * 50
    assert not sendings[0].honest


# --- tables --------------------------------------------------------------------------------------------------------


def test_what_a_phone_reads_wrong_is_wrong_before_it_is_posted_wherever_it_stands_in_the_list() -> None:
    sendings, _ = play(fault("duplicate", rate=1.0), fault("zero_position", rate=0.5))
    places: dict[str, set[float]] = {}
    for sending in sendings:
        places.setdefault(sending.fix.ping_id, set()).add(sending.fix.lat)
    assert all(len(each) == 1 for each in places.values()), "copies of one reading are alike"


def test_a_share_is_that_share_of_the_drivers_and_at_least_one() -> None:
    for share, struck in ((0.0, 0), (0.01, 1), (0.25, 5), (1.0, 20)):
        sendings, _ = play(fault("dead_phone", share=share), drivers=20, seconds=3)
        assert len({sending.driver for sending in sendings}) == 20 - struck


def test_one_more_fault_leaves_the_others_as_they_were() -> None:
    one, _ = play(fault("loss", rate=0.3, share=0.5), drivers=10)
    two, _ = play(fault("loss", rate=0.3, share=0.5), fault("duplicate", rate=0.3), drivers=10)
    assert {sending.fix.ping_id for sending in one} == {sending.fix.ping_id for sending in two}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (fault("tunel"), "faults[1].kind: there is no 'tunel', did you mean tunnel?"),
        (fault("flood"), "faults[1].kind: there is no 'flood' (there is tunnel, loss, "),
        (fault("loss", rate=3), "faults[1].rate: expected float <= 1.0"),
        (fault("loss", rat=0.3), "faults[1].rat: unknown member (did you mean rate?)"),
        (fault("delay", delay_s=[3, 1]), "faults[1].delay_s: give the shorter time first"),
        (fault("delay", delay_s=2), "faults[1].delay_s: expected array, got int"),
        (fault("tunnel", 0, 9, flush="backwards"), "faults[1].flush: invalid enum value 'backwards'"),
        (fault("tunnel"), "faults[1].until_s: a tunnel needs an end"),
        (fault("loss", area=Area(lat=LAT, lon=LON, radius_m=9)), "faults[1].area: is for kind tunnel, loss strikes"),
        (fault("stuck", rate=0.5), "faults[1].rate: unknown member"),
        (fault("clock_skew", skew_s=60), "faults[1].skew_s: is so near to the 60 s ahead"),
        (fault("clock_skew", skew_s=-86_400), "faults[1].skew_s: is so near to the 24 h"),
        (fault("clock_skew", 5, 9, skew_s=125), "faults[1].skew_s: its fixes wait up to 10 s because of other faults"),
    ],
)
def test_a_bad_table_is_refused_with_its_number_and_member(table: FaultTable, problem: str) -> None:
    tables = [fault("tunnel", 0, 10), table]
    with pytest.raises(ValueError, match=re.escape(problem)) as refused:
        faults_of(tables, 1, 10, START_MS)
    assert "\n" not in str(refused.value)
    assert problems_of(tables) == str(refused.value).split("; ")


@pytest.mark.parametrize("name", scenario_names())
def test_the_faults_of_a_shipped_scenario_can_be_played_and_hardly_a_fix_is_withheld(name: str) -> None:
    tables = load_scenario(name).faults
    assert problems_of(tables) == []
    sendings, phones = play(*tables, drivers=60)
    assert len({sending.fix.ping_id for sending in sendings}) + phones.lost.total() + phones.waiting == 60 * 60
    assert phones.lost[WITHHELD] <= 0.002 * 60 * 60


def test_two_clocks_at_once_are_refused_and_one_after_the_other_is_fine() -> None:
    first = fault("clock_skew", 0, 10)
    assert problems_of([first, fault("clock_skew", 10)]) == []
    assert "faults[0].kind: two clock_skew must not overlap in time" in problems_of([first, fault("clock_skew", 9)])


def test_the_page_for_users_names_every_kind_with_its_members_and_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    for name, kind in KINDS.items():
        section = page.partition(f"\n### `{name}`\n")[2].partition("\n##")[0]
        assert section, name
        for field in msgspec.structs.fields(kind.members):
            said = re.sub(r"\.0\b", "", json.dumps(field.default))
            assert re.search(rf"^\| `{field.name}` \| `{re.escape(said)}` \|", section, re.MULTILINE), (
                name,
                field.name,
            )
