"""A day of Porto's taxis at 600x, through HTTP, Kafka, Faust, Redis and WebSocket, against a brute-force fold of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from infra.local.processes import Process
from tests.oracle.fold import fold, nearby, verdicts
from tests.oracle.trace import PORTO, Fix, expected_counts, read_trace, trace_path
from tests.pipeline import counters
from tests.pipeline.engines import ENGINE_PAIRS
from tests.pipeline.places import Place, places
from tests.pipeline.polling import until
from tests.pipeline.rider import Rider
from tests.pipeline.system import System, assert_no_positions_in, replay_clock

SPEED = 600.0
#: The day lasts 143 s at that speed; engines and services take some seconds before, most on Apache Kafka.
pytestmark = [pytest.mark.pipeline, pytest.mark.replay, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Day:
    """The system after the whole day went through it, the file, and riders who have watched since the morning."""

    system: System
    replay: Process
    fixes: list[Fix]
    places: list[Place]
    riders: list[Rider]


@pytest.fixture(scope="module", params=ENGINE_PAIRS)
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    fixes = read_trace(PORTO)
    stands = places(fold(fixes))
    with ExitStack() as stack:
        log_dir = tmp_path_factory.mktemp("folded-day")
        system = stack.enter_context(System(request.param, log_dir, lambda: replay_clock(fixes, SPEED)))
        riders = [stack.enter_context(system.rider(stand.lat, stand.lon, stand.rim_m)) for stand in stands]
        replay = system.begin("replay", "simulator", "replay", str(trace_path(PORTO)), "--speed", f"{SPEED:g}")
        assert replay.wait(600) == 0, replay.epitaph()
        system.await_folded(len(fixes))
        yield Day(system, replay, fixes, stands, riders)


def test_every_valid_ping_is_accepted(day: Day) -> None:
    counts = expected_counts(PORTO)
    assert counters.received(day.system.ingest) == counts["rows"]
    assert counters.rejected(day.system.ingest) == {}
    assert counters.accepted(day.system.ingest) == counts["valid_unique"]


def test_the_verdicts_add_up_to_what_the_collectors_counted(day: Day) -> None:
    counts, folded = expected_counts(PORTO), day.system.verdicts()
    assert folded == counters.folded(day.system.worker), "what is stored is what is published"
    assert folded.total() == counters.accepted(day.system.ingest)
    assert folded["impossible_jump"] == counts["teleports_gt_55mps_among_valid"] == 31
    assert folded["live"] == counts["valid_unique"] - 31
    assert (folded["duplicate"], folded["backfill"]) == (0, 0)


def test_the_final_index_equals_a_brute_force_fold_driver_for_driver_and_cell_for_cell(day: Day) -> None:
    index = day.system.index()
    assert index == fold(day.fixes)
    assert len(index) == expected_counts(PORTO)["drivers_with_valid"] == 819


@pytest.mark.parametrize("at", range(10))
def test_a_rider_sees_what_brute_force_sees_also_with_a_car_on_the_rim(day: Day, at: int) -> None:
    index, stand = fold(day.fixes), day.places[at]
    for radius_m in stand.radii_m():
        with day.system.rider(stand.lat, stand.lon, radius_m) as rider:
            rider.await_view(index, nearby(index, stand.lat, stand.lon, radius_m))
            assert (stand.rim_driver_id in rider.view) == (radius_m >= stand.rim_m)
            assert rider.faults == []


def test_riders_who_watched_all_day_end_with_the_same_view(day: Day) -> None:
    index = fold(day.fixes)
    for stand, rider in zip(day.places, day.riders, strict=True):
        rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m))
        assert (rider.connections, rider.snapshots) == (1, 1), "they learned it from updates alone"
        assert rider.updates > 0


def test_no_car_ever_moved_backwards_for_a_rider(day: Day) -> None:
    assert [rider.faults for rider in day.riders] == [[] for _ in day.riders]


def test_a_limit_keeps_the_nearest(day: Day) -> None:
    index, stand = fold(day.fixes), day.places[0]
    with day.system.rider(stand.lat, stand.lon, stand.rim_m, limit=5) as rider:
        rider.await_view(index, nearby(index, stand.lat, stand.lon, stand.rim_m)[:5])


def test_no_service_wrote_a_position_into_its_log(day: Day) -> None:
    assert_no_positions_in(day.system.logs(), {str(value) for fix in day.fixes for value in (fix.lat, fix.lon)})


def test_with_the_default_freshness_only_who_is_not_silent_stays(day: Day) -> None:
    """Last, because it starts stream and push again with other settings. The clock holds at the day's last fix."""
    end_ms = max(fix.fix_time_ms for fix in day.fixes)
    fresh = fold(day.fixes, now_ms=end_ms, gone_after_ms=120_000)
    assert 0 < len(fresh) < len(fold(day.fixes))
    day.system.restart_with(stale_after_ms=30_000, gone_after_ms=120_000)
    until(lambda: day.system.holds(fresh), 60, lambda: f"{len(day.system.index(settled=False))} cars, not {len(fresh)}")
    for shown in fresh.values():
        with day.system.rider(shown.lat, shown.lon, 1_000) as rider:
            rider.await_view(fresh, nearby(fresh, shown.lat, shown.lon, 1_000))
    assert verdicts(day.fixes).accepted == day.system.verdicts().total(), "a restart counts nothing twice"
