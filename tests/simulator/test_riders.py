"""A rider keeps what the wire promises, and notices every promise that is broken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from push.protocol import BEARER_SUBPROTOCOL_PREFIX, SUBPROTOCOL
from simulator.crowd import Crowd
from simulator.departures import MOST_REMEMBERED, Departures
from simulator.fixes import Fix
from simulator.riders import Refused, Rider, RiderGone
from simulator.view import Faults, SeenCar, Snapshot, Update, View

NOW_MS = 1_000_000


def car(driver_id: str, fix_time_ms: int) -> SeenCar:
    return SeenCar(driver_id, 1.0, 2.0, fix_time_ms, 0, "live")


def view_with(*cars: SeenCar) -> View:
    view = View("near", Faults())
    view.show(Snapshot("near", 1, NOW_MS, list(cars)))
    return view


def update(seq: int, enter: list[SeenCar] = [], move: list[SeenCar] = [], leave: list[str] = []) -> Update:  # noqa: B006
    return Update("near", seq, NOW_MS, enter, move, leave)


def test_a_view_follows_what_enters_moves_and_leaves() -> None:
    view = view_with(car("a", 10), car("b", 10))
    moved = view.change(update(2, enter=[car("c", 11)], move=[car("a", 12)], leave=["b"]))
    assert {driver: seen.fix_time_ms for driver, seen in view.cars.items()} == {"a": 12, "c": 11}
    assert [seen.driver_id for seen in moved] == ["a"]
    assert (view.seq, view.faults.count) == (2, 0)


def test_a_car_that_only_became_stale_has_not_moved() -> None:
    view = view_with(car("a", 10))
    assert view.change(update(2, move=[car("a", 10)])) == []
    assert view.faults.count == 0


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (update(3), "update has seq 3 after 1"),
        (update(1), "update has seq 1 after 1"),
        (Snapshot("near", 3, NOW_MS, []), "snapshot has seq 3 after 1"),
        (Snapshot("near", 2, NOW_MS, [car("b", 10), car("b", 11)]), "b is twice in a snapshot"),
        (update(2, enter=[car("a", 11)]), "a entered but was there"),
        (update(2, move=[car("b", 11)]), "b moved but was not there"),
        (update(2, leave=["b"]), "b left but was not there"),
        (update(2, move=[car("a", 9)]), "a went backwards by 1 ms"),
        (Snapshot("near", 2, NOW_MS, [car("a", 7)]), "a went backwards by 3 ms"),
        (Update("near", 2, NOW_MS - 1, [], [], []), "server_time_ms went backwards"),
    ],
)
def test_a_broken_promise_is_noticed(message: Snapshot | Update, fault: str) -> None:
    view = view_with(car("a", 10))
    if isinstance(message, Snapshot):
        view.show(message)
    else:
        view.change(message)
    assert view.faults.described == [fault]


def test_a_car_that_left_and_came_back_older_went_backwards() -> None:
    view = view_with(car("a", 10))
    view.change(update(2, leave=["a"]))
    view.change(update(3, enter=[car("a", 9)]))
    assert view.faults.described == ["a went backwards by 1 ms"]


def test_an_update_before_the_first_snapshot_is_a_fault() -> None:
    view = View("near", Faults())
    view.change(update(1))
    assert view.faults.described == ["update before the first snapshot"]


def test_arrivals_are_timed_from_the_first_departure_and_the_oldest_are_forgotten() -> None:
    departures = Departures()
    fix = Fix(driver_id="a", fix_time_ms=1, lat=0.0, lon=0.0)
    departures.note([fix], 10.0)
    departures.note([fix], 20.0)
    assert departures.took_ms("a", 1, 10.5) == 500.0
    assert departures.took_ms("a", 2, 10.5) is None
    departures.note((Fix(driver_id="b", fix_time_ms=n, lat=0.0, lon=0.0) for n in range(MOST_REMEMBERED)), 30.0)
    assert departures.took_ms("a", 1, 40.0) is None


Handler = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


class FakePush:
    """A push that answers as a test tells it to; `url` is its address."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.handler: Handler = self.be_good
        self.seq = 0

    async def be_good(self, socket: ServerConnection, asked: dict[str, Any]) -> None:
        reply = {"subscribe": "subscribed", "recenter": "recentered", "unsubscribe": "unsubscribed", "ping": "pong"}
        await say(socket, reply[asked["type"]], id=asked["id"], sub=asked.get("sub"))
        if asked["type"] == "subscribe":
            await self.snapshot(socket, asked["sub"], [("a", NOW_MS)])

    async def snapshot(self, socket: ServerConnection, sub: str, cars: list[tuple[str, int]]) -> None:
        self.seq = 1
        await say(socket, "snapshot", sub=sub, seq=1, server_time_ms=NOW_MS, cars=[wire_car(*one) for one in cars])

    async def move(self, socket: ServerConnection, sub: str, driver_id: str, fix_time_ms: int) -> None:
        self.seq += 1
        changed = {"enter": [], "move": [wire_car(driver_id, fix_time_ms)], "leave": []}
        await say(socket, "update", sub=sub, seq=self.seq, server_time_ms=NOW_MS, **changed)

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        bearer = socket.request.headers.get("Authorization", "").removeprefix("Bearer ")
        offered = socket.request.headers.get("Sec-WebSocket-Protocol", "")
        bearer = bearer or offered.partition(BEARER_SUBPROTOCOL_PREFIX)[2]
        if not bearer:
            bearer = json.loads(await socket.recv())["token"]
        self.tokens.append(bearer)
        await say(socket, "welcome", session="s", heartbeat_ms=5_000)
        async for text in socket:
            self.asked.append(json.loads(text))
            await self.handler(socket, self.asked[-1])


async def say(socket: ServerConnection, type_: str, **fields: object) -> None:
    """Send a message, written as the wire's documents show it, not by push's own code."""
    await socket.send(json.dumps({"type": type_, **fields}, separators=(",", ":")))


def wire_car(driver_id: str, fix_time_ms: int) -> dict[str, object]:
    place = {"lat": 40.0, "lon": -73.0, "cell": "892a100d2c3ffff"}
    return {"driver_id": driver_id, **place, "fix_time_ms": fix_time_ms, "age_ms": 5, "freshness": "live"}


@asynccontextmanager
async def fake_push() -> AsyncIterator[FakePush]:
    push = FakePush()
    async with serve(push.serve, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server:  # type: ignore[list-item]
        push.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/stream"
        yield push


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
        assert (await rider.until_gone(5)).code == 4001


async def test_what_is_not_the_protocol_is_a_fault() -> None:
    async def babble(socket: ServerConnection, asked: dict[str, Any]) -> None:
        await socket.send("[]")
        await socket.send('{"type":"snapshot","sub":"map"}')
        await say(socket, "pong", id=asked["id"])

    async with fake_push() as push, Rider(push.url, "t") as rider:
        push.handler = babble
        await rider.ping()
        assert rider.faults.count == 2


async def test_a_crowd_times_the_moves_it_sees_and_comes_back_when_cut_off() -> None:
    departures = Departures()
    began_s = asyncio.get_running_loop().time()
    departures.note([Fix(driver_id="a", fix_time_ms=NOW_MS + 1, lat=0.0, lon=0.0)], began_s)

    async def move_and_leave(socket: ServerConnection, asked: dict[str, Any]) -> None:
        await push.be_good(socket, asked)
        await push.move(socket, asked["sub"], "a", NOW_MS + 1)
        await push.move(socket, asked["sub"], "b", NOW_MS + 1)
        await socket.close(4008, "slow")

    async with fake_push() as push:
        push.handler = move_and_leave
        crowd = Crowd(push.url, lambda number: f"rider-{number}", 2, [(40.0, -73.0)], Random(1), departures)
        crowd.start()
        async with asyncio.timeout(20):
            while crowd.reconnects < 4:
                await asyncio.sleep(0.01)
        await crowd.stop()
    summary = crowd.summary()
    assert crowd.latency_ms.count >= 4, "a's moves are ours; b's are somebody else's"
    assert set(push.tokens) == {"rider-0", "rider-1"}
    assert summary["lost"] == []
    assert crowd.connected == 0
    assert crowd.faults.count >= 4
    assert crowd.faults.described is not None
    assert set(crowd.faults.described) == {"b moved but was not there"}
    assert not crowd.clean


async def test_a_rider_who_is_told_not_to_come_back_does_not() -> None:
    async def forbid(socket: ServerConnection, _asked: dict[str, Any]) -> None:
        await socket.close(4503, "forbidden")

    async with fake_push() as push:
        push.handler = forbid
        crowd = Crowd(push.url, lambda _: "t", 1, [(40.0, -73.0)], Random(1), Departures())
        crowd.start()
        async with asyncio.timeout(20):
            while not crowd.lost:
                await asyncio.sleep(0.01)
        await crowd.stop()
    assert crowd.lost == ["connection ended with 4503 forbidden"]
    assert len(push.tokens) == 1
