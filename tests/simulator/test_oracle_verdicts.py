"""Every ping is accounted for, and a run passes when it stays within its scenario's bounds."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.counts.findings import Findings, Kind
from simulator.fleet.fixes import Fix
from simulator.oracle.pings import PingOracle
from simulator.oracle.promises import Figures, Promises, judge
from simulator.oracle.truth import Truth
from simulator.phones.phones import Sending
from simulator.scenarios.bounds import Bounds
from simulator.staging.judgement import Judgement, least_trips
from simulator.staging.town import Town


def sending(expect: str = "shown", driver: int = 0, fix_time_ms: int = 1_000) -> Sending:
    fix = Fix(driver_id=f"d-{driver}", fix_time_ms=fix_time_ms, lat=40.75, lon=-73.98)
    return Sending(fix_time_ms, driver, fix, True, expect)


def reason_of(expect: str) -> str | None:
    return None if expect in ("shown", "kept") else expect


pings = st.lists(
    st.tuples(st.sampled_from(("shown", "kept", "mock_location", "future_fix")), st.integers(0, 1), st.integers(0, 2)),
    max_size=30,
)


@given(posted=pings, order=st.randoms())
@settings(max_examples=50)
def test_pings_that_get_the_verdicts_they_should_are_accounted_for_in_any_order(
    posted: list[tuple[str, int, int]], order: object
) -> None:
    findings = Findings()
    oracle = PingOracle(findings)
    for ping in posted:
        oracle.posted(sending(*ping), 1_000)
    answers = list(posted)
    order.shuffle(answers)  # type: ignore[attr-defined]
    for expect, driver, fix_time_ms in answers:
        oracle.judged(f"d-{driver}", fix_time_ms, reason_of(expect), 2_000)
    oracle.end(3_000)
    assert not findings.counts
    assert oracle.open == 0
    assert oracle.sent == oracle.accepted + oracle.rejected.total()
    assert oracle.rejected == Counter(reason for expect, _, _ in posted if (reason := reason_of(expect)) is not None)


@given(posted=pings.filter(len), lost=st.integers(0, 29))
@settings(max_examples=50)
def test_a_ping_without_a_verdict_is_found_at_the_end(posted: list[tuple[str, int, int]], lost: int) -> None:
    findings = Findings()
    oracle = PingOracle(findings)
    for ping in posted:
        oracle.posted(sending(*ping), 1_000)
    for number, (expect, driver, fix_time_ms) in enumerate(posted):
        if number != lost % len(posted):
            oracle.judged(f"d-{driver}", fix_time_ms, reason_of(expect), 2_000)
    assert oracle.open == 1
    oracle.end(3_000)
    assert findings.counts == {Kind.PING_UNACCOUNTED: 1}
    assert findings.first[Kind.PING_UNACCOUNTED].evidence["waited_ms"] == 2_000


def test_a_ping_with_another_verdict_than_it_should_have_is_found() -> None:
    for expect, reason in (("shown", "too_old"), ("mock_location", None), ("mock_location", "future_fix")):
        findings = Findings()
        oracle = PingOracle(findings)
        oracle.posted(sending(expect), 1_000)
        oracle.judged("d-0", 1_000, reason, 1_050)
        assert findings.counts == {Kind.PING_UNACCOUNTED: 1}
        assert findings.first[Kind.PING_UNACCOUNTED].evidence["verdict"] == (reason or "accepted")


def test_a_second_verdict_on_one_ping_is_found() -> None:
    findings = Findings()
    oracle = PingOracle(findings)
    oracle.posted(sending(), 1_000)
    for _ in range(2):
        oracle.judged("d-0", 1_000, None, 1_050)
    assert findings.counts == {Kind.PING_UNACCOUNTED: 1}
    assert oracle.accepted == 1


def test_every_kind_has_a_verdict_and_a_bound() -> None:
    verdicts = judge(Bounds(), Findings(), Figures())
    assert [each.name for each in verdicts] == [kind.value for kind in Kind]
    assert all(each.ok and each.bound == 0 for each in verdicts)


def test_a_run_in_which_somebody_asked_for_a_trip_and_none_was_judged_does_not_pass() -> None:
    none = Figures(trips_judged=0, trips_least=least_trips(0))
    assert [each.name for each in judge(Bounds(), Findings(), none) if not each.ok] == ["trips_judged"]
    few = judge(Bounds(), Findings(), Figures(trips_judged=24, trips_least=least_trips(100)))[-1]
    assert few.words() == "BROKEN trips_judged: 24, at least 25"
    assert judge(Bounds(), Findings(), Figures(trips_judged=25, trips_least=least_trips(100)))[-1].ok


def test_etas_are_judged_only_where_a_scenario_says_how_good_they_are_to_be() -> None:
    wrong = Figures(eta_error_p90_s=500.0)
    assert all(each.ok for each in judge(Bounds(), Findings(), wrong))
    for figures in (wrong, Figures(trips_judged=3)):
        broken = [each.name for each in judge(Bounds(eta_error_p90_s=60), Findings(), figures) if not each.ok]
        assert broken == ["eta_error_p90_s"], "also where none was told"
    assert judge(Bounds(eta_error_p90_s=60), Findings(), Figures(eta_error_p90_s=60.0))[-1].ok
    stopped = judge(Bounds(eta_error_p90_s=60), Findings(), Figures())
    assert all(each.ok for each in stopped), "nobody has to have arrived when somebody stops the run"


def test_where_the_car_of_a_trip_is_shown_is_measured_and_judged_where_a_scenario_bounds_it() -> None:
    far = Figures(trip_position_error_p99_m=80.0, trips_judged=3)
    assert all(each.ok for each in judge(Bounds(), Findings(), far))
    broken = [each.name for each in judge(Bounds(trip_position_error_p99_m=60), Findings(), far) if not each.ok]
    assert broken == ["trip_position_error_p99_m"]


def test_a_run_that_was_stopped_before_anything_was_measured_broke_nothing() -> None:
    soon = Figures(screens_judged=0, stopped=True)
    assert all(each.ok for each in judge(Bounds(), Findings(), soon))
    slow = Figures(screens_judged=4, latency_p99_ms=9_000.0, position_error_p99_m=25.0, stopped=True)
    broken = [each.name for each in judge(Bounds(), Findings(), slow) if not each.ok]
    assert broken == ["latency_p99_ms"], "what was measured counts"


def test_a_bound_that_is_broken_names_the_first_case() -> None:
    findings = Findings()
    for number in range(3):
        findings.note(Kind.GHOST, 61_500, "map-7", f"d-{number}", why="must be gone", age_ms=124_000)
    broken = [each for each in judge(Bounds(ghost=2), findings, Figures()) if not each.ok]
    assert [each.words(start_ms=1_500) for each in broken] == [
        "BROKEN ghost: 3, at most 2; ghost at 60.0 s, map-7 about d-0: why must be gone, age_ms 124000"
    ]
    assert all(each.ok for each in judge(Bounds(ghost=3), findings, Figures()))


def test_a_run_in_which_nothing_could_be_judged_does_not_pass() -> None:
    unseen = {each.name for each in judge(Bounds(), Findings(), Figures(screens_judged=0)) if not each.ok}
    assert unseen == {"latency_p99_ms", "position_error_p99_m", "screens_judged"}
    seen = Figures(screens_judged=1, latency_p99_ms=80.0, position_error_p99_m=25.0)
    assert all(each.ok for each in judge(Bounds(latency_p99_ms=80), Findings(), seen))
    slow = [each.name for each in judge(Bounds(latency_p99_ms=79.9), Findings(), seen) if not each.ok]
    assert slow == ["latency_p99_ms"]


def test_the_nearest_driver_has_to_be_nearby_once_one_of_its_fixes_has_settled() -> None:
    truth = Truth(["d-0"])
    judgement = Judgement(cast(Town, SimpleNamespace(truth=truth)), Bounds(), Promises())
    truth.sent(sending(fix_time_ms=1_000), 1_000)
    judgement.amiss("r-1", "d-0", 20_000)
    assert not judgement.findings.counts, "ingest has not accepted it yet"
    truth.judged(0, 1_000, None, 4_000)
    judgement.amiss("r-1", "d-0", 8_900)
    assert not judgement.findings.counts, "two seconds ago, when dispatch asked, that was news"
    judgement.amiss("r-1", "d-0", 9_100)
    assert judgement.findings.counts == {Kind.MISSING: 1}
