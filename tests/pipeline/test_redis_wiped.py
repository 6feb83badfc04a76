"""Redis emptied, or killed and started empty, in the middle of a replay: the index and the riders' views heal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.oracle.fold import fold, nearby, verdicts
from tests.oracle.trace import PORTO, read_trace, trace_path
from tests.pipeline import counters
from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.places import places
from tests.pipeline.polling import until
from tests.pipeline.system import System, assert_no_positions_in, held_clock, replay_clock

pytestmark = [pytest.mark.pipeline, pytest.mark.replay, pytest.mark.timeout(600)]

#: The day in 16 s.
SPEED = 5_400.0
#: The trace's taxis report every 15 s. Here that is wall time: what heals does so without new pings of each driver.
PING_INTERVAL_S = 15.0


def _flush(system: System) -> None:
    with redis.Redis.from_url(system.env["RIDESTREAM_REDIS"]) as client:
        client.flushall()


def _kill_and_start_empty(system: System) -> None:
    system.engines.redis.process.kill()
    system.engines.redis.restart()


@pytest.mark.parametrize(
    "wipe",
    [
        pytest.param(_flush, id="flushall", marks=pytest.mark.chaos),
        pytest.param(_kill_and_start_empty, id="kill-and-restart", marks=pytest.mark.chaos),
    ],
)
@on_both_engines
def test_a_wiped_redis_is_right_again_within_one_ping_interval(
    pair: EnginePair, wipe: Callable[[System], None], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    fixes = read_trace(PORTO)
    index, expected = fold(fixes), verdicts(fixes)
    with System(pair, tmp_path, lambda: replay_clock(fixes, SPEED)) as system:
        stand = places(index)[-1]
        with system.rider(stand.lat, stand.lon, stand.rim_m) as rider:
            replay = system.begin("replay", "simulator", "replay", str(trace_path(PORTO)), "--speed", f"{SPEED:g}")
            until(lambda: counters.accepted(system.ingest) > len(fixes) // 2, 120, "half of the day was accepted")
            before, seen_before = system.index(settled=False), rider.shown()
            assert seen_before
            assert replay.running
            wipe(system)

            def healed() -> bool:
                """Everyone who was there is there again, not older than before."""
                now = system.index(settled=False)
                return all(id_ in now and now[id_].fix_time_ms >= car.fix_time_ms for id_, car in before.items())

            took_s = until(healed, PING_INTERVAL_S, "the index holds again what it held")
            record_property("index_healed_s", round(took_s, 2))

            assert replay.wait(240) == 0, replay.epitaph()
            system.await_folded(len(fixes))
            until(lambda: system.holds(index), PING_INTERVAL_S, "the final index is the oracle's")
            rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m))
            assert rider.faults == []
            record_property("rider_snapshots", rider.snapshots)
            assert_no_positions_in(system.logs(), {str(value) for fix in fixes for value in (fix.lat, fix.lon)})
            assert system.verdicts() == {
                "live": expected.live,
                "impossible_jump": expected.impossible_jump,
            }


@on_both_engines
def test_a_wipe_after_the_last_ping_heals_without_another(pair: EnginePair, tmp_path: Path) -> None:
    fixes = [fix for fix in read_trace(PORTO) if fix.driver_id < "ptrip-200"]
    index = fold(fixes)
    with System(pair, tmp_path, lambda: held_clock(fixes)) as system:
        stand = places(index)[-1]
        with system.rider(stand.lat, stand.lon, stand.rim_m) as rider:
            wanted = nearby(index, stand.lat, stand.lon, stand.rim_m)
            system.post(fixes)
            rider.await_view(index, wanted)
            for wipe in (_flush, _kill_and_start_empty):
                until(lambda: system.holds(index), 60, "the index is the oracle's")
                wipe(system)
                until(lambda: system.holds(index), PING_INTERVAL_S, f"the index is right again after {wipe}")
                rider.await_view(index, wanted)
            # The mirror noticed: a rider who comes only now is shown the same.
            with system.rider(stand.lat, stand.lon, stand.rim_m) as late:
                late.await_view(index, wanted)
            assert rider.faults == []
