"""An inbox lets everybody look at everything, in order, and lets others have their turn meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from simulator.riders import inbox
from simulator.riders.inbox import Inbox
from simulator.riders.rider import Rider
from tests.simulator.fake_push import NOW_MS, fake_push


class Reader:
    """Writes down what it looks at."""

    def __init__(self, number: int, seen: list[int]) -> None:
        self.number, self.seen = number, seen

    def look(self) -> None:
        self.seen.append(self.number)


async def test_all_is_looked_at_in_order_and_others_have_their_turn_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "TURN_S", 0.0)
    box, seen = Inbox(), list[int]()
    for number in range(5):
        box.put(Reader(number, seen))
    assert not seen
    turns = []
    while len(seen) < 5:
        await asyncio.sleep(0)
        turns.append(len(seen))
    assert seen == list(range(5))
    assert {1, 2, 3, 4} <= set(turns)


async def test_when_too_much_waits_what_waited_longest_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_WAITING", 3)
    box, seen = Inbox(), list[int]()
    for number in range(5):
        box.put(Reader(number, seen))
    assert seen == [0, 1]
    await asyncio.sleep(0.01)
    assert seen == list(range(5))


async def test_one_who_fails_does_not_keep_the_others_from_looking() -> None:
    class Failing(Reader):
        def look(self) -> None:
            raise RuntimeError("cannot be judged")

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    box, seen = Inbox(), list[int]()
    for each in (Failing(0, seen), Reader(1, seen)):
        box.put(each)
    async with asyncio.timeout(10):
        while not seen:
            await asyncio.sleep(0)
    assert [str(each["exception"]) for each in complaints] == ["cannot be judged"]


async def test_a_rider_has_seen_all_that_came_when_its_connection_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "TURN_S", 0.0)

    async def say_much_and_leave(socket: ServerConnection, asked: dict[str, Any]) -> None:
        await push.be_good(socket, asked)
        for number in range(1, 51):
            await push.move(socket, asked["sub"], "a", NOW_MS + number)
        await socket.close(4001, "draining")

    box = Inbox()
    async with fake_push() as push:
        push.handler = say_much_and_leave
        rider = Rider(push.url, "t", inbox=box)
        await rider.connect()
        view = await rider.subscribe("near", 40.0, -73.0)
        gone = await rider.until_gone(10)
        assert (gone.code, view.updates, view.cars["a"].fix_time_ms) == (4001, 50, NOW_MS + 50)
        assert rider.faults.count == 0
        await rider.close()


async def test_an_app_that_is_killed_sees_no_more() -> None:
    box = Inbox()
    async with fake_push() as push:
        rider = Rider(push.url, "t", inbox=box)
        await rider.connect()
        view = await rider.subscribe("near", 40.0, -73.0)
        rider._hear(b'{"type":"update","sub":"near","seq":2,"server_time_ms":1,"enter":[],"move":[],"leave":[]}')
        rider.drop()
        await rider.until_gone(10)
        assert view.updates == 0
