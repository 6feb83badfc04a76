"""The scripts in a real Redis: write, sequence and publish are one step, once only, and never against a fresh car."""

from __future__ import annotations

import asyncio

import redis.asyncio

from stream.audit import cars, regions
from stream.channels import Car, RegionDelta, Removal, channel_of, drivers_key, meta_key, unpack_delta
from stream.index import DriverIndex, RegionChange, RegionWrite

REGION, OTHER = 0x86184B8EFFFFFFF, 0x86184B8D7FFFFFF


def car(driver_id: str, fix_time_ms: int = 1_000) -> Car:
    return Car(driver_id, fix_time_ms, 41.15, -8.61, 617998244045651967, 0)


def setting(*those: Car) -> RegionChange:
    return RegionChange({one.driver_id: one for one in those})


async def deltas_of(client: redis.asyncio.Redis, region: int) -> redis.asyncio.client.PubSub:
    pubsub = client.pubsub()
    await pubsub.ssubscribe(channel_of(region))
    while (message := await pubsub.get_message(timeout=5)) is None or message["type"] != "ssubscribe":
        pass
    return pubsub


async def next_delta(pubsub: redis.asyncio.client.PubSub, timeout_s: float = 30.0) -> RegionDelta | None:
    async with asyncio.timeout(timeout_s + 5):
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            message = await pubsub.get_message(timeout=0.05)
            if message is not None and message["type"] == "smessage":
                return unpack_delta(message["data"])
    return None


async def test_what_is_published_is_what_is_stored_with_the_same_number(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    pubsub = await deltas_of(client, REGION)
    await index.apply({REGION: setting(car("a"), car("b"))}, "0", 0)
    first = await next_delta(pubsub)
    change = RegionChange({"c": car("c")}, {"a": Removal("a", 1_000)})
    await index.apply({REGION: change}, "0", 1)
    second = await next_delta(pubsub)
    snapshot = await index.snapshot(REGION)
    assert first == RegionDelta(snapshot.epoch, 1, [car("a"), car("b")], [])
    assert second == RegionDelta(snapshot.epoch, 2, [car("c")], [Removal("a", 1_000)])
    assert snapshot.seq == 2
    assert sorted(one.driver_id for one in snapshot.cars) == ["b", "c"]
    assert await index.positions_of([REGION, OTHER]) == {REGION: (snapshot.epoch, 2), OTHER: (0, 0)}
    await pubsub.aclose()


async def test_a_repeated_frame_changes_nothing_and_says_nothing(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a", 2_000))}, "0", 5)
    pubsub = await deltas_of(client, REGION)
    assert await index.apply({REGION: setting(car("a", 1_000))}, "0", 5) == {REGION: 0}
    assert await index.apply({REGION: setting(car("a", 1_000))}, "0", 4) == {REGION: 0}
    assert await next_delta(pubsub, 0.3) is None
    assert (await index.snapshot(REGION)).cars == [car("a", 2_000)]
    assert await index.apply({REGION: setting(car("b"))}, "1", 4) == {REGION: 2}, "other partitions are free"
    await pubsub.aclose()


async def test_a_region_that_is_written_again_after_a_wipe_is_never_taken_for_the_one_before(
    client: redis.asyncio.Redis,
) -> None:
    index = DriverIndex(client)
    epochs = set()
    for _ in range(50):
        await client.flushdb()
        await index.apply({REGION: setting(car("a"))}, "0", 7)
        epoch, seq = (await index.positions_of([REGION]))[REGION]
        assert seq == 1
        epochs.add(epoch)
    assert len(epochs) == 50


async def test_removing_who_is_not_there_is_not_published(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a"))}, "0", 0)
    change = RegionChange({}, {"b": Removal("b", 1)})
    assert await index.apply({REGION: change}, "0", 1) == {REGION: 1}
    assert await index.apply({REGION: setting(car("c"))}, "0", 1) == {REGION: 0}, "it was applied all the same"


async def test_eviction_takes_only_the_very_car(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a", 1_000), car("b", 1_000))}, "0", 0)
    await index.apply({REGION: setting(car("a", 2_000))}, "0", 1)
    pubsub = await deltas_of(client, REGION)
    assert await index.evict(REGION, [car("a", 1_000), car("b", 1_000)]) == 1
    delta = await next_delta(pubsub)
    assert (await index.snapshot(REGION)).cars == [car("a", 2_000)]
    assert delta is not None
    assert delta.seq == 3
    assert await index.evict(REGION, [car("b", 1_000)]) == 0
    assert (await index.positions_of([REGION]))[REGION] == (delta.epoch, 3), "an eviction of nobody does not count"
    await pubsub.aclose()


async def test_a_redis_that_forgot_its_scripts_is_given_them_again(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a"))}, "0", 0)
    await client.script_flush()
    assert await index.apply({REGION: setting(car("b"))}, "0", 1) == {REGION: 2}
    await client.script_flush()
    assert await index.evict(REGION, [car("a")]) == 1


async def test_readers_who_notice_together_that_the_scripts_are_forgotten_all_read(
    client: redis.asyncio.Redis,
) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a"))}, "0", 0)
    await index.snapshot(REGION)
    await client.script_flush()
    for snapshot in await asyncio.gather(*(index.snapshot(REGION) for _ in range(8))):
        assert snapshot.cars == [car("a")]


async def test_a_region_of_ten_thousand_drivers_is_one_atomic_write(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    fleet = [car(f"driver-{number}") for number in range(10_000)]
    assert await index.apply({REGION: setting(*fleet)}, "0", 0) == {REGION: 1}
    assert len((await index.snapshot(REGION)).cars) == 10_000
    gone = RegionChange({}, {one.driver_id: Removal(one.driver_id, 1_000) for one in fleet[:9_000]})
    assert await index.apply({REGION: gone}, "0", 1) == {REGION: 2}
    assert len((await index.snapshot(REGION)).cars) == 1_000


async def test_readers_never_see_a_region_between_two_states(client: redis.asyncio.Redis) -> None:
    """Each write sets both drivers to one time: a snapshot that shows two times has seen the middle of a write."""
    index = DriverIndex(client)
    done = False

    async def write() -> None:
        nonlocal done
        for at in range(300):
            await index.apply({REGION: setting(car("a", at), car("b", at))}, "0", at)
        done = True

    async def read() -> int:
        seen = 0
        while not done:
            snapshot = await index.snapshot(REGION)
            times = {one.fix_time_ms for one in snapshot.cars}
            assert len(times) <= 1
            assert not times or times == {snapshot.seq - 1}
            seen += 1
        return seen

    _, seen = await asyncio.gather(write(), read())
    assert seen > 0


async def test_one_call_that_fails_is_raised_after_the_others_were_run(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await client.set(drivers_key(REGION), "not a hash")
    writes = [RegionWrite(region, setting(car("a")), "0", 0) for region in (REGION, OTHER)]
    try:
        await index.write(writes)
        raise AssertionError("a wrong type must be raised")
    except redis.exceptions.ResponseError:
        pass
    assert (await index.snapshot(OTHER)).cars == [car("a")]


async def test_an_operator_sees_every_region_and_no_other_key(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a")), OTHER: setting(car("b"))}, "0", 0)
    assert sorted(await regions(client)) == sorted([REGION, OTHER])
    assert sorted(one.driver_id for _, one in await cars(client)) == ["a", "b"]
    assert await client.exists(meta_key(REGION))


async def test_a_removal_afterwards_leaves_a_car_that_a_worker_ahead_has_set(client: redis.asyncio.Redis) -> None:
    index = DriverIndex(client)
    await index.apply({REGION: setting(car("a", 3_000), car("b", 2_000))}, "0", 4)
    late = RegionChange({}, {driver_id: Removal(driver_id, 2_000) for driver_id in "abc"})
    await index.apply({REGION: late}, "0+", 2)
    snapshot = await index.snapshot(REGION)
    assert (snapshot.seq, [one.driver_id for one in snapshot.cars]) == (2, ["a"])
