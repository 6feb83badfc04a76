"""A rider keeps what the wire promises, and notices every promise that is broken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from simulator.riders.rider import Refused, Rider, RiderGone
from tests.simulator.fake_push import NOW_MS, fake_push, say


@pytest.mark.parametrize("auth", ["header", "message", "subprotocol"])
async def test_a_rider_authenticates_each_way_the_wire_allows(auth: Any) -> None:
    async with fake_push() as push, Rider(push.url, "tok.en-1_2", auth) as rider:
        assert rider.welcome is not None
        assert rider.welcome.heartbeat_ms == 5_000
    assert push.tokens == ["tok.en-1_2"]
    assert "tok.en" not in push.url


async def test_a_rider_subscribes_recentres_and_leaves() -> None:
    async with fake_push() as push, Rider(push.url, "t") as rider:
        view = await rider.subscribe("map", 40.0, -73.0, radius_m=500, vehicle_types=["TAXI"])
        assert list(view.cars) == ["a"]
        assert view.cars["a"].freshness == "live"
        await rider.recenter("map", 41.0, -73.0)
        assert await rider.ping() > 0
        await rider.unsubscribe("map")
        assert [asked["type"] for asked in push.asked] == ["subscribe", "recenter", "ping", "unsubscribe"]
        assert push.asked[0] == {
            "type": "subscribe",
            "id": "1",
            "sub": "map",
            "lat": 40.0,
            "lon": -73.0,
            "radius_m": 500,
            "vehicle_types": ["TAXI"],
        }
        assert rider.faults.count == 0


async def test_a_refusal_is_raised_where_it_was_asked() -> None:
    async def refuse(socket: ServerConnection, asked: dict[str, Any]) -> None:
        await say(socket, "error", id=asked["id"], code="bad_request", detail="radius_m is too large")

    async with fake_push() as push, Rider(push.url, "t") as rider:
        push.handler = refuse
        with pytest.raises(Refused, match="bad_request: radius_m is too large"):
            await rider.subscribe("map", 40.0, -73.0, radius_m=1e9)


async def test_a_closed_connection_ends_every_wait_with_its_code() -> None:
    async def leave(socket: ServerConnection, _asked: dict[str, Any]) -> None:
        await socket.close(4001, "draining")

    async with fake_push() as push, Rider(push.url, "t") as rider:
        push.handler = leave
        with pytest.raises(RiderGone, match="4001 draining"):
            await rider.subscribe("map", 40.0, -73.0, radius_m=500)
        assert (await rider.until_gone(60)).code == 4001


async def test_what_is_not_the_protocol_is_a_fault() -> None:
    async def babble(socket: ServerConnection, asked: dict[str, Any]) -> None:
        await socket.send("[]")
        await socket.send('{"type":"snapshot","sub":"map"}')
        await say(socket, "pong", id=asked["id"])

    async with fake_push() as push, Rider(push.url, "t") as rider:
        push.handler = babble
        await rider.ping()
        assert rider.faults.count == 2


async def test_a_message_in_several_frames_is_one_message() -> None:
    async def in_parts(socket: ServerConnection, asked: dict[str, Any]) -> None:
        await socket.send(['{"type":"po', 'ng","id":', f'"{asked["id"]}"}}'])

    async with fake_push() as push, Rider(push.url, "t") as rider:
        push.handler = in_parts
        assert await rider.ping() > 0
        assert rider.faults.count == 0


async def test_a_rider_answers_pings_unless_it_reads_nothing() -> None:
    async with fake_push() as push, Rider(push.url, "t") as rider:
        await rider.subscribe("map", 40.0, -73.0, radius_m=500)
        await (await push.sockets[0].ping())
        rider.stop_reading()
        # What is sent in front of the pong to a second ping would be seen first, were anything read.
        await push.move(push.sockets[0], "map", "a", NOW_MS + 1)
        answered = asyncio.ensure_future(await push.sockets[0].ping())
        with pytest.raises(TimeoutError):
            await rider.until(lambda: rider.views["map"].seq > 1, within_s=0.2)
        assert not answered.done()
        rider.resume_reading()
        await answered
        assert rider.views["map"].cars["a"].fix_time_ms == NOW_MS + 1


async def test_a_slow_rider_gets_everything_in_the_end() -> None:
    async with fake_push() as push, Rider(push.url, "t", receive_buffer_bytes=4_096) as rider:
        await rider.subscribe("map", 40.0, -73.0, radius_m=500)
        rider.read_slowly(100_000)
        for number in range(200):
            await push.move(push.sockets[0], "map", "a", NOW_MS + number)
        await rider.until(lambda: rider.views["map"].seq == 201, within_s=60)
        assert rider.faults.count == 0


async def test_a_busy_server_says_when_to_come_back() -> None:
    async with fake_push() as push:
        push.refusals = [(503, {"Retry-After": "7"})]
        with pytest.raises(RiderGone) as refused:
            await Rider(push.url, "t").connect()
        assert (refused.value.code, refused.value.retry_after_s) == (503, 7.0)


async def test_a_connection_that_is_reset_is_gone_with_1006() -> None:
    async with fake_push() as push, Rider(push.url, "t") as rider:
        push.sockets[0].transport.abort()
        assert (await rider.until_gone(60)).code == 1006
        with pytest.raises(RiderGone):
            await rider.ping()
