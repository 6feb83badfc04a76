"""A rider who takes nothing costs a bounded amount, is closed in the end, and delays nobody."""

from __future__ import annotations

import asyncio
import time

from push.protocol import SLOW_CONSUMER
from push.server import PushServer
from push.subscriptions import Subscriptions
from tests.push.city import MANHATTAN, towards
from tests.push.connection import RiderApp
from tests.push.node import Node, eventually, token

#: What issue 2 allows a rider who does not read: all of the server's side.
MOST_BYTES = 256 * 1024


def fleet(round_: int, cars: int = 60) -> dict[str, tuple[float, float]]:
    return {f"driver-{n}": towards(MANHATTAN, n * 6, 100 + (round_ * 7 + n) % 300) for n in range(cars)}


def rider_of(server: PushServer, subject: str):  # type: ignore[no-untyped-def]
    return next(rider for rider in server._riders() if rider.subject == subject)


async def test_a_rider_who_reads_nothing_is_bounded_and_a_reading_one_sees_everything_at_once(engine):
    async with (
        Node(engine, tick_ms=2.0, stalled_after_s=300, no_pong_after_s=300) as node,
        RiderApp(node.url, token("slow")) as slow,
        RiderApp(node.url, token("fast")) as fast,
    ):
        await node.writer.put_all(fleet(0))
        await slow.subscribe("map", MANHATTAN, radius_m=1_000)
        seen = await fast.subscribe("map", MANHATTAN, radius_m=1_000)
        slow.stop_reading()
        rider = rider_of(node.server, "slow")
        outbox = rider.outboxes["map"]
        most_buffered = most_owed = rounds = 0
        # Loopback's buffers hold megabytes; write until they are full and the outbox has had to conflate.
        while outbox.conflated == 0 and node.count("ws_positions_conflated_total") < 2_000 and rounds < 4_000:
            rounds += 1
            await node.writer.put_all(fleet(rounds))
            most_buffered = max(most_buffered, rider.buffered())
            most_owed = max(most_owed, len(outbox))
        assert node.count("ws_positions_conflated_total") > 0
        assert most_owed <= 60
        # User space, plus what the kernel was allowed to take (Linux doubles SO_SNDBUF).
        assert most_buffered + 2 * node.settings.send_buffer_bytes < MOST_BYTES / 2
        last = node.writer.at
        await fast.until(lambda: all(seen.cars[name]["fix_time_ms"] == each.fix_time_ms for name, each in last.items()))
        # The slow one comes back: few messages, and the newest of each car.
        before = len(slow.heard)
        slow.resume_reading()
        view = slow.views["map"]
        await slow.until(lambda: all(view.cars[name]["fix_time_ms"] == each.fix_time_ms for name, each in last.items()))
        assert len(slow.heard) - before < rounds


async def test_a_rider_whose_socket_takes_nothing_is_closed_as_slow(engine):
    async with (
        Node(engine, tick_ms=2.0, stalled_after_s=0.5, heartbeat_s=0.2, no_pong_after_s=60) as node,
        RiderApp(node.url, token("slow")) as slow,
    ):
        await node.writer.put_all(fleet(0))
        await slow.subscribe("map", MANHATTAN, radius_m=1_000)
        slow.stop_reading()
        deadline = time.monotonic() + 60
        rounds = 0
        while not node.count("ws_disconnects_total", code=str(SLOW_CONSUMER)) and time.monotonic() < deadline:
            rounds += 1
            await node.writer.put_all(fleet(rounds))
        assert node.count("ws_disconnects_total", code=str(SLOW_CONSUMER)) == 1
        await eventually(lambda: not node.server._riders())
        subscriptions: Subscriptions = node.server._subscriptions
        assert not subscriptions._owners
        assert len(subscriptions._hub) == 0


async def test_a_rider_who_does_not_read_its_answers_is_not_listened_to(engine):
    async with Node(engine, max_messages_per_s=1e9) as node, RiderApp(node.url, token("slow")) as slow:
        await slow.told("welcome")
        slow.stop_reading()

        async def chatter() -> None:
            for _ in range(400_000):
                await slow.socket.send('{"type":"ping","id":"0123456789012345678901234567890123456789"}')

        talking = asyncio.create_task(chatter())
        rider = rider_of(node.server, "slow")
        await eventually(lambda: rider.buffered() >= rider.limit_bytes, 60)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert rider.buffered() < rider.limit_bytes + 4_096
        talking.cancel()
