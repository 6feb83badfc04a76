"""Trips in a real Redis: an event is logged once, a car never goes back, and who is behind is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from ingest.trips import CREATED, ENROUTE_TO_PICKUP, NEW, STATE_CHANGED, Place, Trip, TripEvent
from stream.trip_channels import TrackFix, TripCar, TripDelta, TripOutcome, TripWrite, trip_channel, unpack_trip_delta
from stream.trip_index import TripIndex


def event(number: int, type_: str = STATE_CHANGED, driver_id: str = "d-1", assignment: int = 1) -> TripEvent:
    return TripEvent(f"v{number}", type_, 1_000 * number, ENROUTE_TO_PICKUP, driver_id, assignment)


def trip(version: int = 1, driver_id: str = "d-1", assignment: int = 1) -> Trip:
    history = [event(1, CREATED), *(event(number) for number in range(2, version + 1))]
    return Trip("t-1", version, assignment, driver_id, "r-1", NEW, Place(40.7, -74), Place(40.8, -74), 1_000, history)


def car(fix_time_ms: int, driver_id: str = "d-1", assignment: int = 1) -> TripCar:
    return TripCar(assignment, driver_id, fix_time_ms, 40.7, -74.0, fix_time_ms)


def write(of: Trip, **more: object) -> TripWrite:
    return TripWrite(of, whole=True, events=of.history, **more)  # type: ignore[arg-type]


@pytest.fixture
def index(client: redis.asyncio.Redis) -> TripIndex:
    return TripIndex(client, kept_events=4)


@pytest.fixture
async def deltas(client: redis.asyncio.Redis) -> AsyncIterator[asyncio.Queue[TripDelta]]:
    """What is published of t-1."""
    heard: asyncio.Queue[TripDelta] = asyncio.Queue()
    async with client.pubsub() as pubsub:
        await pubsub.ssubscribe(trip_channel("t-1"))

        async def listen() -> None:
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
                if message is not None:
                    heard.put_nowait(unpack_trip_delta(message["data"]))

        await pubsub.get_message(timeout=5.0)
        listening = asyncio.create_task(listen())
        yield heard
        listening.cancel()


async def test_a_trip_and_its_log_are_read_as_they_were_written(index: TripIndex) -> None:
    of = trip(2)
    (reply,) = await index.apply(
        [write(of, car=car(5_000), fixes=[TrackFix(5_000, 40.7, -74), TrackFix(4_000, 40.6, -74)])]
    )
    assert reply == (TripOutcome.WRITTEN, 2, 0)
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert (snapshot.trip, snapshot.car, snapshot.offset, snapshot.seq) == (of, car(5_000), 2, 1)
    assert [(entry.offset, entry.event) for entry in snapshot.entries] == [(1, of.history[0]), (2, of.history[1])]
    assert [fix.fix_time_ms for fix in await index.track("t-1")] == [4_000, 5_000]
    assert (await index.positions_of(["t-1", "t-2"])) == {"t-1": (snapshot.epoch, 1), "t-2": (0, 0)}


async def test_a_trip_nobody_wrote_is_none(index: TripIndex) -> None:
    assert await index.snapshot("t-9") is None
    assert (await index.load(["t-9"]))["t-9"].snapshot is None


async def test_an_event_is_logged_once_however_often_it_is_written(index: TripIndex) -> None:
    for version in (1, 2, 2, 3, 3):
        await index.apply([write(trip(version))])
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert [(entry.offset, entry.event.event_id) for entry in snapshot.entries] == [(1, "v1"), (2, "v2"), (3, "v3")]


async def test_who_is_behind_is_refused_and_changes_nothing(index: TripIndex) -> None:
    taken = trip(3, driver_id="d-2", assignment=2)
    await index.apply([write(taken, car=car(9_000, "d-2", 2))])
    before = await index.snapshot("t-1")
    late = TripWrite(trip(2), whole=False, car=car(10_000), events=[event(99)], fixes=[TrackFix(10_000, 1.0, 1.0)])
    assert (await index.apply([late]))[0].outcome is TripOutcome.SUPERSEDED
    assert await index.snapshot("t-1") == before
    assert await index.track("t-1") == []


async def test_a_new_driver_begins_a_new_track_and_has_no_car_yet(index: TripIndex) -> None:
    await index.apply([write(trip(1), car=car(5_000), fixes=[TrackFix(5_000, 40.7, -74)])])
    await index.apply([write(trip(2, "d-2", 2))])
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert snapshot.car is None
    assert await index.track("t-1") == []


async def test_a_fix_that_is_another_riders_affair_is_taken_out_of_the_track(index: TripIndex) -> None:
    fixes = [TrackFix(at_ms, 40.7, -74) for at_ms in (4_000, 5_000, 6_000)]
    await index.apply([write(trip(), fixes=fixes)])
    await index.apply([write(trip(), fixes=[TrackFix(7_000, 40.7, -74)], removed=[4_000, 6_000, 9_000])])
    assert [fix.fix_time_ms for fix in await index.track("t-1")] == [5_000, 7_000]


async def test_a_car_never_goes_back(index: TripIndex) -> None:
    await index.apply([write(trip(1), car=car(5_000))])
    await index.apply([TripWrite(trip(1), whole=False, car=car(4_000))])
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert snapshot.car == car(5_000)
    assert snapshot.seq == 1


async def test_a_redis_that_lost_the_trip_says_so(index: TripIndex, client: redis.asyncio.Redis) -> None:
    await index.apply([write(trip(1))])
    first = await index.snapshot("t-1")
    await client.flushall()
    assert (await index.apply([TripWrite(trip(1), whole=False, car=car(1))]))[0].outcome is TripOutcome.MISSING
    assert await index.snapshot("t-1") is None
    await index.apply([write(trip(1))])
    again = await index.snapshot("t-1")
    assert first is not None
    assert again is not None
    assert again.epoch > first.epoch
    assert [entry.offset for entry in again.entries] == [1]


async def test_the_log_keeps_its_newest_events_and_their_offsets(index: TripIndex) -> None:
    await index.apply([write(trip(7))])
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert [entry.offset for entry in snapshot.entries] == [4, 5, 6, 7]
    assert snapshot.offset == 7
    await index.apply([write(trip(7))])
    assert (await index.snapshot("t-1")) == snapshot


async def test_what_is_published_is_what_changed(index: TripIndex, deltas: asyncio.Queue[TripDelta]) -> None:
    await index.apply([write(trip(1), car=car(5_000))])
    await index.apply([TripWrite(trip(1), whole=False, car=car(6_000))])
    await index.apply([TripWrite(trip(1), whole=False, car=car(5_500))])  # changes nothing
    await index.apply([write(trip(2))])
    await index.apply([TripWrite(trip(2), whole=False, events=[event(2), event(7), event(1), event(8)])])
    await index.apply([TripWrite(trip(2), whole=False, events=[event(9), event(2)])])
    heard = [await asyncio.wait_for(deltas.get(), 60.0) for _ in range(5)]
    assert [delta.seq for delta in heard] == [1, 2, 3, 4, 5]
    assert [delta.offset for delta in heard] == [1, 1, 2, 4, 5]
    assert [delta.car.fix_time_ms if delta.car else None for delta in heard] == [5_000, 6_000, None, None, None]
    assert [None if delta.entries is None else [entry.offset for entry in delta.entries] for delta in heard] == [
        [1], [], [2], None, None,
    ]  # fmt: skip


async def test_what_was_published_to_kafka_is_remembered(index: TripIndex) -> None:
    await index.apply([write(trip(3))])
    await index.mark_published({"t-1": 2, "t-2": 5})
    await index.mark_published({"t-1": 1})
    (reply,) = await index.apply([write(trip(3))])
    assert reply.published == 2
    assert (await index.load(["t-1"]))["t-1"].published == 2
    assert await index.snapshot("t-2") is None


async def test_a_car_that_is_gone_is_gone_once(index: TripIndex) -> None:
    await index.apply([write(trip(1), car=car(5_000))])
    for _ in range(2):
        await index.apply([TripWrite(trip(1), whole=False, car_gone=True)])
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert snapshot.car is None
    assert snapshot.seq == 2


@pytest.mark.parametrize("kept", [1, 4])
async def test_a_write_of_many_events_is_trimmed_like_many_writes(client: redis.asyncio.Redis, kept: int) -> None:
    index = TripIndex(client, kept_events=kept)
    await index.apply([write(trip(6))])
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert [entry.offset for entry in snapshot.entries] == list(range(7 - kept, 7))


async def test_who_is_wrong_about_the_log_puts_nothing_into_it(index: TripIndex) -> None:
    await index.apply([write(trip(2))])
    late = TripWrite(trip(2), whole=False, car=car(9_000), events=[event(7)], log_offset=1)
    assert await index.apply([late]) == [(TripOutcome.SUPERSEDED, 2, 0)]
    snapshot = await index.snapshot("t-1")
    assert snapshot is not None
    assert (snapshot.offset, snapshot.car) == (2, None)
    late.log_offset = 2
    assert await index.apply([late]) == [(TripOutcome.WRITTEN, 3, 0)]


async def test_a_trip_that_was_forgotten_is_taken_whatever_its_writer_thinks_of_the_log(index: TripIndex) -> None:
    assert await index.apply([write(trip(2), log_offset=7)]) == [(TripOutcome.WRITTEN, 2, 0)]
