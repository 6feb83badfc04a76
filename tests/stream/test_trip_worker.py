"""Trips in workers, on a real Kafka and a real Redis: killed, wiped, handed over, and told to other systems."""

from __future__ import annotations

import asyncio
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

pytestmark = pytest.mark.pipeline

#: Two drivers whose partitions are not the same.
ONE = "driver-0"
OTHER = next(f"driver-{n}" for n in range(1, 40) if partition_of(f"driver-{n}", 2) != partition_of(ONE, 2))
WAY = [NEW, ENROUTE_TO_PICKUP, ARRIVED_AT_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE]


@pytest.fixture
def workers(engines: Engines, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(engines, tmp_path)
    yield workers
    workers.stop()


def ordered(trip_id: str = "t-1", driver_id: str = ONE) -> Trip:
    """A new trip. Its driver drives north, past the pickup at step 3 and the dropoff at step 30."""
    number = int(driver_id.removeprefix("driver-"))
    at = [Place(41.0 + number * 0.01 + step * 0.001, -8.6) for step in (3, 30)]
    created = TripEvent("v1", CREATED, START_MS - 1_000, NEW, driver_id, 1, "dispatch")
    return Trip(trip_id, 1, 1, driver_id, "rider-1", NEW, *at, START_MS - 1_000, [created])


def then(trip: Trip, state: str, type_: str = STATE_CHANGED, **changes: Any) -> Trip:
    """The trip after one more thing happened to it."""
    changed = msgspec.structs.replace(trip, version=trip.version + 1, state=state, **changes)
    event = TripEvent(f"v{changed.version}", type_, START_MS, state, changed.driver_id, changed.assignment, "dispatch")
    return msgspec.structs.replace(changed, history=[*trip.history, event])


def given_to(trip: Trip, driver_id: str) -> Trip:
    return then(trip, NEW, REASSIGNED, driver_id=driver_id, assignment=trip.assignment + 1)


def send(workers: Workers, trip: Trip, *to: str) -> None:
    """Put a trip's record where ingest does: into the partition of each of its drivers (or only of those named)."""
    for driver_id in to or sorted(trip.drivers):
        partition = partition_of(driver_id, DEFAULT_PARTITIONS)
        workers.producer.send(TRIP_EVENTS_TOPIC, encode_trip(trip), driver_id.encode(), partition=partition)
    workers.producer.flush(10)


def drive(workers: Workers, steps: range, driver: int = 0) -> None:
    for step in steps:
        workers.send([ping(driver, step)])
    workers.producer.flush(10)


def ask(workers: Workers, question: Callable[[redis.asyncio.Redis], Any]) -> Any:
    async def read() -> Any:
        async with redis.asyncio.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
            return await question(client)

    return asyncio.run(read())


def kept(workers: Workers, trip_id: str = "t-1") -> TripSnapshot | None:
    snapshot: TripSnapshot | None = ask(workers, lambda client: TripIndex(client).snapshot(trip_id))
    return snapshot


def until_kept(workers: Workers, holds: Callable[[TripSnapshot], object], trip_id: str = "t-1") -> TripSnapshot:
    found: list[TripSnapshot] = []

    def look() -> bool:
        snapshot = kept(workers, trip_id)
        if snapshot is None or not holds(snapshot):
            return False
        found.append(snapshot)
        return True

    until(look, 60.0, lambda: f"{trip_id}: {kept(workers, trip_id)}")
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

    until(look, 30.0, lambda: f"{topic} has {len(found)} of {at_least}")
    consumer.close()
    return found


def test_a_trip_is_told_in_redis_and_in_kafka_with_its_car(workers: Workers) -> None:
    workers.start()
    trip = ordered()
    send(workers, trip)
    send(workers, trip := then(trip, ENROUTE_TO_PICKUP))
    until_kept(workers, lambda snapshot: told(snapshot) == ["v1", "v2"])
    for step in range(6):
        # One by one, as a phone sends them: two fixes in a row at the pickup are an arrival.
        drive(workers, range(step, step + 1))
        seen_ms = START_MS + step * 10_000
        until_kept(workers, lambda at, seen=seen_ms: at.car is not None and at.car.fix_time_ms == seen)
    snapshot = kept(workers)
    assert snapshot is not None
    assert snapshot.car is not None
    assert snapshot.car.driver_id == ONE
    for state in (ARRIVED_AT_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE):
        send(workers, trip := then(trip, state))
    snapshot = until_kept(workers, lambda at: at.trip.state == COMPLETE and at.car is None)
    assert told(snapshot) == ["v1", "v2", "v3", "v4", "v5"]
    updates = [json.loads(record.value) for record in records(workers, TRIP_UPDATES_TOPIC, snapshot.offset)]
    assert [one["offset"] for one in updates] == list(range(1, snapshot.offset + 1))
    assert [one["event_id"] for one in updates] == [entry.event.event_id for entry in snapshot.entries]
    assert {record.key for record in records(workers, TRIP_UPDATES_TOPIC, 1)} == {b"t-1"}
    assert len(ask(workers, lambda client: TripIndex(client).track("t-1"))) == 6


@pytest.mark.timeout(180)
def test_trips_go_on_when_their_worker_is_killed_in_the_middle(workers: Workers) -> None:
    first = workers.start()
    trips = [ordered(f"t-{n}", f"driver-{n}") for n in range(20)]
    steps = 0

    def all_do(state: str) -> None:
        nonlocal trips, steps
        trips = [then(trip, state) for trip in trips]
        for number, trip in enumerate(trips):
            send(workers, trip)
            drive(workers, range(steps, steps + 2), number)
        steps += 2

    for trip in trips:
        send(workers, trip)
    all_do(ENROUTE_TO_PICKUP)
    until_kept(workers, lambda at: at.offset >= 2, "t-0")
    first.kill()
    all_do(ARRIVED_AT_PICKUP)
    second = workers.start()
    all_do(ENROUTE_TO_DROPOFF)
    until_kept(workers, lambda at: at.trip.state == ENROUTE_TO_DROPOFF, "t-5")
    second.kill()
    all_do(COMPLETE)
    workers.start()
    count = 0
    for trip in trips:
        snapshot = until_kept(workers, lambda at: at.trip.state == COMPLETE, trip.trip_id)
        assert told(snapshot) == ["v1", "v2", "v3", "v4", "v5"]
        assert len(ask(workers, lambda client, trip_id=trip.trip_id: TripIndex(client).track(trip_id))) >= 6
        count += snapshot.offset
    updates = [json.loads(record.value) for record in records(workers, TRIP_UPDATES_TOPIC, count)]
    once = {(one["trip_id"], one["offset"]) for one in updates}
    assert len(once) == count, "each event is published at least once"
    for trip in trips:
        offsets = [one["offset"] for one in updates if one["trip_id"] == trip.trip_id]
        first_seen = list(dict.fromkeys(offsets))
        assert first_seen == sorted(first_seen), "and in order"


@pytest.mark.parametrize("halves", [(ONE, OTHER), (OTHER, ONE)], ids=["old driver first", "new driver first"])
def test_a_trip_is_given_to_another_driver_whichever_half_comes_first(
    workers: Workers, halves: tuple[str, str]
) -> None:
    workers.start()
    trip = ordered()
    send(workers, trip)
    send(workers, trip := then(trip, ENROUTE_TO_PICKUP))
    drive(workers, range(3))
    until_kept(workers, lambda at: at.car is not None and at.car.fix_time_ms == START_MS + 20_000)
    trip = given_to(trip, OTHER)
    number = int(OTHER.removeprefix("driver-"))
    for half in halves:
        send(workers, trip, half)
        drive(workers, range(3, 5))
        drive(workers, range(3, 5), number)
    snapshot = until_kept(
        workers, lambda at: at.car is not None and (at.car.driver_id, at.car.fix_time_ms) == (OTHER, START_MS + 40_000)
    )
    assert told(snapshot) == ["v1", "v2", "v3"]
    assert snapshot.trip.driver_id == OTHER
    send(workers, then(trip, ENROUTE_TO_PICKUP))
    assert told(until_kept(workers, lambda at: at.trip.version == 4)) == ["v1", "v2", "v3", "v4"]


def test_a_wiped_redis_has_its_trips_again_and_so_has_ingests_ledger(workers: Workers) -> None:
    workers.start()
    trip = ordered()
    send(workers, trip)
    send(workers, trip := then(trip, ENROUTE_TO_PICKUP))
    drive(workers, range(3))
    before = until_kept(workers, lambda at: at.car is not None and at.car.fix_time_ms == START_MS + 20_000)
    with redis.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
        client.flushall()
    after = until_kept(workers, lambda at: at.epoch > before.epoch and at.car is not None)
    assert (after.trip, after.car, after.offset) == (before.trip, before.car, before.offset)
    assert [entry.event for entry in after.entries] == [entry.event for entry in before.entries]
    assert len(ask(workers, lambda client: TripIndex(client).track("t-1"))) == 3

    async def in_ledger(client: redis.asyncio.Redis) -> Trip | None:
        entry, _ = await Ledger(client, DEFAULT_PARTITIONS).read("t-1")
        return entry.trip if entry is not None else None

    until(lambda: ask(workers, in_ledger) == trip, 10.0, "the ledger does not have the trip")


def test_a_trip_survives_its_worker_and_redis_at_once(workers: Workers) -> None:
    first = workers.start()
    trip = ordered()
    send(workers, trip)
    send(workers, trip := then(trip, ENROUTE_TO_PICKUP))
    records(workers, TRIP_UPDATES_TOPIC, 2)
    first.kill()
    with redis.Redis.from_url(f"redis://{workers.engines.redis.address}/0") as client:
        client.flushall()
    workers.start()
    assert told(until_kept(workers, lambda at: at.trip == trip)) == ["v1", "v2"]
    drive(workers, range(2))
    until_kept(workers, lambda at: at.car is not None and at.car.fix_time_ms == START_MS + 10_000)


def test_a_record_that_is_no_trip_is_put_aside_and_the_next_trip_goes_on(workers: Workers) -> None:
    workers.start()
    partition = partition_of(ONE, DEFAULT_PARTITIONS)
    workers.producer.send(TRIP_EVENTS_TOPIC, b"\xc1 no trip", ONE.encode(), partition=partition)
    send(workers, ordered())
    until_kept(workers, lambda at: at.offset == 1)
    (record,) = records(workers, REJECTED_TOPIC, 1)
    assert record.value == b"\xc1 no trip"
    assert dict(record.headers) == {"reason": b"undecodable", "source": f"trip.events/{partition}/0".encode()}


def test_zones_are_told_in_the_trip_or_else_in_their_own_topic(workers: Workers, tmp_path: Path) -> None:
    ring = [[-8.7, 41.0095], [-8.5, 41.0095], [-8.5, 41.2], [-8.7, 41.2], [-8.7, 41.0095]]
    zone = {
        "type": "Feature",
        "properties": {"id": "airport", "kind": "airport"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (tmp_path / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [zone]}))
    workers.start(zones_geojson=tmp_path / "zones.geojson")
    send(workers, ordered())
    for step in range(8, 13):  # driver-0 enters at step 10; the other is inside all the time
        for number in (0, int(OTHER.removeprefix("driver-"))):
            drive(workers, range(step, step + 1), number)
        seen_ms = START_MS + step * 10_000
        until_kept(workers, lambda at, seen=seen_ms: at.car is not None and at.car.fix_time_ms == seen)
    snapshot = until_kept(workers, lambda at: at.offset == 2)
    assert snapshot.entries[1].event.type == "geofence.entered"
    assert snapshot.entries[1].event.zone_id == "airport"
    found = [json.loads(record.value) for record in records(workers, ZONE_EVENTS_TOPIC, 1)]
    assert [(one["type"], one["driver_id"], one["zone_id"]) for one in found] == [
        ("geofence.entered", OTHER, "airport")
    ]
