"""Trips while riders come and go and services end by kill -9: nobody misses an event, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.pipeline.engines import ENGINE_PAIRS
from tests.pipeline.polling import until
from tests.pipeline.system import System
from tests.pipeline.trip_town import Town, cuts_of
from tests.pipeline.trips import plan_of

pytestmark = [pytest.mark.pipeline, pytest.mark.chaos, pytest.mark.timeout(900)]

TRIPS, DISCONNECTS = 200, 20
#: Trips begin within this, and last 30 to 50 s.
BEGIN_WITHIN_S = 12.0
#: Riders leave about so often, so that they have left DISCONNECTS times when their trip is over.
LEAVE_EVERY_S = 1.4
#: Trips that go on while the stream worker and ingest are killed.
FEWER_TRIPS = 40
#: On a slow machine riders take longer to leave, and services to come back: trips wait for them with their end. One
#: trip of so many does not wait for kills, so that trips also end around a service that is dead.
LEFT_ON_THE_WAY = 14
KILLS = 4
FREE_TO_END = 3

Record = Callable[[str, object], None]


@pytest.fixture(scope="module", params=ENGINE_PAIRS)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(request.param, tmp_path_factory.mktemp("trips"), lambda: "wall") as system:
        yield system


def test_riders_who_are_cut_off_and_a_push_that_is_killed_miss_no_event(
    system: System, record_property: Record
) -> None:
    plans = [plan_of(number, "rider", BEGIN_WITHIN_S) for number in range(TRIPS)]
    cuts = partial(cuts_of, times=DISCONNECTS, every_s=LEAVE_EVERY_S)
    with Town(system, plans, cuts, lambda town, trip_id: town.riders[trip_id].left >= LEFT_ON_THE_WAY) as town:
        under_way = []
        # Twice; and again where riders take so long to connect that few of them were.
        for share in (0.3, 0.6, 0.7, 0.8, 0.9):
            if len(under_way) > 1 and town.cut_offs > TRIPS / 2:
                break
            until(lambda share=share: town.left >= share * TRIPS * DISCONNECTS, 240, lambda: f"{town.left} left")
            under_way.append(town.under_way)
            system.push.kill()
            system.push.start()
            system.push.wait_ready()
        town.await_the_end(within_s=240)
        for name, value in {**town.figures(), "under_way_when_killed": under_way}.items():
            record_property(name, value)
        town.reckon()
        assert under_way[0] > 0.9 * TRIPS
        assert town.left == TRIPS * DISCONNECTS
        riders = town.riders.values()
        assert town.cut_offs > TRIPS / 2, "push was killed while many were connected"
        assert sum(rider.left_on_the_way for rider in riders) > TRIPS * DISCONNECTS / 2
        # One snapshot when the trip was new; whoever knows a part of the log is told the rest of it.
        assert all(rider.snapshots == 1 for rider in riders)


def test_trips_go_on_when_the_worker_and_ingest_are_killed(system: System, record_property: Record) -> None:
    plans = [plan_of(number, "worker", BEGIN_WITHIN_S) for number in range(FEWER_TRIPS)]
    under_way: list[int] = []
    free = {plan.trip_id for plan in plans[::FREE_TO_END]}
    cuts = partial(cuts_of, times=2, every_s=10.0)
    with Town(system, plans, cuts, lambda town, trip_id: trip_id in free or len(under_way) == KILLS) as town:
        for share, service in ((0.25, system.worker), (0.4, system.ingest), (0.6, system.worker), (0.7, system.ingest)):
            until(lambda share=share: town.said >= share * town.to_say, 180, lambda: f"{town.said} of {town.to_say}")
            under_way.append(town.under_way)
            service.kill()
            service.start()
            service.wait_ready()
        town.await_the_end(within_s=240)
        for name, value in {**town.figures(), "under_way_when_killed": under_way}.items():
            record_property(name, value)
        assert min(under_way) > FEWER_TRIPS / 4
        assert town.dispatcher.unanswered + town.dispatcher.unavailable.total() > 0, (
            "ingest was killed while it was needed"
        )
        town.reckon()
