"""Riders over real sockets watch the trips that are written into a real Redis, and nobody else's."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis.asyncio
from msgspec.structs import replace

from ingest.trips import (
    APPROACHING,
    ARRIVED_AT_PICKUP,
    COMPLETE,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    Trip,
    TripEvent,
)
from push.protocol import FORBIDDEN, SHARE_ENDED, SLOW_CONSUMER
from stream.trip_channels import TripCar, TripWrite
from stream.trip_index import TripIndex
from tests.push.city import MANHATTAN
from tests.push.connection import RiderApp
from tests.push.node import Node, eventually, token
from tests.push.trip_model import moved, new_trip, reassigned, trip_car


class Driver:
    """Writes one trip as the stream job does."""

    def __init__(self, node: Node, trip: Trip | None = None, kept_events: int = 1_000) -> None:
        self.index, self.trip = TripIndex(node.writer.client, kept_events), trip or new_trip()

    async def write(self, trip: Trip | None = None, **more: object) -> None:
        self.trip = trip or self.trip
        await self.index.apply([TripWrite(self.trip, trip is not None, events=self.trip.history, **more)])  # type: ignore[arg-type]

    async def drive(self, ago_ms: int = 0, **more: object) -> TripCar:
        car = trip_car(self.trip, time.time_ns() // 1_000_000 - ago_ms, **more)  # type: ignore[arg-type]
        await self.write(car=car)
        return car

    async def move(self, state: str) -> None:
        await self.write(moved(self.trip, state))

    async def find(self, number: int) -> None:
        event = TripEvent(f"found:{number}", APPROACHING, number, self.trip.state, self.trip.driver_id, 1)
        await self.index.apply([TripWrite(self.trip, False, events=[event])])


async def begin(node: Node, **more: object) -> Driver:
    driver = Driver(node, new_trip(**more))  # type: ignore[arg-type]
    await driver.write(driver.trip)
    return driver


async def test_a_rider_watches_its_trip_from_the_first_event_to_the_last(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as rider:
        driver = await begin(node)
        app = await rider.watch("t-1")
        assert (app.modes, app.freshness, app.offset) == (["snapshot"], "none", 1)
        assert app.trip["pickup"]["name"] == "Home, 2nd floor"
        car = await driver.drive()
        await rider.until(lambda: app.car and app.car["fix_time_ms"] == car.fix_time_ms)
        assert app.transitions == ["live"]
        await driver.move(ENROUTE_TO_PICKUP)
        await rider.until(lambda: app.trip["state"] == ENROUTE_TO_PICKUP)
        await driver.write(reassigned(driver.trip, "d-2"))
        await rider.until(lambda: app.freshness == "none")
        await driver.drive()
        await rider.until(lambda: app.car and app.car["driver_id"] == "d-2")
        await driver.move(COMPLETE)
        await rider.until(lambda: app.freshness == "none")
        assert [event["event_id"] for event in app.events] == ["v1", "v2", "v3", "v4"]
        assert app.transitions == ["live", "none", "live", "none"]
        await rider.say("unsubscribe", sub="trip")
        await rider.told("unsubscribed")
        assert node.count("ws_trip_subscriptions") == 0
        assert node.count("ws_trip_events_sent_total") == 4


async def test_a_rider_who_was_away_gets_what_it_missed_and_all_of_it_when_that_is_trimmed(engine):
    async with Node(engine) as node:
        driver = Driver(node, kept_events=5)
        await driver.write(driver.trip)
        async with RiderApp(node.url, token()) as rider:
            app = await rider.watch("t-1")
        for number in range(3):
            await driver.find(number)
        async with RiderApp(node.url, token()) as rider:
            await rider.watch("t-1", app)
            assert (app.modes[-1], app.offset, len(app.events)) == ("replay", 4, 4)
    async with redis.asyncio.Redis.from_url(node.settings.redis) as client:
        driver.index = TripIndex(client, kept_events=5)
        for number in range(3, 12):
            await driver.find(number)
    async with Node(engine) as restarted, RiderApp(restarted.url, token()) as rider:
        await rider.watch("t-1", app)
        assert app.modes[-1] == "snapshot"
        assert [event["offset"] for event in app.events] == [9, 10, 11, 12, 13]
        assert restarted.count("ws_resumes_total", mode="snapshot") == 1
    assert node.count("ws_resumes_total", mode="replay") == 1


async def test_every_event_arrives_once_over_restarts_of_push_and_broken_connections(engine):
    app, driver = None, None
    for round_ in range(4):
        async with Node(engine) as node:
            driver = await begin(node) if driver is None else Driver(node, driver.trip)
            for cut in range(3):
                async with RiderApp(node.url, token()) as rider:
                    app = await rider.watch("t-1", app)
                    writing = asyncio.create_task(driver.find(100 * round_ + cut))
                    await driver.drive()
                    await writing
                    rider.socket.transport.abort()
    async with Node(engine) as node, RiderApp(node.url, token()) as rider:
        await rider.watch("t-1", app)
        assert app is not None
        assert [event["event_id"] for event in app.events][1:] == [
            f"found:{100 * round_ + cut}" for round_ in range(4) for cut in range(3)
        ]
        assert set(app.modes[1:]) == {"replay"}


@pytest.mark.parametrize("exists", [True, False])
async def test_another_s_trip_and_an_unknown_one_are_answered_alike_and_after_the_same_wait(engine, exists):
    async with Node(engine, snapshot_wait_s=0.4) as node, RiderApp(node.url, token("mallory")) as rider:
        driver = await begin(node)
        asked_s = time.monotonic()
        await rider.say("subscribe", id="7", channel="trip", sub="x", trip_id="t-1" if exists else "t-2")
        await rider.told("subscribed", sub="x")
        while not any(each["type"] == "error" for each in rider.heard):
            await driver.drive()  # what happens to the trip does not show
            await asyncio.sleep(0.01)
        assert time.monotonic() - asked_s > 0.3
        assert rider.heard[-1] == {
            "type": "error",
            "sub": "x",
            "code": "unknown_trip",
            "detail": "there is no such trip, or it is not yours to watch",
        }
        await rider.say("unsubscribe", sub="x")
        assert (await rider.told("error", code="unknown_sub"))["sub"] == "x"
        assert not any(each["type"].startswith("trip_") for each in rider.heard)


async def test_a_trip_that_is_made_a_moment_later_is_waited_for(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as rider:
        watching = asyncio.create_task(rider.watch("t-1"))
        await rider.told("subscribed")
        await eventually(lambda: node.trips.is_loaded("t-1"))
        await begin(node)
        app = await watching
        assert app.offset == 1


async def test_dispatch_watches_any_trip(engine):
    async with Node(engine) as node, RiderApp(node.url, token("desk", "dispatch")) as desk:
        await begin(node, rider_id="somebody")
        app = await desk.watch("t-1")
        assert app.trip["rider_id"] == "somebody"
        await node.writer.put("a", MANHATTAN)
        assert (await desk.subscribe("map", MANHATTAN, radius_m=500)).cars


async def test_a_renewed_token_may_not_do_less(engine):
    async with Node(engine) as node, RiderApp(node.url, token("desk", "rider dispatch")) as desk:
        await desk.told("welcome")
        await desk.say("auth", token=token("desk", "rider"))
        assert (await desk.until_closed())[0] == FORBIDDEN


async def test_a_silent_driver_is_told_by_the_server_itself_once_each(engine):
    async with (
        Node(engine, trip_stale_after_ms=2_000, trip_lost_after_ms=5_000) as node,
        RiderApp(node.url, token()) as rider,
    ):
        driver = await begin(node)
        app = await rider.watch("t-1")
        await driver.drive()
        await rider.until(lambda: app.freshness == "lost")
        await driver.drive()
        await rider.until(lambda: app.freshness == "live")
        assert app.transitions == ["live", "stale", "lost", "live"]
        ages = [each["age_ms"] for each in rider.heard if each["type"] == "trip_freshness"]
        assert 2_000 <= ages[1] < 5_000 <= ages[2]


async def test_freshness_goes_on_while_redis_is_away_and_nobody_is_told_that_the_trip_is_unknown(own_engine):
    async with (
        Node(own_engine, trip_stale_after_ms=2_000, trip_lost_after_ms=4_000, snapshot_wait_s=1.0) as node,
        RiderApp(node.url, token()) as rider,
    ):
        driver = await begin(node)
        app = await rider.watch("t-1")
        await driver.drive()
        await rider.until(lambda: app.freshness == "live")
        own_engine.process.kill()
        await rider.until(lambda: app.freshness == "lost")
        await rider.say("subscribe", channel="trip", sub="again", trip_id="t-9")
        await rider.told("subscribed", sub="again")
        await asyncio.sleep(1.5)
        assert not any(each["type"] == "error" for each in rider.heard)
        await asyncio.to_thread(own_engine.restart)
        await rider.told("error", code="unknown_trip")
        # The worker finds that Redis has lost the trip, and writes all of it.
        await node.writer.client.connection_pool.disconnect()
        await driver.move(ENROUTE_TO_PICKUP)
        await rider.until(lambda: app.trip["state"] == ENROUTE_TO_PICKUP)
        assert app.modes == ["snapshot", "snapshot"]
        assert [event["event_id"] for event in app.events] == ["v1", "v2"]


async def test_a_lost_change_is_noticed_even_when_nothing_follows_it(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as rider:
        driver = await begin(node)
        app = await rider.watch("t-1")
        real, lost = node.trips.apply_delta, []

        def lose(trip_id, delta):  # type: ignore[no-untyped-def]
            lost.append(trip_id)
            return real("", delta)

        node.trips.apply_delta = lose  # type: ignore[method-assign]
        await driver.move(ENROUTE_TO_PICKUP)
        await eventually(lambda: "t-1" in lost)
        node.trips.apply_delta = real  # type: ignore[method-assign]
        await rider.until(lambda: app.version == 2)
        assert app.modes == ["snapshot"]
        assert node.count("push_trip_gaps_total") >= 1


async def link(node: Node, trip_id: str = "t-1", lifetime_s: int = 600) -> tuple[str, str]:
    share = await node.shares.create(trip_id, lifetime_s, time.time())
    assert share is not None
    return share.share_id, share.token


async def test_a_link_shows_its_trip_without_the_rider_and_ends_with_it(engine):
    async with Node(engine) as node:
        driver = await begin(node)
        async with RiderApp(node.url, (await link(node))[1]) as viewer:
            app = await viewer.watch("t-1")
            assert app.trip["pickup"] == {"lat": 40.7549, "lon": -73.984}
            await driver.drive(leg="pickup")
            await driver.move(ARRIVED_AT_PICKUP)
            await driver.move(ENROUTE_TO_DROPOFF)
            await viewer.until(lambda: app.trip["state"] == ENROUTE_TO_DROPOFF)
            assert app.trip.keys().isdisjoint({"pickup", "approach", "rider_id"})
            await driver.move(COMPLETE)
            assert (await viewer.until_closed())[0] == SHARE_ENDED
            assert app.ended == "trip_over"
            assert app.events[-1]["state"] == COMPLETE
            assert not any("name" in str(each) or "rider-1" in str(each) for each in viewer.heard)
        async with RiderApp(node.url, viewer.token) as late:
            await late.watch("t-1")
            assert (await late.until_closed())[0] == SHARE_ENDED
            assert [each["type"] for each in late.heard] == ["welcome", "subscribed", "trip_ended"]


async def test_a_link_shows_no_other_trip_and_no_cars(engine):
    async with Node(engine, snapshot_wait_s=0.2) as node:
        await begin(node)
        await begin(node, trip_id="t-2")
        async with RiderApp(node.url, (await link(node))[1]) as viewer:
            await viewer.say("subscribe", channel="trip", sub="other", trip_id="t-2")
            await viewer.told("error", code="unknown_trip")
            await viewer.say("subscribe", sub="map", lat=40.7, lon=-74.0, radius_m=500)
            await viewer.told("error", code="not_allowed")


async def test_a_revoked_link_ends_while_it_is_watched_and_one_that_is_unknown_never_begins(engine, monkeypatch):
    monkeypatch.setattr("push.share_guard.CHECK_S", 0.2)
    async with Node(engine) as node:
        await begin(node)
        share_id, share_token = await link(node)
        async with RiderApp(node.url, share_token) as viewer, RiderApp(node.url, (await link(node))[1]) as other:
            app, still = await viewer.watch("t-1"), await other.watch("t-1")
            await node.shares.revoke("t-1", share_id)
            assert (await viewer.until_closed())[0] == SHARE_ENDED
            assert app.ended == "revoked"
            assert not still.ended
            assert other.closed is None
        async with RiderApp(node.url, share_token) as viewer:
            await viewer.watch("t-1")
            assert (await viewer.until_closed())[0] == SHARE_ENDED
            assert not any(each["type"] == "trip_snapshot" for each in viewer.heard)


async def test_a_link_that_expires_while_it_is_watched_ends(engine, monkeypatch):
    monkeypatch.setattr("push.share_guard.CHECK_S", 0.2)
    async with Node(engine) as node:
        await begin(node)
        async with RiderApp(node.url, (await link(node, lifetime_s=3))[1]) as viewer:
            app = await viewer.watch("t-1")
            assert (await viewer.until_closed())[0] == SHARE_ENDED
            assert app.ended == "expired"


async def test_a_rider_who_stops_reading_is_closed_with_where_it_can_go_on(engine):
    async with (
        Node(engine, stalled_after_s=0.5, heartbeat_s=0.2, no_pong_after_s=0.3) as node,
        RiderApp(node.url, token()) as rider,
    ):
        driver = await begin(node)
        app = await rider.watch("t-1")
        rider.stop_reading()
        while not node.count("ws_disconnects_total", code=str(SLOW_CONSUMER)):
            await driver.drive(ago_ms=0)
            await asyncio.sleep(0.005)
        assert node.count("ws_ladder_steps_total", step="close") == 1
        rider.resume_reading()
        code, reason = await rider.until_closed()
        assert code in (SLOW_CONSUMER, 1006)
        if code == SLOW_CONSUMER:
            assert reason == f"slow consumer: resume {app.epoch}/{app.offset}"


async def test_unsubscribed_trips_are_dropped_and_unknown_ones_at_once(engine):
    async with Node(engine, unwatched_for_s=30, snapshot_wait_s=2.0) as node, RiderApp(node.url, token()) as rider:
        await begin(node)
        await rider.watch("t-1")
        await rider.say("subscribe", channel="trip", sub="x", trip_id="nobody-s")
        await rider.told("error", code="unknown_trip")
        await eventually(lambda: node.trips.copy_of("nobody-s") is None)
        await rider.say("unsubscribe", sub="trip")
        await rider.told("unsubscribed")
        await asyncio.sleep(0.4)
        assert node.trips.copy_of("t-1") is not None


async def test_a_trip_with_waypoints_and_route_is_told_whole(engine):
    async with Node(engine) as node, RiderApp(node.url, token()) as rider:
        trip = replace(new_trip(), route="_p~iF~ps|U_ulLnnqC", approach="_p~iF~ps|U")
        driver = Driver(node, trip)
        await driver.write(trip)
        await driver.drive(remaining_m=1_234.56, eta_s=99.99, route_m=12.0, distance_m=77.0)
        app = await rider.watch("t-1")
        assert (app.trip["route"], app.trip["approach"]) == (trip.route, trip.approach)
        snapshot = await rider.told("trip_snapshot")
        assert snapshot["progress"]["remaining_m"] == 1_234.6
        assert snapshot["progress"]["eta_ms"] == snapshot["car"]["fix_time_ms"] + 99_990
