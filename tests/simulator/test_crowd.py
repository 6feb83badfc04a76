"""A crowd of map riders keeps its seats, suffers what is planned, comes back, and tells what each was shown."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import redis
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from infra.local.engines import Engine
from simulator.fleet.fixes import Fix
from simulator.posting.departures import Departures
from simulator.riders import map_rider
from simulator.riders.crowd import Crowd
from simulator.riders.faults import HALF_OPEN, RECONNECT, SLOW, Mishap
from simulator.riders.map_rider import Habits, Stroll
from simulator.riders.seat import Seat
from simulator.riders.view import Broken, SeenCar
from tests.push.city import MANHATTAN, distance_m, towards
from tests.push.node import Node, start_redis, token
from tests.simulator.fake_push import NOW_MS, FakePush, fake_push, say

PLACES = [(40.0, -73.0), (41.0, -73.0), (42.0, -73.0)]


async def eventually(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def crowd_at(
    push: FakePush, riders: int, mishaps: Sequence[Sequence[Mishap]] = (), **more: Any
) -> AsyncIterator[Crowd]:
    crowd = Crowd(push.url, lambda n: f"rider-{n}", riders, PLACES, Random(1), Departures(), mishaps=mishaps, **more)
    crowd.start(begin=False)
    try:
        await eventually(lambda: crowd.connected == riders or crowd.lost or crowd.reconnects)
        crowd.begin()
        yield crowd
    finally:
        await crowd.stop()


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
        heard: list[tuple[int, int]] = []
        crowd = Crowd(
            push.url,
            lambda number: f"rider-{number}",
            2,
            [(40.0, -73.0)],
            Random(1),
            departures,
            on_latency=lambda counted, at_ms: heard.append((counted.count, at_ms)),
        )
        crowd.start()
        await eventually(lambda: crowd.reconnects >= 4)
        await crowd.stop()
    summary = crowd.summary()
    assert sum(moves for moves, _ in heard) == crowd.latency_ms.count
    assert [at_ms for _, at_ms in heard] == sorted(at_ms for _, at_ms in heard)
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
        await eventually(lambda: crowd.lost)
        await crowd.stop()
    assert crowd.lost == ["connection ended with 4503 forbidden"]
    assert len(push.tokens) == 1


async def test_a_seat_shows_what_its_rider_was_told_and_each_car_is_told_once_it_is_on_the_screen() -> None:
    told: list[tuple[str, str, int, int, int]] = []

    def hear(seat: Seat, car: SeenCar, server_time_ms: int, at_ms: int) -> None:
        assert seat.cars[car.driver_id] is car
        assert seat.settled_since_ms is not None
        told.append((seat.rider, car.driver_id, car.fix_time_ms, server_time_ms, at_ms))

    began_ms = time.time_ns() // 1_000_000
    async with fake_push() as push, crowd_at(push, 1, on_told=hear, habits=Habits(700.0, 20)) as crowd:
        (seat,) = crowd.seats
        assert (seat.radius_m, seat.limit, (seat.lat, seat.lon) in PLACES) == (700.0, 20, True)
        assert {"lat": seat.lat, "lon": seat.lon, "radius_m": 700.0, "limit": 20}.items() <= push.asked[0].items()
        await push.move(push.sockets[0], "near", "a", NOW_MS + 1)
        await eventually(lambda: len(told) == 2)
    assert [each[:4] for each in told] == [("map-0", "a", NOW_MS, NOW_MS), ("map-0", "a", NOW_MS + 1, NOW_MS)]
    assert began_ms <= told[0][4] <= told[1][4] <= time.time_ns() // 1_000_000
    assert seat.settled_since_ms is None, "nobody sits there any more"


@given(st.integers(), st.lists(st.floats(0, 500), min_size=1, max_size=20))
def test_where_a_rider_stands_depends_on_the_seed_and_the_time_alone(seed: int, looks_s: list[float]) -> None:
    often, once = (Stroll(PLACES, (15.0, 45.0), Random(seed)) for _ in range(2))
    for now_s in sorted(looks_s):
        place = often.at(now_s)
    assert once.at(max(looks_s)) == place


async def test_a_rider_who_walks_on_is_not_judged_until_the_server_has_followed() -> None:
    recentred = asyncio.Event()

    async def be_slow_to_follow(socket: ServerConnection, asked: dict[str, Any]) -> None:
        if asked["type"] == "recenter":
            await recentred.wait()
        await push.be_good(socket, asked)

    async with fake_push() as push:
        push.handler = be_slow_to_follow
        async with crowd_at(push, 1, habits=Habits(walk_after_s=(0.3, 0.6))) as crowd:
            (seat,) = crowd.seats
            await eventually(lambda: push.asked[-1]["type"] == "recenter")
            assert (seat.lat, seat.lon) == (push.asked[-1]["lat"], push.asked[-1]["lon"])
            assert seat.settled_since_ms is None
            recentred.set()
            await eventually(lambda: seat.settled_since_ms is not None)


async def test_all_who_drop_out_at_once_come_back_where_they_stood() -> None:
    storm = [[Mishap(50, RECONNECT, 10 * number)] for number in range(5)]
    async with fake_push() as push, crowd_at(push, 5, storm) as crowd:
        before = [(seat.lat, seat.lon) for seat in crowd.seats]
        await eventually(lambda: crowd.reconnects == 5 and crowd.connected == 5)
        assert len(push.sockets) == 10
        assert [(seat.lat, seat.lon) for seat in crowd.seats] == before
        assert all(seat.settled_since_ms is not None for seat in crowd.seats)
        assert crowd.summary()["cut_off_by"] == {"reconnect": 5}
        assert crowd.clean


async def test_a_half_open_rider_is_silent_and_comes_back_beside_its_old_connection() -> None:
    async with fake_push() as push, crowd_at(push, 1, [[Mishap(50, HALF_OPEN, 3_000)]]) as crowd:
        await eventually(lambda: crowd.cut[HALF_OPEN])
        assert crowd.seats[0].settled_since_ms is None
        pong = asyncio.ensure_future(await push.sockets[0].ping())
        await eventually(lambda: len(push.sockets) == 2 and crowd.connected == 1)
        assert crowd.seats[0].settled_since_ms is not None
        assert push.sockets[0].state is State.OPEN
        assert not pong.done()
    await eventually(lambda: push.sockets[0].state is State.CLOSED)


async def test_a_rider_who_reads_nothing_for_a_while_then_reads_all_and_is_judged_and_timed_only_after_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(map_rider, "RECOVERS_S", 1.0)
    departures = Departures()
    departures.note(
        [Fix(driver_id="a", fix_time_ms=NOW_MS + number, lat=0.0, lon=0.0) for number in range(10)], time.monotonic()
    )
    async with fake_push() as push:
        mishaps = [[Mishap(50, SLOW, 1_000, 0.0)]]
        crowd = Crowd(push.url, str, 1, PLACES, Random(1), departures, mishaps=mishaps)
        crowd.start(begin=False)
        await eventually(lambda: crowd.connected)
        crowd.begin()
        (seat,) = crowd.seats
        await eventually(lambda: seat.settled_since_ms is None)
        await push.move(push.sockets[0], "near", "a", NOW_MS + 1)
        await eventually(lambda: seat.settled_since_ms is not None)
        assert seat.cars["a"].fix_time_ms == NOW_MS + 1
        assert crowd.latency_ms.count == 0
        await push.move(push.sockets[0], "near", "a", NOW_MS + 2)
        await eventually(lambda: crowd.latency_ms.count)
        await crowd.stop()
    assert crowd.reconnects == 0
    assert crowd.clean


async def test_a_rider_whose_push_stalled_is_charged_with_each_ping_that_fell_due_meanwhile() -> None:
    departures = Departures()
    now_s = time.monotonic()
    for number in range(1, 12):
        fix = Fix(driver_id="a", fix_time_ms=NOW_MS + 200 * number, lat=0.5, lon=0.5)
        departures.note([fix], now_s - 2.0 + 0.2 * (number - 1))
    async with fake_push() as push:
        crowd = Crowd(push.url, str, 1, PLACES, Random(1), departures)
        crowd.start()
        await eventually(lambda: crowd.connected)
        await push.move(push.sockets[0], "near", "a", NOW_MS + 200)
        await eventually(lambda: crowd.latency_ms.count)
        assert crowd.latency_ms.count == 1, "the rider saw nothing before the snapshot"
        await push.move(push.sockets[0], "near", "a", NOW_MS + 2_000)
        await eventually(lambda: crowd.latency_ms.count > 1)
        assert crowd.latency_ms.count == 10
        await push.move(push.sockets[0], "near", "a", NOW_MS + 2_200)
        await eventually(lambda: crowd.latency_ms.count > 10)
        await crowd.stop()
    assert crowd.latency_ms.count == 11
    assert crowd.slowest is not None
    assert crowd.slowest.evidence["took_ms"] == crowd.latency_ms.max_ms >= 2_000


async def test_riders_of_a_server_that_leaves_come_back_when_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_rider, "RECONNECT_S", 1e6)
    monkeypatch.setattr(map_rider, "LONGEST_RECONNECT_S", 1e6)
    async with fake_push() as push, crowd_at(push, 1) as crowd:
        await say(push.sockets[0], "draining", reconnect_in_ms=20)
        await push.sockets[0].close(4001, "draining")
        await eventually(lambda: len(push.sockets) == 2 and crowd.connected == 1)
        assert crowd.cut == {"4001": 1}


async def test_a_server_that_falls_silent_is_left() -> None:
    async with fake_push() as push:
        push.heartbeat_ms = 100
        async with crowd_at(push, 1) as crowd:
            await eventually(lambda: len(push.sockets) >= 2)
            assert crowd.cut["1006"] >= 1


async def test_a_rider_who_was_refused_because_the_server_is_full_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(map_rider, "RECONNECT_S", 0.01)
    async with fake_push() as push:
        push.refusals = [(503, {"Retry-After": "0"}), (503, {})]
        async with crowd_at(push, 1) as crowd:
            await eventually(lambda: crowd.connected == 1)
            assert crowd.cut == {"503": 2}
            assert crowd.clean


async def test_a_rider_who_cannot_come_back_for_long_is_lost_once_and_goes_on_trying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(map_rider, "BACK_WITHIN_S", 0.0)
    monkeypatch.setattr(map_rider, "RECONNECT_S", 0.001)
    lost: list[tuple[str, str]] = []
    async with fake_push() as push:
        push.refusals = [(503, {})] * 3
        async with crowd_at(push, 1, on_lost=lambda seat, why, at_ms: lost.append((seat.rider, why))) as crowd:
            await eventually(lambda: crowd.connected == 1)
    assert lost == [("map-0", "not back after 0 s: connection ended with 503 handshake refused")]


async def test_whoever_is_asked_hears_of_each_broken_promise() -> None:
    heard: list[tuple[str, Broken]] = []

    def hear(seat: Seat, broken: Broken, _at_ms: int) -> None:
        heard.append((seat.rider, broken))

    async with fake_push() as push, crowd_at(push, 1, on_broken=hear) as crowd:
        await push.move(push.sockets[0], "near", "a", NOW_MS - 1)
        await eventually(lambda: heard)
        assert not crowd.clean
    assert heard == [("map-0", Broken("a went backwards by 1 ms", "a", 1))]


async def test_a_run_whose_riders_cannot_be_judged_is_not_clean() -> None:
    def fail(*_: object) -> None:
        raise KeyError("no such driver")

    async with fake_push() as push:
        async with crowd_at(push, 1, on_told=fail) as crowd:
            await eventually(lambda: crowd.lost)
        assert crowd.lost[0] == "what a rider saw could not be judged: KeyError('no such driver')"


async def test_an_address_that_is_no_websocket_is_said_to_be_wrong() -> None:
    crowd = Crowd("http://127.0.0.1:1/", str, 1, PLACES, Random(1), Departures())
    crowd.start()
    await eventually(lambda: crowd.lost)
    await crowd.stop()
    assert "http://127.0.0.1:1/ isn't a valid URI" in crowd.lost[0]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = start_redis(tmp_path_factory.mktemp("redis"))
    with redis.Redis(port=engine.port) as client:
        client.flushall()
    yield engine
    engine.process.stop()


def test_riders_of_a_real_push_see_the_nearest_cars_whatever_happens_to_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_rider, "RECOVERS_S", 0.2)
    uvloop.run(a_bad_second_for_24_riders(engine))


async def a_bad_second_for_24_riders(engine: Engine) -> None:
    rng = random.Random(3)
    places = [towards(MANHATTAN, rng.uniform(0, 360), rng.uniform(0, 600)) for _ in range(10)]
    cars = {f"car-{number}": towards(MANHATTAN, rng.uniform(0, 360), rng.uniform(0, 1_500)) for number in range(60)}
    mishaps = [
        [Mishap(400, what, 1_500, rate)]  # long enough not to be over before it is looked at
        for what, rate in [(RECONNECT, 0.0), (HALF_OPEN, 0.0), (SLOW, 0.0), (SLOW, 4_096.0)]
        for _ in range(5)
    ]
    told: set[str] = set()
    async with Node(engine) as node:
        crowd = Crowd(
            node.url,
            lambda number: token(f"rider-{number}"),
            24,
            places,
            Random(1),
            Departures(),
            Habits(800.0, 10, (0.2, 0.6)),
            mishaps,
            on_told=lambda seat, car, server_time_ms, at_ms: told.add(seat.rider),
        )
        await node.writer.put_all(cars)
        crowd.start(begin=False)
        assert await crowd.seated(60)
        crowd.begin()
        while crowd.now_s() < 2.4 or any(seat.settled_since_ms is None for seat in crowd.seats):
            cars = {each: towards(place, rng.uniform(0, 360), 10) for each, place in cars.items()}
            await node.writer.put_all(cars)
            await asyncio.sleep(0.05)

        def nearest(seat: Seat) -> set[str]:
            far = sorted((distance_m((seat.lat, seat.lon), place), each) for each, place in cars.items())
            return {each for far_m, each in far[:10] if far_m <= 800.0}

        await eventually(lambda: all(set(seat.cars) == nearest(seat) for seat in crowd.seats if seat.settled_since_ms))
        assert crowd.cut == {RECONNECT: 5, HALF_OPEN: 5}
        assert len(told) == 24
        await crowd.stop()
        assert crowd.clean, crowd.summary()
