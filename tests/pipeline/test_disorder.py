"""A morning of Austin's buses, shuffled and each ping sent twice, gives the index of in order and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.fold import fold, nearby, verdicts
from tests.oracle.trace import CAPMETRO, expected_counts, read_trace, trace_path
from tests.pipeline import counters
from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.places import places
from tests.pipeline.polling import until
from tests.pipeline.system import System, assert_no_positions_in, held_clock

pytestmark = [pytest.mark.pipeline, pytest.mark.replay, pytest.mark.chaos, pytest.mark.timeout(600)]


@on_both_engines
def test_shuffled_and_twice_gives_the_index_of_in_order_and_once(pair: EnginePair, tmp_path: Path) -> None:
    fixes, path = read_trace(CAPMETRO), str(trace_path(CAPMETRO))
    counts, index, once = expected_counts(CAPMETRO), fold(fixes), verdicts(fixes)
    clock = held_clock(fixes)

    with System(pair, tmp_path / "in-order", lambda: clock) as system:
        system.run("replay", "simulator", "replay", path, "--max")
        system.await_folded(once.accepted)
        in_order = system.index()
        assert counters.received(system.ingest) == counts["rows"]
        assert counters.rejected(system.ingest) == {"null_island": counts["lat_or_lng_exactly_zero"]}
        assert system.verdicts() == {"live": counts["valid_unique"], "duplicate": 1}

    with System(pair, tmp_path / "shuffled", lambda: clock) as system:
        with system.rider(*WATCHED) as watcher:
            system.run("replay", "simulator", "replay", path, "--max", "--shuffle", "7", "--repeat", "2")
            system.await_folded(2 * once.accepted)
            assert counters.received(system.ingest) == 2 * counts["rows"]
            assert counters.rejected(system.ingest) == {"null_island": 2 * counts["lat_or_lng_exactly_zero"]}
            assert system.verdicts().total() == 2 * once.accepted == counters.accepted(system.ingest)
            assert system.index() == in_order == index
            watcher.await_view(index, nearby(index, *WATCHED))
            assert watcher.faults == []
        for stand in places(index, count=3):
            with system.rider(stand.lat, stand.lon, stand.rim_m) as rider:
                rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m))
        assert_no_positions_in(system.logs(), {str(value) for fix in fixes for value in (fix.lat, fix.lon)})

        # The clock holds at the last fix. With the default freshness, who has been silent for two minutes is gone.
        fresh = fold(fixes, now_ms=counts["ts_last"], gone_after_ms=120_000)
        assert 0 < len(fresh) < len(index)
        system.restart_with(stale_after_ms=30_000, gone_after_ms=120_000)
        until(lambda: system.holds(fresh), 60, lambda: f"{len(system.index(settled=False))} cars, not {len(fresh)}")
        with system.rider(*WATCHED) as rider:
            rider.await_view(fresh, nearby(fresh, *WATCHED))
            stale = {id_ for id_, car in rider.view.items() if car["freshness"] == "stale"}
            assert stale == {id_ for id_ in rider.view if counts["ts_last"] - fresh[id_].fix_time_ms >= 30_000}


#: Downtown Austin, where most lines meet: latitude, longitude, radius in metres.
WATCHED = (30.2672, -97.7431, 3_000.0)
