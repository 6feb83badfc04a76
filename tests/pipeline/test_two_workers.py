"""A second stream worker joins while pings flow, and leaves again: no driver is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.fold import fold, nearby, verdicts
from tests.oracle.trace import PORTO, read_trace
from tests.pipeline import counters
from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.feed import Feed
from tests.pipeline.places import places
from tests.pipeline.polling import until
from tests.pipeline.system import System, assert_no_positions_in, held_clock

pytestmark = [pytest.mark.pipeline, pytest.mark.replay, pytest.mark.chaos, pytest.mark.timeout(600)]


@on_both_engines
def test_a_second_worker_joins_and_leaves_without_a_lost_or_doubled_driver(pair: EnginePair, tmp_path: Path) -> None:
    fixes = read_trace(PORTO)
    index, expected = fold(fixes), verdicts(fixes)
    with System(pair, tmp_path, lambda: held_clock(fixes)) as system:
        stand = places(index)[-1]
        with system.rider(stand.lat, stand.lon, stand.rim_m) as rider, Feed(system, fixes) as feed:
            first, second = system.worker, system.add_worker()
            second.wait_ready()
            until(lambda: counters.frames(second) > 10, 120, "the second worker folds")
            folded_by_first = counters.frames(first)
            until(lambda: counters.frames(first) > folded_by_first + 10, 120, "the first worker folds beside it")
            assert not feed.done
            assert second.stop() == 0
            folded_by_first = counters.frames(first)
            until(lambda: counters.frames(first) > folded_by_first + 10, 120, "the first worker goes on alone")
            assert not feed.done
            feed.finish()
            system.await_folded(len(fixes))
            until(lambda: counters.folded(first) == system.verdicts(), 60, "the first worker has all partitions")
            assert system.verdicts() == {"live": expected.live, "impossible_jump": expected.impossible_jump}
            assert system.index() == index
            rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m))
            assert rider.faults == []
        assert_no_positions_in(system.logs(), {str(value) for fix in fixes for value in (fix.lat, fix.lon)})
