"""A rider's app watches its trip at the real push, drops out on the way, and misses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from infra.local.engines import Engine
from simulator.counts.findings import Findings
from simulator.dispatch.rides import ARRIVED_AT_PICKUP, COMPLETE, ENROUTE_TO_DROPOFF, ENROUTE_TO_PICKUP, STATES
from simulator.riders.faults import HALF_OPEN, RECONNECT, Mishap
from simulator.riders.trip_rider import LostRider, TripRider
from simulator.riders.trip_view import TripView
from tests.push.node import Node, start_redis, token
from tests.push.test_trip_stream import begin


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = start_redis(tmp_path_factory.mktemp("redis"))
    yield engine
    engine.process.stop()


@pytest.fixture(autouse=True)
def short_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app leaves sooner after the end, for nothing more comes here."""
    monkeypatch.setattr("simulator.riders.trip_rider.STAYS_S", 0.1)


async def until(holds: Callable[[], Any], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("what", [RECONNECT, HALF_OPEN])
async def test_a_rider_who_drops_out_on_the_way_goes_on_where_that_was(engine: Engine, what: str) -> None:
    # The rider's clock begins when it has its trip before it, however long that took.
    findings, began_s = Findings(), float("inf")
    async with Node(engine) as node:
        trip_id = f"t-{what}"
        driver = await begin(node, trip_id=trip_id)
        view = TripView(trip_id, findings)
        told: list[str] = []
        rider = TripRider(
            node.url,
            token,
            view,
            Random(1),
            lambda news, _: told.extend(event.state for event in news.events),
            [Mishap(400, what, 2_000)],
            lambda: round(max(0.0, time.monotonic() - began_s) * 1_000),
        )
        watching = asyncio.create_task(rider.run())
        await until(lambda: rider.connected and view.snapshots)
        began_s = time.monotonic()
        await driver.drive()
        await driver.move(ENROUTE_TO_PICKUP)
        await until(lambda: view.car is not None and rider.cut[what])
        for state in (ARRIVED_AT_PICKUP, ENROUTE_TO_DROPOFF):
            await driver.move(state)
            await driver.drive()
        await until(lambda: view.trip is not None and view.trip.state == ENROUTE_TO_DROPOFF)
        await driver.move(COMPLETE)
        await asyncio.wait_for(watching, 60)
    assert told == list(STATES), "each once, in order"
    assert (rider.connections, view.snapshots, view.replays) == (2, 1, 1)
    assert findings.counts.total() == 0, findings.first


async def test_somebody_elses_trip_is_no_trip_and_a_bad_token_no_way_in(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.riders.trip_rider.BACK_WITHIN_S", 0.0)
    async with Node(engine, snapshot_wait_s=0.1) as node:
        await begin(node, trip_id="t-theirs")
        for bearer, why in ((lambda: token("rider-2"), "unknown_trip"), (lambda: "no-token", "connection ended")):
            rider = TripRider(node.url, bearer, TripView("t-theirs", Findings()), Random(1), lambda *_: None)
            with pytest.raises(LostRider, match=why) as lost:
                await asyncio.wait_for(rider.run(), 60)
            assert "no-token" not in str(lost.value)
