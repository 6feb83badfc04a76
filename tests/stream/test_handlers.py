"""Frames end in a real Redis once each, whatever happens to Redis or to the worker in between."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import redis.asyncio

from infra.local.engines import Engine
from infra.redis import connect
from ingest.events import OFFLINE, Ping, encode_frame
from stream.audit import cars, verdicts
from stream.records import meta_key
from tests.stream.frames import START_MS, Bench, StandingClock, frame, ping


async def positions(client: redis.asyncio.Redis) -> dict[str, int]:
    """Driver -> the step it is shown at. Fails when a driver is in two regions."""
    found: dict[str, int] = {}
    for _, car in await cars(client):
        assert car.driver_id not in found, f"{car.driver_id} is shown twice"
        found[car.driver_id] = (car.fix_time_ms - START_MS) // 10_000
    return found


def everyone_at(step: int) -> dict[str, int]:
    return {f"driver-{driver}": step for driver in range(5)}


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    """The writer of a worker, and its beat, ten times as fast."""

    async def beats() -> None:
        while True:
            await bench.handler.beat()
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(bench.handler.run()), asyncio.create_task(beats())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Poll until `condition` holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_frame_that_comes_again_is_neither_counted_nor_written(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    for offset in (0, 1, 0, 1, 2):
        await bench.handler.handle(3, offset, frame(offset))
    assert await verdicts(client) == {
        "live": 15, "backfill": 0, "duplicate": 0, "impossible_jump": 0, "rejected_records": 0,
    }  # fmt: skip
    assert await positions(client) == everyone_at(2)
    assert bench.metrics.frames_repeated == 2


async def test_a_restarted_worker_goes_on_where_the_other_died(client: redis.asyncio.Redis) -> None:
    for offset in range(6):
        await Bench(client).handler.handle(0, offset, frame(offset))
        await Bench(client).handler.handle(0, offset, frame(offset))
    assert (await verdicts(client))["live"] == 30
    assert await positions(client) == everyone_at(5)


async def test_frames_that_arrive_during_a_write_are_written_together_and_done_in_order(
    client: redis.asyncio.Redis,
) -> None:
    bench, done = Bench(client), []
    async with running(bench):
        for offset in range(40):
            value = frame(offset, [offset % 2])
            await bench.handler.accept(offset % 2, offset // 2, value, lambda at=offset: done.append(at))

        await until(lambda: len(done) == 40)
    assert done == sorted(done)
    assert (await verdicts(client))["live"] == 40
    assert await positions(client) == {"driver-0": 38, "driver-1": 39}


async def test_nothing_is_done_before_it_is_in_redis(client: redis.asyncio.Redis) -> None:
    bench, done = Bench(client), []
    await bench.handler.accept(0, 0, frame(0), lambda: done.append(0))
    await asyncio.sleep(0)
    assert done == []
    assert await verdicts(client) == {}
    await bench.handler.settle()
    assert done == [0]


async def test_a_reader_of_kafka_waits_while_too_much_is_unwritten(client: redis.asyncio.Redis) -> None:
    bench = Bench(client, max_unwritten_pings=10)
    await bench.handler.accept(0, 0, frame(0), lambda: None)
    accepting = asyncio.create_task(bench.handler.accept(0, 1, frame(1), lambda: None))
    await asyncio.sleep(0.05)
    assert not accepting.done()
    await bench.handler.settle()
    await asyncio.wait_for(accepting, 60)


async def test_bad_records_are_put_aside_counted_and_passed_over(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    await bench.handler.handle(0, 0, frame(0))
    await bench.handler.handle(0, 1, b"\x92\x01not a frame")
    await bench.handler.handle(0, 2, b"")
    await bench.handler.handle(0, 3, b"\x92\x63\x90")
    await bench.handler.handle(0, 4, frame(1))
    assert [(offset, reason) for _, offset, _, reason in bench.rejected] == [
        (1, "undecodable"), (2, "empty_record"), (3, "unknown_version"),
    ]  # fmt: skip
    assert (await verdicts(client))["rejected_records"] == 3
    assert (await verdicts(client))["live"] == 10


async def test_going_offline_takes_a_driver_off_the_index(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    await bench.handler.handle(0, 0, frame(0))
    await bench.handler.handle(0, 1, frame(1, [2], vehicle_state=OFFLINE))
    assert "driver-2" not in await positions(client)
    await bench.handler.handle(0, 2, frame(2, [2]))
    assert (await positions(client))["driver-2"] == 2


async def test_a_late_fix_never_moves_a_car_back(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    await bench.handler.handle(0, 0, frame(5))
    await bench.handler.handle(0, 1, frame(3))
    await bench.handler.handle(0, 2, frame(5))
    assert await positions(client) == everyone_at(5)
    totals = await verdicts(client)
    assert (totals["live"], totals["backfill"], totals["duplicate"]) == (5, 5, 5)


async def test_the_silent_leave_the_index_and_come_back_with_their_next_ping(client: redis.asyncio.Redis) -> None:
    clock = StandingClock()
    bench = Bench(client, clock, stale_after_ms=30_000, gone_after_ms=120_000)
    await bench.handler.handle(0, 0, frame(0))
    await bench.handler.handle(0, 1, frame(1, [4]))
    clock.at_ms = START_MS + 119_999
    await bench.handler.beat()
    assert len(await positions(client)) == 5
    clock.at_ms = START_MS + 120_000
    await bench.handler.beat()
    assert await positions(client) == {"driver-4": 1}
    await bench.handler.handle(0, 2, frame(12, [0]))
    assert await positions(client) == {"driver-4": 1, "driver-0": 12}


async def test_the_fixes_of_a_forgotten_driver_who_comes_back_at_once_are_kept(client: redis.asyncio.Redis) -> None:
    clock = StandingClock()
    bench = Bench(client, clock, stale_after_ms=30_000, gone_after_ms=60_000, forget_after_ms=120_000)
    await bench.handler.handle(0, 0, frame(0))
    clock.at_ms = START_MS + 300_000
    await bench.handler.beat()
    await bench.handler.handle(0, 1, frame(30, [4]))
    record = await bench.records.load(0, new_epoch=1)
    assert set(record.drivers) == {"driver-4"}


async def test_a_worker_that_is_behind_another_gives_way(client: redis.asyncio.Redis) -> None:
    old, new = Bench(client), Bench(client)
    await old.handler.handle(0, 0, frame(0))
    for offset in range(4):
        await new.handler.handle(0, offset, frame(offset))
    await old.handler.handle(0, 1, frame(1))  # it has lost the partition and does not know
    assert await positions(client) == everyone_at(3)
    assert (await verdicts(client))["live"] == 20
    await old.handler.handle(0, 4, frame(4))  # it read the other's record, and may have the partition back
    assert await positions(client) == everyone_at(4)
    assert (await verdicts(client))["live"] == 25


async def test_frames_waiting_behind_a_lost_write_are_folded_into_what_the_other_wrote(
    client: redis.asyncio.Redis,
) -> None:
    old, new, done = Bench(client), Bench(client), []
    await old.handler.handle(0, 0, frame(0))
    for offset in range(3):
        await new.handler.handle(0, offset, frame(offset))
    await old.handler.accept(0, 1, frame(1), lambda: done.append(1))
    settling = asyncio.create_task(old.handler.settle())
    await asyncio.sleep(0)
    for offset in (2, 3, 4):
        await old.handler.accept(0, offset, frame(offset), lambda at=offset: done.append(at))
    await settling
    await old.handler.settle()
    assert done == [1, 2, 3, 4]
    assert await positions(client) == everyone_at(4)
    assert (await verdicts(client))["live"] == 25


async def test_a_wiped_redis_is_whole_again_after_one_beat(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    await bench.handler.assign({0: 10, 1: 10})
    await bench.handler.handle(0, 0, frame(0, range(3)))
    await bench.handler.handle(1, 0, frame(0, range(3, 5)))
    before = await verdicts(client)
    await client.flushall()
    await bench.handler.beat()
    assert await positions(client) == everyone_at(0)
    assert await verdicts(client) == before
    assert bench.metrics.rewrites == 2


async def test_a_frame_that_meets_a_wiped_redis_writes_everything(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    await bench.handler.handle(0, 0, frame(0))
    await client.flushall()
    await bench.handler.handle(0, 1, frame(1, [0]))
    assert await positions(client) == {**everyone_at(0), "driver-0": 1}
    assert (await verdicts(client))["live"] == 6
    heir = Bench(client)
    await heir.handler.assign({0: 2})
    assert set(heir.handler.partitions[0].drivers) == set(everyone_at(0))


async def test_redis_that_went_back_in_time_is_brought_forward(client: redis.asyncio.Redis) -> None:
    """As after a failover to a replica that had not got the last writes."""
    bench = Bench(client)
    await bench.handler.assign({0: 10})
    await bench.handler.handle(0, 0, frame(0))
    old = await client.hgetall(meta_key(0))
    await bench.handler.handle(0, 1, frame(1))
    await client.hset(meta_key(0), mapping=old)
    await bench.handler.beat()
    assert (await verdicts(client))["live"] == 10


async def test_scripts_flushed_between_two_frames_are_no_matter(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    for offset in range(4):
        await bench.handler.handle(0, offset, frame(offset))
        await client.script_flush()
    assert await positions(client) == everyone_at(3)
    assert (await verdicts(client))["live"] == 20


async def test_assignment_says_where_to_go_on_and_keeps_what_is_in_memory(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    assert await bench.handler.assign({0: 0, 1: 0}) == {}
    await bench.handler.handle(0, 0, frame(0))
    held = bench.handler.partitions[0]
    bench.handler.revoke()
    assert await bench.handler.assign({0: 5}) == {0: 1}
    assert bench.handler.partitions == {0: held}
    bench.handler.revoke()
    await Bench(client).handler.handle(0, 1, frame(1))  # another worker had it for a while
    assert await bench.handler.assign({0: 5}) == {0: 2}
    assert bench.handler.partitions[0] is not held


async def test_frames_of_a_partition_that_was_lost_are_not_acknowledged(client: redis.asyncio.Redis) -> None:
    bench, done = Bench(client), []
    await bench.handler.accept(0, 0, frame(0), lambda: done.append(0))
    await bench.handler.accept(1, 0, frame(0), lambda: done.append(1))
    await bench.handler.assign({1: 5})
    await bench.handler.settle()
    assert done == [1]


async def test_a_kafka_log_that_began_anew_is_read_from_its_start(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    for offset in range(4):
        await bench.handler.handle(0, offset, frame(offset))
    heir = Bench(client)
    assert await heir.handler.assign({0: 2}) == {}, "the log has 2 records: it is not the one of which 4 were applied"
    for offset in (0, 1):
        await heir.handler.handle(0, offset, frame(4 + offset))
    assert await positions(client) == everyone_at(5)
    assert (await verdicts(client))["live"] == 30


async def test_a_redis_that_hangs_holds_the_frames_and_loses_none(own_engine: Engine) -> None:
    done: list[int] = []
    async with connect(f"redis://{own_engine.address}/0", timeout_s=2.0) as client:
        bench = Bench(client)
        async with running(bench):
            await bench.handler.accept(0, 0, frame(0), lambda: done.append(0))
            await until(lambda: done == [0])
            os.kill(own_engine.process.pid, signal.SIGSTOP)
            try:
                for offset in range(1, 6):
                    await bench.handler.accept(0, offset, frame(offset), lambda at=offset: done.append(at))
                await until(lambda: bench.handler.redis_away is not None)
                assert done == [0]
            finally:
                os.kill(own_engine.process.pid, signal.SIGCONT)
            await until(lambda: done == [0, 1, 2, 3, 4, 5])
            assert await positions(client) == everyone_at(5)
            assert (await verdicts(client))["live"] == 30
            await until(lambda: bench.handler.redis_away is None)


async def test_a_redis_that_died_and_came_back_empty_is_filled_again(own_engine: Engine) -> None:
    done: list[int] = []
    async with connect(f"redis://{own_engine.address}/0", timeout_s=3.0) as client:
        bench = Bench(client)
        async with running(bench):
            await bench.handler.accept(0, 0, frame(0), lambda: done.append(0))
            await until(lambda: done == [0])
            own_engine.process.kill()
            await bench.handler.accept(0, 1, frame(1, [0]), lambda: done.append(1))
            await until(lambda: bench.handler.redis_away is not None)
            await asyncio.to_thread(own_engine.restart)
            await until(lambda: done == [0, 1])
            assert await positions(client) == {**everyone_at(0), "driver-0": 1}
            assert (await verdicts(client))["live"] == 6


async def test_assignment_while_redis_is_away_is_made_up_for(own_engine: Engine) -> None:
    async with connect(f"redis://{own_engine.address}/0", timeout_s=3.0) as client:
        first = Bench(client)
        await first.handler.handle(0, 0, frame(0))
        os.kill(own_engine.process.pid, signal.SIGSTOP)
        heir = Bench(client)
        try:
            with suppress(redis.exceptions.RedisError):
                await heir.handler.assign({0: 1})
            assert heir.handler.unassigned
        finally:
            os.kill(own_engine.process.pid, signal.SIGCONT)
        async with running(heir):
            await until(lambda: heir.handler.unassigned is None)
        assert heir.handler.partitions[0].next_offset == 1


async def test_what_another_worker_did_meanwhile_is_not_skipped_when_redis_hung_at_the_assignment(
    own_engine: Engine,
) -> None:
    async with connect(f"redis://{own_engine.address}/0", timeout_s=3.0) as client:
        first, other = Bench(client), Bench(client)
        await first.handler.assign({0: 0})
        await first.handler.handle(0, 0, frame(0))
        first.handler.revoke()
        await other.handler.assign({0: 3})
        for offset in (1, 2):
            await other.handler.handle(0, offset, frame(offset))
        os.kill(own_engine.process.pid, signal.SIGSTOP)
        try:
            with suppress(redis.exceptions.RedisError):
                await first.handler.assign({0: 3})
        finally:
            os.kill(own_engine.process.pid, signal.SIGCONT)
        # Kafka's committed offset is where the other worker has come to.
        await first.handler.handle(0, 3, frame(3))
        assert sum((await verdicts(client)).values()) == 4 * 5
        assert first.handler.partitions[0].next_offset == 4


async def test_no_ping_is_too_odd_to_be_folded(client: redis.asyncio.Redis) -> None:
    bench = Bench(client)
    odd = [
        ping(0, 0, accuracy_m=0.0), ping(0, 0, ping_id="\u2028"), ping(1, -200_000_000), ping(1, 10_000_000),
    ]  # fmt: skip
    odd += [Ping("ß/{r}", START_MS, lat, lon, 0) for lat in (-90.0, 90.0) for lon in (-180.0, 180.0)]
    await bench.handler.handle(0, 0, encode_frame(odd))
    assert sum((await verdicts(client)).values()) == len(odd)
