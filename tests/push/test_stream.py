"""Riders over real sockets see the cars that are written into a real index."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.push.city import MANHATTAN, towards
from tests.push.connection import RiderApp
from tests.push.node import Node, eventually, token

FAR = towards(MANHATTAN, 45, 12_000)


async def test_a_rider_gets_a_snapshot_then_what_enters_moves_and_leaves(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", towards(MANHATTAN, 0, 100))
        await node.writer.put("far", FAR)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.cars.keys() == {"a"}
        await node.writer.put("b", towards(MANHATTAN, 90, 200))
        await app.until(lambda: "b" in view.cars)
        moved = await node.writer.put("a", towards(MANHATTAN, 180, 300))
        await app.until(lambda: view.cars["a"]["lat"] == moved.lat)
        await node.writer.put("b", FAR)  # to another region
        await app.until(lambda: "b" not in view.cars)
        await node.writer.remove("a")
        await app.until(lambda: not view.cars)
        await node.writer.put("b", towards(MANHATTAN, 90, 200))
        await app.until(lambda: "b" in view.cars)


async def test_positions_carry_their_age_and_freshness(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("a", MANHATTAN, ago_ms=5_000, vehicle_type="TAXI")
        await node.writer.put("old", MANHATTAN, ago_ms=60_000)
        await node.writer.put("gone", MANHATTAN, ago_ms=130_000)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.cars.keys() == {"a", "old"}
        assert 5_000 <= view.cars["a"]["age_ms"] < 15_000
        assert (view.cars["a"]["freshness"], view.cars["old"]["freshness"]) == ("live", "stale")
        assert view.cars["a"]["vehicle_type"] == "TAXI"
        assert "speed_mps" not in view.cars["a"]


async def test_silent_cars_turn_stale_and_leave_without_any_news(engine):
    async with (
        Node(engine, stale_after_ms=2_000, gone_after_ms=5_000) as node,
        RiderApp(node.url, token()) as app,
    ):
        await node.writer.put("a", MANHATTAN)
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.cars["a"]["freshness"] == "live"
        await app.until(lambda: view.cars["a"]["freshness"] == "stale")
        await app.until(lambda: not view.cars)
        assert view.seq == 3


async def test_a_rider_recenters_without_a_new_snapshot(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        there = towards(MANHATTAN, 0, 800)
        await node.writer.put_all({"here": MANHATTAN, "between": towards(MANHATTAN, 0, 400), "there": there})
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.cars.keys() == {"here", "between"}
        await app.say("recenter", id="7", sub="map", lat=there[0], lon=there[1])
        await app.told("recentered", id="7")
        await app.until(lambda: view.cars.keys() == {"between", "there"})
        assert view.seq == 2
        await app.say("recenter", id="8", sub="map", lat=FAR[0], lon=FAR[1], radius_m=100)
        await app.until(lambda: not view.cars)
        await node.writer.put("new", FAR)
        await app.until(lambda: view.cars.keys() == {"new"})
        assert [each["type"] for each in app.heard].count("snapshot") == 1


async def test_several_subscriptions_of_one_connection_do_not_mix(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put("car", MANHATTAN, vehicle_type="TAXI")
        await node.writer.put("bike", towards(MANHATTAN, 10, 50), vehicle_type="BICYCLE")
        await node.writer.put("far", FAR)
        near = await app.subscribe("near", MANHATTAN, rings=2)
        bikes = await app.subscribe("bikes", MANHATTAN, radius_m=1_000, vehicle_types=["BICYCLE"])
        nearest = await app.subscribe("nearest", MANHATTAN, radius_m=1_000, limit=1)
        there = await app.subscribe("there", FAR, radius_m=1_000)
        assert [set(view.cars) for view in (near, bikes, nearest, there)] == [
            {"car", "bike"},
            {"bike"},
            {"car"},
            {"far"},
        ]
        await app.say("unsubscribe", id="1", sub="near")
        await app.told("unsubscribed", id="1")
        await node.writer.put("bike", towards(MANHATTAN, 10, 60), vehicle_type="BICYCLE")
        await app.until(lambda: bikes.seq == 2)
        assert near.seq == 1
        await node.writer.remove("car")
        await app.until(lambda: set(nearest.cars) == {"bike"})
        again = await app.subscribe("near", MANHATTAN, rings=2)
        assert set(again.cars) == {"bike"}


async def test_a_rider_who_comes_first_is_told_when_the_first_car_comes(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        assert view.cars == {}
        await node.writer.put("a", MANHATTAN)
        await app.until(lambda: "a" in view.cars)


async def test_many_riders_who_watch_one_place_all_see_the_same(engine):
    async with Node(engine) as node:
        apps = [RiderApp(node.url, token(f"rider-{number}")) for number in range(20)]
        for app in apps:
            await app.__aenter__()
        try:
            views = [await app.subscribe("map", MANHATTAN, radius_m=500) for app in apps]
            places = {f"driver-{number}": towards(MANHATTAN, number * 9, 10 * number) for number in range(40)}
            await node.writer.put_all(places)
            for app, view in zip(apps, views, strict=True):
                await app.until(lambda view=view: len(view.cars) == 40)
            assert node.count("push_standing_queries") <= 1
        finally:
            for app in apps:
                await app.__aexit__(None, None, None)
        await eventually(lambda: node.count("ws_connections") == 0 and node.count("ws_subscriptions") == 0)


async def test_what_is_sent_is_counted(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put_all({"a": MANHATTAN, "b": MANHATTAN})
        view = await app.subscribe("map", MANHATTAN, radius_m=500)
        await node.writer.put("a", MANHATTAN)
        await app.until(lambda: view.seq == 2)
        await eventually(lambda: node.count("ws_positions_sent_total") == 3)
        assert node.count("ws_messages_sent_total", type="snapshot") == 1
        assert node.count("ws_messages_sent_total", type="update") == 1
        assert node.count("ride_ping_age_seconds_count", stage="pushed") == 1
        assert node.count("ws_connections") == 1


async def test_a_ping_is_answered_with_the_servers_time(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await app.say("ping", id="p")
        pong = await app.told("pong", id="p")
        assert abs(pong["server_time_ms"] - time.time() * 1_000) < 5_000


async def test_a_quiet_connection_gets_heartbeats(engine):
    async with Node(engine, heartbeat_s=0.1) as node, RiderApp(node.url, token()) as app:
        await app.until(lambda: sum(each["type"] == "heartbeat" for each in app.heard) >= 3)


@pytest.mark.parametrize("radius_m", [300.0, 900.0])
async def test_the_view_over_the_wire_is_brute_force(engine, radius_m):
    from tests.push.index import brute_force

    async with Node(engine) as node, RiderApp(node.url, token()) as app:
        await node.writer.put_all(
            {f"driver-{n}": towards(MANHATTAN, n * 7.3, radius_m * (0.9999 if n % 2 else 1.0001)) for n in range(40)}
        )
        view = await app.subscribe("map", MANHATTAN, radius_m=radius_m, limit=30)
        for round_ in range(5):
            await node.writer.put_all(
                {f"driver-{n}": towards(MANHATTAN, n * 11.7, radius_m * (n + round_) / 22) for n in range(0, 40, 3)}
            )
        expected = brute_force(
            list(node.writer.at.values()), time.time_ns() // 1_000_000, 120_000, MANHATTAN, radius_m, 30
        )
        await app.until(
            lambda: (
                {name: each["lat"] for name, each in view.cars.items()}
                == {name: each.lat for name, each in expected.items()}
            )
        )
        await asyncio.sleep(0)
