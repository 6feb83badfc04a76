"""What a run was told is what its series hold: nothing is lost, in a run of seconds and in one of days."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.counts.latency import Latencies
from simulator.counts.tally import Tally
from simulator.results.bounded import Bounded
from simulator.results.recorder import Recorder
from simulator.results.screen import glance
from simulator.results.series import MOST_BINS
from simulator.results.table import series_of, summaries_of

DURATIONS_MS = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60)
BOUNDS_MS = (5.0, 10.0, 50.0, 250.0, 1_000.0, math.inf)


def exact(durations: list[float], percent: float) -> float:
    return sorted(durations)[max(0, math.ceil(len(durations) * percent / 100) - 1)]


def counted(durations: list[float]) -> Latencies:
    latencies = Latencies()
    for duration_ms in durations:
        latencies.add(duration_ms)
    return latencies


@given(DURATIONS_MS, st.sampled_from([50, 90, 99, 99.9, 100]))
def test_a_percentile_is_the_true_one_or_at_most_one_percent_above(durations: list[float], percent: float) -> None:
    told, true = counted(durations).percentile(percent), exact(durations, percent)
    assert told is not None
    assert true * (1 - 1e-9) <= told <= true * 1.0101


@given(DURATIONS_MS, DURATIONS_MS)
def test_two_histograms_taken_together_are_one_of_all(some: list[float], others: list[float]) -> None:
    together = counted(some)
    together.merge(counted(others))
    assert together.summary() == counted(some + others).summary()


@given(DURATIONS_MS, DURATIONS_MS, st.sampled_from([50, 90, 99]))
def test_many_durations_counted_at_once_are_counted_as_one_after_the_other(
    some: list[float], others: list[float], percent: float
) -> None:
    at_once = counted(some)
    at_once.add_all(others)
    at_once.add_all([])
    true, told = counted(some + others), at_once.percentile(percent)
    assert (at_once.count, at_once.max_ms) == (true.count, true.max_ms)
    assert told == pytest.approx(true.percentile(percent), rel=0.011)
    assert told is not None
    assert exact(some + others, percent) * (1 - 1e-9) <= told <= exact(some + others, percent) * 1.0101


def cumulative(durations: list[float]) -> dict[float, float]:
    return {bound: sum(duration <= bound for duration in durations) for bound in BOUNDS_MS}


@given(DURATIONS_MS, DURATIONS_MS, st.sampled_from([50, 90, 99]))
def test_a_percentile_of_a_service_lies_in_the_bucket_of_the_true_one(
    some: list[float], others: list[float], percent: float
) -> None:
    bounded, more = Bounded(), Bounded()
    bounded.add(cumulative(some))
    more.add(cumulative(others))
    bounded.merge(more)
    told, true = bounded.percentile(percent), exact(some + others, percent)
    assert told is not None
    lower = max((bound for bound in (0.0, *BOUNDS_MS) if bound < true), default=0.0)
    upper = next(bound for bound in BOUNDS_MS if true <= bound)
    assert lower <= told <= min(upper, 1_000.0)


@given(st.lists(st.tuples(st.integers(0, 200_000_000), st.floats(0.1, 1e4)), min_size=1, max_size=80))
def test_however_long_a_run_goes_on_nothing_told_is_lost(told: list[tuple[int, float]]) -> None:
    recorder = Recorder(1_000)
    for at_ms, took_ms in told:
        recorder.sent(2, 1_000 + at_ms)
        recorder.received(took_ms, 1_000 + at_ms)
        recorder.gauge("riders", took_ms, 1_000 + at_ms)
        recorder.growth("pushed", {took_ms: 1.0}, 1_000 + at_ms)
    assert recorder.bins <= MOST_BINS
    assert recorder.rates["sent"].total().count == 2 * len(told)
    assert summaries_of(recorder)["received"].count == len(told) == summaries_of(recorder)["pushed"].count
    assert recorder.levels["riders"].total().most == max(took_ms for _, took_ms in told)
    last_bin = recorder.ruler.index(1_000 + max(at_ms for at_ms, _ in told))
    assert {len(column) for series in series_of(recorder).values() for column in series.columns.values()} == {
        last_bin + 1
    }


@given(st.integers(1, 100), st.integers(0, 30_000))
def test_a_rate_is_per_second_whatever_the_length_of_a_bin(per_s: int, seconds: int) -> None:
    recorder = Recorder(0)
    recorder.gauge("riders", 1, seconds * 1_000)  # makes the bins as long as the run needs
    bin_s = recorder.ruler.bin_ms // 1_000
    for second in range(bin_s):
        recorder.sent(per_s, second * 1_000)
    recorder.finish((seconds + bin_s) * 1_000)
    assert series_of(recorder)["sent"].columns["rate"][0] == per_s


def test_a_stall_is_a_gap_and_then_as_long_as_it_was() -> None:
    recorder = Recorder(0)
    for second in (0, 1, 4):
        recorder.received(3_000 if second == 4 else 20, second * 1_000)
    assert series_of(recorder)["received"].columns["p99"] == [20, 20, None, None, 3_000]


def test_the_last_seconds_are_told_by_rate_percentile_and_level() -> None:
    recorder = Recorder(0)
    assert recorder.recent(500).per_s == {}
    for second in range(20):
        recorder.sent(100 if second >= 10 else 1, second * 1_000)
        recorder.received(50 if second >= 10 else 5_000, second * 1_000)
        recorder.gauge("riders", second, second * 1_000)
    recent = recorder.recent(19_999)
    assert recent.per_s["sent"] == 100
    assert recent.percentiles["received"] == (50, 50)
    assert recent.levels["riders"] == 16  # of seconds 14 to 18: the one that runs is not whole
    assert recorder.p99s("received", 19_999, 10) == [5_000] + [50] * 9


def test_what_was_broken_ends_with_the_drive_and_what_had_not_begun_never_was() -> None:
    recorder = Recorder(0)
    for from_ms, until_ms, words in (
        (0, None, "open"),
        (2_000, 5_000, "over"),
        (4_000, 90_000, "cut"),
        (9_000, 10_000, "never"),
    ):
        recorder.fault(from_ms, until_ms, words)

    def now(at_ms: int) -> list[str]:
        return list(glance(recorder, Tally(), at_ms, "T", None).faults)

    assert now(4_500) == ["open", "over", "cut"]
    assert now(7_000_000) == ["open"]
    recorder.end_faults(9_000)
    assert [(fault.from_ms, fault.until_ms, fault.words) for fault in recorder.faults] == [
        (0, 9_000, "open"), (2_000, 5_000, "over"), (4_000, 9_000, "cut"),
    ]  # fmt: skip
    assert now(9_000) == []
