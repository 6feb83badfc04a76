"""Who may watch what over a WebSocket: bad tokens, others' trips, and share links that end."""

from __future__ import annotations

import time

import pytest
from websockets.exceptions import InvalidHandshake

from infra.local.engines import Engine
from ingest.trips import Trip
from push.shares import Share
from stream.trip_channels import TripCar, TripWrite
from stream.trip_index import TripIndex
from tests.push.bad_tokens import BAD_TOKENS, signed
from tests.push.city import MANHATTAN
from tests.push.connection import RiderApp
from tests.push.node import Node, token
from tests.push.read_api import trip_of

BAD_TOKEN, FORBIDDEN, SHARE_ENDED = 4500, 4503, 4506


async def put(node: Node, trip: Trip) -> None:
    now_ms = time.time_ns() // 1_000_000
    car = None if trip.ended else TripCar(1, trip.driver_id, now_ms, *MANHATTAN, now_ms)
    await TripIndex(node.writer.client).apply([TripWrite(trip, True, car, trip.ended, trip.history)])


async def share(node: Node, trip_id: str = "t-1", lifetime_s: int = 600) -> Share:
    made = await node.shares.create(trip_id, lifetime_s, time.time())
    assert made is not None
    return made


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_bad_token_opens_nothing_however_it_is_sent(engine: Engine) -> None:
    async with Node(engine) as node:
        await put(node, trip_of())
        for kind, make in BAD_TOKENS.items():
            for auth in ("header", "message"):
                async with RiderApp(node.url, make(time.time()), auth) as app:
                    assert (await app.until_closed())[0] == BAD_TOKEN, (kind, auth)
                    assert app.heard == []
        with pytest.raises(InvalidHandshake):  # an address is logged: it is no place for a token
            async with RiderApp(f"{node.url}?token={signed(time.time())}"):
                pass
        async with RiderApp(node.url, signed(time.time())) as app:
            await app.told("welcome")


async def test_a_rider_cannot_tell_anothers_trip_from_none(engine: Engine) -> None:
    async with Node(engine, snapshot_wait_s=2.0) as node:
        await put(node, trip_of())
        async with RiderApp(node.url, token("rider-2")) as app:
            await app.say("subscribe", channel="trip", sub="a", trip_id="t-1")
            await app.say("subscribe", channel="trip", sub="b", trip_id="t-9")
            other, none = await app.told("error", sub="a"), await app.told("error", sub="b")
            assert {**other, "sub": ""} == {**none, "sub": ""}
            assert not [message for message in app.heard if message["type"].startswith("trip_")]
        for subject, scopes in (("rider-1", "rider"), ("ops", "dispatch")):
            async with RiderApp(node.url, token(subject, scopes)) as app:
                await app.say("subscribe", channel="trip", sub="a", trip_id="t-1")
                assert (await app.told("trip_snapshot", sub="a"))["trip"]["rider_id"] == "rider-1"


async def test_a_drivers_token_watches_nothing(engine: Engine) -> None:
    async with Node(engine) as node, RiderApp(node.url, token("d-1", "driver")) as app:
        assert (await app.until_closed())[0] == FORBIDDEN


async def test_the_holder_of_a_link_watches_its_one_trip_and_nothing_else(engine: Engine) -> None:
    async with Node(engine, snapshot_wait_s=2.0) as node:
        await put(node, trip_of())
        await put(node, trip_of("t-2"))
        async with RiderApp(node.url, (await share(node)).token) as app:
            await app.say("subscribe", channel="trip", sub="a", trip_id="t-1")
            shown = await app.told("trip_snapshot", sub="a")
            assert "rider_id" not in shown["trip"]
            assert "Home Street" not in str(shown)
            await app.say("subscribe", channel="trip", sub="b", trip_id="t-2")
            await app.told("error", sub="b", code="unknown_trip")
            await app.say("subscribe", sub="c", lat=MANHATTAN[0], lon=MANHATTAN[1], radius_m=100)
            await app.told("error", sub="c")


@pytest.mark.parametrize("ending", ["revoked", "ended", "expired", "redis lost"])
async def test_a_link_that_ends_ends_the_watching(engine: Engine, ending: str) -> None:
    async with Node(engine) as node:
        await put(node, trip_of())
        made = await share(node, lifetime_s=5 if ending == "expired" else 600)
        async with RiderApp(node.url, made.token) as app:
            await app.say("subscribe", channel="trip", sub="a", trip_id="t-1")
            await app.told("trip_snapshot", sub="a")
            if ending == "revoked":
                await node.shares.revoke("t-1", made.share_id)
            elif ending == "ended":
                await put(node, trip_of(state="COMPLETE"))
            elif ending == "redis lost":
                await node.writer.client.flushall()
            assert (await app.until_closed())[0] == SHARE_ENDED
            last = app.heard[-1]
            assert last["type"] == "trip_ended"
            assert not {"car", "trip", "events"} & set(last)
        if ending in ("revoked", "redis lost"):
            await put(node, trip_of())
            async with RiderApp(node.url, made.token) as app:
                await app.say("subscribe", channel="trip", sub="a", trip_id="t-1")
                assert (await app.until_closed())[0] == SHARE_ENDED
                assert not [message for message in app.heard if "car" in message or "trip" in message]
