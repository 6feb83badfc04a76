"""Redis goes away, comes back empty, or loses a message; riders' views come right by themselves."""

from __future__ import annotations

import asyncio

import pytest

from stream.channels import channel_of, region_of
from tests.push.city import MANHATTAN, towards
from tests.push.connection import RiderApp
from tests.push.node import Node, eventually, token


async def test_a_lost_delta_is_noticed_even_when_nothing_follows_it(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", MANHATTAN)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        # The channel is left behind the node's back: what is published now is lost, as pub/sub may do.
        real, lost = node.mirror.apply_delta, []

        def lose(region, delta):  # type: ignore[no-untyped-def]
            lost.append(region)
            return real(0, delta)

        node.mirror.apply_delta = lose  # type: ignore[method-assign]
        moved = await node.writer.put("a", towards(MANHATTAN, 0, 100))
        await eventually(lambda: region_of(moved.cell) in lost)
        node.mirror.apply_delta = real  # type: ignore[method-assign]
        await app.until(lambda: view.cars["a"]["lat"] == moved.lat)
        assert node.count("push_region_gaps_total") >= 1


async def test_a_gap_is_read_again(engine):
    async with Node(engine, check_s=60) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", MANHATTAN)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        # A change of the index that nobody published, then one that was.
        key = f"{{r:{region_of(node.writer.at['a'].cell):x}}}:meta"
        await node.writer.client.hincrby(key, "seq", 1)  # type: ignore[misc]
        moved = await node.writer.put("a", towards(MANHATTAN, 0, 100))
        await app.until(lambda: view.cars["a"]["lat"] == moved.lat)
        assert node.count("push_region_gaps_total") == 1


async def test_a_wiped_redis_takes_no_car_off_the_map_and_heals(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        places = {f"driver-{number}": towards(MANHATTAN, number * 30, 20 * number) for number in range(12)}
        await node.writer.put_all(places)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        await node.writer.client.flushall()
        await eventually(lambda: node.count("push_region_gaps_total") >= 1)
        await asyncio.sleep(0.3)
        assert len(view.cars) == 12
        del node.writer.at["driver-3"]  # nobody knows this one any more
        await node.writer.rewrite()
        moved = await node.writer.put("driver-0", towards(MANHATTAN, 5, 50))
        await app.until(lambda: view.cars["driver-0"]["lat"] == moved.lat)
        await app.until(lambda: "driver-3" not in view.cars)
        assert len(view.cars) == 11


async def test_redis_restarted_empty_is_found_again_and_riders_stay_connected(own_engine):
    async with Node(own_engine, snapshot_wait_s=0.5) as node, RiderApp(node.url, token()) as app:
        await node.writer.put_all({"a": MANHATTAN, "b": towards(MANHATTAN, 0, 100)})
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        await eventually(lambda: node.feed.away is None)
        own_engine.process.kill()
        await eventually(lambda: node.feed.away is not None)
        assert "Redis" in str(node.feed.away)
        assert len(view.cars) == 2  # what is known stays until its age says otherwise
        # A place whose regions cannot be read is not shown as empty at once, but neither is the rider left waiting.
        await app.subscribe("elsewhere", towards(MANHATTAN, 0, 20_000), radius_m=500)
        await asyncio.to_thread(own_engine.restart)
        await eventually(lambda: node.feed.away is None)
        await node.writer.client.connection_pool.disconnect()
        await node.writer.rewrite()
        moved = await node.writer.put("a", towards(MANHATTAN, 90, 60))
        await app.until(lambda: view.cars["a"]["lat"] == moved.lat)
        await node.writer.put("new", towards(MANHATTAN, 0, 20_000))
        await app.until(lambda: "new" in app.views["elsewhere"].cars)


async def test_cars_turn_stale_and_gone_while_redis_is_away(own_engine):
    async with (
        Node(own_engine, stale_after_ms=2_000, gone_after_ms=5_000) as node,
        RiderApp(node.url, token()) as app,
    ):
        await node.writer.put("a", MANHATTAN)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        own_engine.process.kill()
        await app.until(lambda: view.cars["a"]["freshness"] == "stale")
        await app.until(lambda: not view.cars)


async def test_a_hung_redis_is_noticed_and_survived(own_engine, monkeypatch):
    monkeypatch.setattr("push.feed.AWAY_AFTER_S", 0.5)
    import os
    import signal

    async with Node(own_engine, check_s=0.2) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", MANHATTAN)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        pid = own_engine.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(lambda: node.feed.away is not None)
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: node.feed.away is None)
        moved = await node.writer.put("a", towards(MANHATTAN, 0, 100))
        await app.until(lambda: view.cars["a"]["lat"] == moved.lat)


async def test_a_place_with_cars_is_never_shown_empty_first(engine, monkeypatch):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", MANHATTAN)
        real = node.feed._index.snapshot

        async def slowly(region):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0.5)
            return await real(region)

        monkeypatch.setattr(node.feed._index, "snapshot", slowly)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.seq == 1
        assert view.cars.keys() == {"a"}


async def test_a_region_nobody_looks_at_is_dropped_after_a_while(engine):
    async with Node(engine, unwatched_for_s=0.2) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", MANHATTAN)
        await app.subscribe("map", MANHATTAN, radius_m=500)
        region = region_of(node.writer.at["a"].cell)
        assert node.mirror.is_loaded(region)
        await app.say("unsubscribe", sub="map")
        await eventually(lambda: not node.mirror.is_loaded(region))
        async with asyncio.timeout(30):  # the mirror forgets it first, then Redis is told
            while (await node.writer.client.execute_command("PUBSUB", "SHARDNUMSUB", channel_of(region)))[1]:
                await asyncio.sleep(0.01)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.cars.keys() == {"a"}


@pytest.mark.parametrize("pause_s", [0.0, 0.4])
async def test_a_rider_who_comes_back_within_the_grace_finds_the_region_kept(engine, pause_s):
    async with Node(engine, unwatched_for_s=30) as node:
        await node.writer.put("a", MANHATTAN)
        async with RiderApp(node.url, token()) as app:
            await app.subscribe("map", MANHATTAN, radius_m=500)
        reads = node.count("push_region_reads_total")
        await asyncio.sleep(pause_s)
        async with RiderApp(node.url, token()) as app:
            view = await app.subscribe("map", MANHATTAN, radius_m=500)
            assert view.cars.keys() == {"a"}
        assert node.count("push_region_reads_total") == reads
