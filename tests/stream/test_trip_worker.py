"""Trips in workers, on a real Kafka and a real Redis: killed, wiped, handed over, and told to other systems."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import redis.asyncio
from kafka import KafkaConsumer, TopicPartition

from infra.local.engines import Engines
from infra.settings import DEFAULT_PARTITIONS
from ingest.events import (
    REJECTED_TOPIC,
    TRIP_EVENTS_TOPIC,
    TRIP_UPDATES_TOPIC,
    ZONE_EVENTS_TOPIC,
    partition_of,
)
from ingest.ledger import Ledger
from ingest.trips import (
    ARRIVED_AT_PICKUP,
    COMPLETE,
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    REASSIGNED,
    STATE_CHANGED,
    Place,
    Trip,
    TripEvent,
    encode_trip,
)
from stream.trip_channels import TripSnapshot
from stream.trip_index import TripIndex
from tests.pipeline.polling import until
from tests.stream.frames import START_MS, ping
from tests.stream.worker import Workers

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(400)]


def _numbers(partition: int) -> Iterator[int]:
    return (n for n in itertools.count() if partition_of(f"driver-{n}", DEFAULT_PARTITIONS) == partition)


#: Numbers of drivers that no test has used yet, by their partition.
_fresh = [_numbers(partition) for partition in range(DEFAULT_PARTITIONS)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """One worker for all tests that leave it alive."""
    folder = tmp_path_factory.mktemp("trips")
    with Engines(folder) as engines:
        workers = Workers(engines, folder)
        workers.start()
        yield workers
        workers.stop()


@pytest.fixture
def workers(engines: Engines, tmp_path: Path) -> Iterator[Workers]:
    """Engines of the test's own, on which it starts and kills workers."""
    workers = Workers(engines, tmp_path)
    yield workers
    workers.stop()


@pytest.fixture
def driver() -> int:
    """Somebody who has not driven yet."""
    return next(_fresh[0])


@pytest.fixture
def other() -> int:
    """Somebody of another partition."""
    return next(_fresh[1])


def ordered(driver: int) -> Trip:
    """A new trip, t-<driver>. Its driver drives north, past the pickup at step 3 and the dropoff at step 30."""
    driver_id, trip_id = f"driver-{driver}", f"t-{driver}"
    at = [Place(41.0 + driver * 0.01 + step * 0.001, -8.6) for step in (3, 30)]
    created = TripEvent("v1", CREATED, START_MS - 1_000, NEW, driver_id, 1, "dispatch")
    return Trip(trip_id, 1, 1, driver_id, "rider-1", NEW, *at, START_MS - 1_000, [created])


def then(trip: Trip, state: str, type_: str = STATE_CHANGED, at_ms: int = START_MS, **changes: Any) -> Trip:
    """The trip after one more thing happened to it, at `at_ms`."""
    changed = msgspec.structs.replace(trip, version=trip.version + 1, state=state, **changes)
    event = TripEvent(f"v{changed.version}", type_, at_ms, state, changed.driver_id, changed.assignment, "dispatch")
    return msgspec.structs.replace(changed, history=[*trip.history, event])


def given_to(trip: Trip, driver: int) -> Trip:
    return then(trip, NEW, REASSIGNED, driver_id=f"driver-{driver}", assignment=trip.assignment + 1)


def send(workers: Workers, trip: Trip, *to: int) -> None:
    """Put a trip's record where ingest does: into the partition of each of its drivers (or only of those named)."""
    for driver_id in [f"driver-{driver}" for driver in to] or sorted(trip.drivers):
        partition = partition_of(driver_id, DEFAULT_PARTITIONS)
        workers.producer.send(TRIP_EVENTS_TOPIC, encode_trip(trip), driver_id.encode(), partition=partition)
    workers.producer.flush(60)


def drive(workers: Workers, steps: range, driver: int) -> None:
    for step in steps:
        workers.send([ping(driver, step)])
    workers.producer.flush(60)


def ask(workers: Workers, question: Callable[[redis.asyncio.Redis], Any]) -> Any:
    async def read() -> Any:
        async with redis.asyncio.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
            return await question(client)

    return asyncio.run(read())


def kept(workers: Workers, trip_id: str) -> TripSnapshot | None:
    snapshot: TripSnapshot | None = ask(workers, lambda client: TripIndex(client).snapshot(trip_id))
    return snapshot


def until_kept(workers: Workers, trip_id: str, holds: Callable[[TripSnapshot], object]) -> TripSnapshot:
    found: list[TripSnapshot] = []

    def look() -> bool:
        snapshot = kept(workers, trip_id)
        if snapshot is None or not holds(snapshot):
            return False
        found.append(snapshot)
        return True

    until(look, 120.0, lambda: f"{trip_id}: {kept(workers, trip_id)}")
    return found[0]


def told(snapshot: TripSnapshot) -> list[str]:
    """What people did to the trip, by event ids, as the log has it. Fails when offsets are not contiguous."""
    assert [entry.offset for entry in snapshot.entries] == list(range(1, snapshot.offset + 1))
    ids = [entry.event.event_id for entry in snapshot.entries]
    assert len(set(ids)) == len(ids)
    return [event_id for event_id in ids if event_id.startswith("v")]


def records(workers: Workers, topic: str, at_least: int) -> list[Any]:
    """The topic's records, once there are so many."""
    consumer = KafkaConsumer(
        bootstrap_servers=[workers.engines.kafka.address], auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    consumer.assign([TopicPartition(topic, number) for number in range(DEFAULT_PARTITIONS)])
    found: list[Any] = []

    def look() -> bool:
        for batch in consumer.poll(timeout_ms=200).values():
            found.extend(batch)
        return len(found) >= at_least

    until(look, 60.0, lambda: f"{topic} has {len(found)} of {at_least}")
    consumer.close()
    return found


def at_step(step: int) -> Callable[[TripSnapshot], object]:
    return lambda at: at.car is not None and at.car.fix_time_ms == START_MS + step * 10_000


def updates_of(workers: Workers, trip_id: str, at_least: int) -> list[Any]:
    """What `trip.updates` says of a trip, once it says so much."""
    found: list[Any] = []

    def look() -> bool:
        every = [json.loads(record.value) for record in records(workers, TRIP_UPDATES_TOPIC, at_least)]
        found[:] = [one for one in every if one["trip_id"] == trip_id]
        return len(found) >= at_least

    until(look, 60.0, lambda: f"{trip_id}: {found}")
    return found


def test_a_trip_is_told_in_redis_and_in_kafka_with_its_car(shared: Workers, driver: int) -> None:
    trip = ordered(driver)
    send(shared, trip)
    send(shared, trip := then(trip, ENROUTE_TO_PICKUP))
    until_kept(shared, trip.trip_id, lambda at: told(at) == ["v1", "v2"])
    for step in range(6):
        # One by one, as a phone sends them: two fixes in a row at the pickup are an arrival.
        drive(shared, range(step, step + 1), driver)
        until_kept(shared, trip.trip_id, at_step(step))
    for state in (ARRIVED_AT_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE):
        send(shared, trip := then(trip, state))
    snapshot = until_kept(shared, trip.trip_id, lambda at: at.trip.state == COMPLETE and at.car is None)
    assert told(snapshot) == ["v1", "v2", "v3", "v4", "v5"]
    updates = updates_of(shared, trip.trip_id, snapshot.offset)
    assert [one["offset"] for one in updates] == list(range(1, snapshot.offset + 1))
    assert [one["event_id"] for one in updates] == [entry.event.event_id for entry in snapshot.entries]
    assert len(ask(shared, lambda client: TripIndex(client).track(trip.trip_id))) == 6


@pytest.mark.parametrize("new_half_first", [False, True])
def test_a_trip_is_given_to_another_driver_whichever_half_comes_first(
    shared: Workers, driver: int, other: int, new_half_first: bool
) -> None:
    trip = ordered(driver)
    send(shared, trip)
    send(shared, trip := then(trip, ENROUTE_TO_PICKUP))
    drive(shared, range(3), driver)
    until_kept(shared, trip.trip_id, at_step(2))
    trip = given_to(trip, other)
    for half in (other, driver) if new_half_first else (driver, other):
        send(shared, trip, half)
        drive(shared, range(3, 5), driver)
        drive(shared, range(3, 5), other)
    snapshot = until_kept(
        shared, trip.trip_id, lambda at: at_step(4)(at) and at.car is not None and at.car.driver_id == f"driver-{other}"
    )
    assert told(snapshot) == ["v1", "v2", "v3"]
    assert snapshot.trip.driver_id == f"driver-{other}"
    send(shared, then(trip, ENROUTE_TO_PICKUP))
    assert told(until_kept(shared, trip.trip_id, lambda at: at.trip.version == 4)) == ["v1", "v2", "v3", "v4"]


def test_a_record_that_is_no_trip_is_put_aside_and_the_next_trip_goes_on(shared: Workers, driver: int) -> None:
    partition = partition_of(f"driver-{driver}", DEFAULT_PARTITIONS)
    shared.producer.send(TRIP_EVENTS_TOPIC, b"\xc1 no trip", b"driver", partition=partition)
    send(shared, ordered(driver))
    until_kept(shared, f"t-{driver}", lambda at: at.offset == 1)
    (record,) = records(shared, REJECTED_TOPIC, 1)
    assert record.value == b"\xc1 no trip"
    headers = dict(record.headers)
    assert headers["reason"] == b"undecodable"
    assert headers["source"].startswith(f"trip.events/{partition}/".encode())


def test_a_wiped_redis_has_its_trips_again_and_so_has_ingests_ledger(shared: Workers, driver: int) -> None:
    trip = ordered(driver)
    send(shared, trip)
    send(shared, trip := then(trip, ENROUTE_TO_PICKUP))
    drive(shared, range(3), driver)
    before = until_kept(shared, trip.trip_id, at_step(2))
    with redis.Redis.from_url(f"redis://{shared.engines.redis.address}/0") as client:
        client.flushall()
    after = until_kept(shared, trip.trip_id, lambda at: at.epoch > before.epoch and at.car is not None)
    assert (after.trip, after.car, after.offset) == (before.trip, before.car, before.offset)
    assert [entry.event for entry in after.entries] == [entry.event for entry in before.entries]
    assert len(ask(shared, lambda client: TripIndex(client).track(trip.trip_id))) == 3

    async def in_ledger(client: redis.asyncio.Redis) -> Trip | None:
        entry, _ = await Ledger(client, DEFAULT_PARTITIONS).read(trip.trip_id)
        return entry.trip if entry is not None else None

    until(lambda: ask(shared, in_ledger) == trip, 60.0, "the ledger does not have the trip")


@pytest.mark.chaos
def test_a_trip_survives_its_worker_and_redis_at_once(workers: Workers, driver: int) -> None:
    first = workers.start()
    trip = ordered(driver)
    send(workers, trip)
    send(workers, trip := then(trip, ENROUTE_TO_PICKUP))
    records(workers, TRIP_UPDATES_TOPIC, 2)
    # What is in trip.updates is in the table a moment later; a record that is not is read again.
    first.kill()
    with redis.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
        client.flushall()
    workers.start()
    assert told(until_kept(workers, trip.trip_id, lambda at: at.trip == trip)) == ["v1", "v2"]
    drive(workers, range(2), driver)
    until_kept(workers, trip.trip_id, at_step(1))


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_trips_go_on_when_their_worker_is_killed_in_the_middle(workers: Workers) -> None:
    first = workers.start()
    trips = [ordered(number) for number in range(20)]
    steps = 0

    def all_do(state: str) -> None:
        nonlocal trips, steps
        # What is read of a driver only after the end was known belongs to the trip up to that end.
        trips = [then(trip, state, at_ms=START_MS + steps * 10_000) for trip in trips]
        for number, trip in enumerate(trips):
            send(workers, trip)
            drive(workers, range(steps, steps + 2), number)
        steps += 2

    for trip in trips:
        send(workers, trip)
    all_do(ENROUTE_TO_PICKUP)
    until_kept(workers, "t-0", lambda at: at.offset >= 2)
    first.kill()
    all_do(ARRIVED_AT_PICKUP)
    second = workers.start()
    all_do(ENROUTE_TO_DROPOFF)
    until_kept(workers, "t-5", lambda at: at.trip.state == ENROUTE_TO_DROPOFF)
    second.kill()
    all_do(COMPLETE)
    workers.start()
    count = 0
    for trip in trips:
        snapshot = until_kept(workers, trip.trip_id, lambda at: at.trip.state == COMPLETE)
        assert told(snapshot) == ["v1", "v2", "v3", "v4", "v5"]
        assert len(ask(workers, lambda client, trip_id=trip.trip_id: TripIndex(client).track(trip_id))) >= 6
        count += snapshot.offset
    updates = [json.loads(record.value) for record in records(workers, TRIP_UPDATES_TOPIC, count)]
    assert len({(one["trip_id"], one["offset"]) for one in updates}) == count, "each event is published"
    for trip in trips:
        offsets = [one["offset"] for one in updates if one["trip_id"] == trip.trip_id]
        first_seen = list(dict.fromkeys(offsets))
        assert first_seen == sorted(first_seen), "and in order"


def test_zones_are_told_in_the_trip_or_else_in_their_own_topic(workers: Workers, tmp_path: Path) -> None:
    ring = [[-8.7, 41.0095], [-8.5, 41.0095], [-8.5, 41.5], [-8.7, 41.5], [-8.7, 41.0095]]
    zone = {
        "type": "Feature",
        "properties": {"id": "airport", "kind": "airport"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (tmp_path / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [zone]}))
    workers.start(zones_geojson=tmp_path / "zones.geojson")
    send(workers, ordered(0))
    for step in range(8, 13):  # driver-0 enters at step 10; driver-7 is inside all the time
        for number in (0, 7):
            drive(workers, range(step, step + 1), number)
        until_kept(workers, "t-0", at_step(step))
    snapshot = until_kept(workers, "t-0", lambda at: at.offset == 2)
    assert (snapshot.entries[1].event.type, snapshot.entries[1].event.zone_id) == ("geofence.entered", "airport")
    found = [json.loads(record.value) for record in records(workers, ZONE_EVENTS_TOPIC, 1)]
    assert [(one["type"], one["driver_id"], one["zone_id"]) for one in found] == [
        ("geofence.entered", "driver-7", "airport")
    ]


@pytest.mark.chaos
def test_a_track_survives_a_worker_that_was_killed_and_later_a_wipe(workers: Workers, driver: int, other: int) -> None:
    first = workers.start()
    trip = ordered(driver)
    send(workers, trip)
    drive(workers, range(4), driver)
    until_kept(workers, trip.trip_id, at_step(3))
    records(workers, TRIP_UPDATES_TOPIC, 1)
    first.kill()
    workers.start()
    drive(workers, range(2), other)
    workers.until_folded(6)
    with redis.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
        client.flushall()
    until_kept(workers, trip.trip_id, at_step(3))
    assert len(ask(workers, lambda client: TripIndex(client).track(trip.trip_id))) == 4
