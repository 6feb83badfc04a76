"""A stream worker ended by kill -9 in the middle of a replay: nothing is lost and nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.fold import fold, nearby, verdicts
from tests.oracle.trace import PORTO, read_trace, trace_path
from tests.pipeline import counters
from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.places import places
from tests.pipeline.polling import until
from tests.pipeline.system import System, assert_no_positions_in, replay_clock

pytestmark = [pytest.mark.pipeline, pytest.mark.replay, pytest.mark.chaos, pytest.mark.timeout(600)]

#: The day in 20 s: fast enough that frames are in flight whenever the worker dies.
SPEED = 4_300.0


@on_both_engines
def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(pair: EnginePair, tmp_path: Path) -> None:
    fixes = read_trace(PORTO)
    index, expected = fold(fixes), verdicts(fixes)
    with System(pair, tmp_path, lambda: replay_clock(fixes, SPEED)) as system:
        stand = places(index)[-1]
        with system.rider(stand.lat, stand.lon, stand.rim_m) as rider:
            replay = system.begin("replay", "simulator", "replay", str(trace_path(PORTO)), "--speed", f"{SPEED:g}")
            until(lambda: counters.accepted(system.ingest) > len(fixes) // 3, 120, "a third of the day was accepted")
            assert replay.running
            for _ in range(2):  # the second time while it catches up
                folded = system.verdicts().total()
                system.worker.kill()
                system.worker.start()
                system.worker.wait_ready()
                system.await_folded(min(folded + 1, len(fixes)))
            assert replay.wait(240) == 0, replay.epitaph()
            system.await_folded(len(fixes))
            assert counters.accepted(system.ingest) == expected.accepted
            assert system.verdicts() == {
                "live": expected.live,
                "impossible_jump": expected.impossible_jump,
            }
            assert system.index() == index
            rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m))
            assert rider.faults == []
        assert_no_positions_in(system.logs(), {str(value) for fix in fixes for value in (fix.lat, fix.lon)})
