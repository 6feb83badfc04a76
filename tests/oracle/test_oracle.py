"""The oracle itself: it agrees with those who collected the traces, and with H3's own distance."""

from __future__ import annotations

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.distance import haversine_m
from tests.oracle.fold import Verdicts, fixes_by_driver, fold, live_fix, verdicts
from tests.oracle.trace import CAPMETRO, PORTO, Fix, expected_counts, read_trace

degrees = {"lat": st.floats(-90, 90), "lon": st.floats(-180, 180)}


@pytest.mark.parametrize("name", [PORTO, CAPMETRO])
def test_the_oracle_counts_each_trace_as_its_collectors_did(name: str) -> None:
    counts, counted = expected_counts(name), verdicts(read_trace(name))
    assert counted == Verdicts(
        received=counts["rows"],
        null_island=counts["lat_or_lng_exactly_zero"],
        accepted=counts["rows"] - counts["lat_or_lng_exactly_zero"],
        live=counts["valid_unique"] - counts["teleports_gt_55mps_among_valid"],
        duplicate=counts["exact_duplicates"],
        impossible_jump=counts["teleports_gt_55mps_among_valid"],
    )
    assert len(fold(read_trace(name))) == counts["drivers_with_valid"]


@given(**{f"{name}_{end}": values for name, values in degrees.items() for end in "ab"})
def test_the_oracles_haversine_is_that_of_h3(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> None:
    ours, theirs = (
        haversine_m(lat_a, lon_a, lat_b, lon_b),
        h3.great_circle_distance((lat_a, lon_a), (lat_b, lon_b), "m"),
    )
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-3) or ours > 20_000_000  # asin is flat at the antipode


def test_a_false_last_fix_is_not_what_the_oracle_shows() -> None:
    home, away = (41.15, -8.61), (42.15, -8.61)
    seen = [Fix("a", 1_000, *home), Fix("a", 16_000, *home), Fix("a", 31_000, *away)]
    assert live_fix(seen).fix_time_ms == 16_000
    assert live_fix([*seen, Fix("a", 46_000, *away)]).fix_time_ms == 46_000
    assert live_fix([Fix("a", 1_000, *home), Fix("a", 16_000, *away)]).fix_time_ms == 1_000


def test_the_order_of_the_rows_does_not_matter_to_the_oracle() -> None:
    rows = read_trace(CAPMETRO)
    assert fold(reversed(rows)) == fold(rows)
    assert fixes_by_driver(rows + rows) == fixes_by_driver(rows)
