"""A rider with a trip and a full map behind a slow network: no event is lost, and what it is shown is young."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from push.ladder import FIRST_WINDOW_BYTES, MIN_WINDOW_BYTES, PART_BYTES
from push.outbox import MAX_WAITING_PACED
from tests.push.city import MANHATTAN, towards
from tests.push.connection import RiderApp
from tests.push.node import Node, eventually, token
from tests.push.test_slow_rider import rider_of
from tests.push.test_trip_stream import begin
from tests.push.throttle import Throttle


def city(round_: int) -> dict[str, tuple[float, float]]:
    return {f"driver-{n:04}": towards(MANHATTAN, n * 7, 20 + (round_ * 11 + n * 3) % 900) for n in range(500)}


async def ride(node: Node, bytes_per_s: float, lasts_s: float, with_map: bool = True) -> dict[str, Any]:
    """A trip of `lasts_s` with an event and some fixes a second, and 500 cars that all move twice a second."""
    driver = await begin(node)
    await node.writer.put_all(city(0))
    port = int(node.url.rsplit(":", 1)[1].split("/")[0])
    async with (
        Throttle(port, bytes_per_s) as way,
        RiderApp(f"ws://127.0.0.1:{way.port}/v1/stream", token()) as app,
    ):
        trip = await app.watch("t-1")
        if with_map:
            await app.subscribe("map", MANHATTAN, radius_m=1_000)
        rider = rider_of(node.server, "rider-1")
        ages: list[float] = []
        most = {"on its way": 0, "buffered": 0, "owed": 0}
        began_s, round_, heard = time.monotonic(), 0, 0
        while time.monotonic() - began_s < lasts_s:
            round_ += 1
            await driver.drive()
            if with_map:
                await node.writer.put_all(city(round_))
            if round_ % 2:
                await driver.find(round_)
            for _ in range(10):
                await asyncio.sleep(0.05)
                assert rider.ladder is not None
                most["on its way"] = max(most["on its way"], rider.ladder.on_its_way(rider._written))
                most["buffered"] = max(most["buffered"], rider.buffered())
                most["owed"] = max(most["owed"], sum(map(len, rider.outboxes.values())))
                cars = [message["car"] for message in app.heard[heard:] if message["type"] == "trip_position"]
                ages += [time.time() - car["fix_time_ms"] / 1_000 for car in cars]
                heard = len(app.heard)
        await app.until(lambda: trip.offset == 1 + (round_ + 1) // 2, 90)
        assert [event["event_id"] for event in trip.events] == ["v1", *(f"found:{n}" for n in range(1, round_ + 1, 2))]
        return {"ages": ages, "most": most, "app": app}


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_at_4_kib_a_second_with_500_cars_no_event_is_lost_and_little_is_on_its_way(engine):
    async with Node(engine) as node:
        told = await ride(node, 4_096, 6.0)
        most = told["most"]
        # The first round trip's worth, one part of the map, one position, and the trip's events, which do not wait.
        assert most["on its way"] <= FIRST_WINDOW_BYTES + PART_BYTES + MIN_WINDOW_BYTES
        assert most["buffered"] <= node.settings.write_limit_bytes + PART_BYTES
        assert most["owed"] <= MAX_WAITING_PACED
        assert told["ages"]
        # A position is as old as what is on the way in front of it: seconds, where it could be minutes.
        assert max(told["ages"]) < most["on its way"] / 4_096 + 5.0


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_a_rider_too_slow_for_a_map_keeps_its_trip(engine):
    async with Node(
        engine, slow_target_ms=300, slow_after_s=0.5, slow_drop_map_after_s=0.8, slow_interval_ms=300
    ) as node:
        told = await ride(node, 2_500, 5.0)
        app = told["app"]
        dropped = await app.told("dropped")
        assert dropped == {"type": "dropped", "sub": "map", "reason": "slow"}
        assert node.count("ws_ladder_steps_total", step="trip") >= 1
        at = app.heard.index(dropped)
        assert any(each["type"] == "trip_position" for each in app.heard[at:])
        assert not any(each["type"] in ("snapshot", "update") for each in app.heard[at + 1 :])


async def test_a_fast_rider_with_a_trip_gets_the_whole_map_at_once(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await begin(node)
        await node.writer.put_all(city(0))
        await app.watch("t-1")
        view = await app.subscribe("map", MANHATTAN, radius_m=1_000)
        await app.until(lambda: len(view.cars) == 500)
        first = next(each for each in app.heard if each["type"] == "snapshot")
        assert 0 < len(first["cars"]) < 50
        moved = await node.writer.put("driver-0499", towards(MANHATTAN, 10, 400))
        await app.until(lambda: view.cars["driver-0499"]["lat"] == moved.lat)
        await app.say("unsubscribe", sub="trip")
        await eventually(lambda: rider_of(node.server, "rider-1").ladder is None)
