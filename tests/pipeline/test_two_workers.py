"""A second stream worker joins in the middle of a replay and leaves again: no driver is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.fold import fold, nearby, verdicts
from tests.oracle.trace import PORTO, read_trace, trace_path
from tests.pipeline import counters
from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.places import places
from tests.pipeline.polling import until
from tests.pipeline.system import System, replay_clock

pytestmark = [pytest.mark.pipeline, pytest.mark.replay, pytest.mark.timeout(240)]

#: The day in 48 s: two rebalances of a few seconds fit into its middle.
SPEED = 1_800.0


@on_both_engines
def test_a_second_worker_joins_and_leaves_without_a_lost_or_doubled_driver(pair: EnginePair, tmp_path: Path) -> None:
    fixes = read_trace(PORTO)
    index, expected = fold(fixes), verdicts(fixes)
    with System(pair, tmp_path, lambda: replay_clock(fixes, SPEED)) as system:
        stand = places(index)[-1]
        with system.rider(stand.lat, stand.lon, stand.rim_m) as rider:
            replay = system.begin("replay", "simulator", "replay", str(trace_path(PORTO)), "--speed", f"{SPEED:g}")
            until(lambda: counters.accepted(system.ingest) > len(fixes) // 5, 60, "a fifth of the day was accepted")
            first, second = system.worker, system.add_worker()
            second.wait_ready()
            until(lambda: counters.frames(second) > 10, 60, "the second worker folds")
            accepted = counters.accepted(system.ingest)
            until(lambda: counters.accepted(system.ingest) > accepted + 1_000, 60, "both work for a while")
            assert replay.running
            second.stop()
            assert replay.wait(120) == 0, replay.epitaph()
            system.await_folded(len(fixes))
            until(lambda: counters.folded(first) == system.verdicts(), 30, "the first worker has all partitions")
            assert system.verdicts() == {"live": expected.live, "impossible_jump": expected.impossible_jump}
            assert system.index() == index
            rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m))
            assert rider.faults == []
