"""Redis is wiped while trips are on their way to Kafka: nobody is told what is not so. A real Redis."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
import pytest
import redis.asyncio
import redis.exceptions

from infra.clock import WallClock
from ingest.bodies import Refused
from ingest.idempotency import RequestKey
from ingest.ledger import Ledger, ledger_key
from ingest.transitions import Illegal, Wish, advance, cancel, reassign
from ingest.trip_access import Actor
from ingest.trip_desk import Decide, TripDesk
from ingest.trip_producer import NotAcknowledged
from ingest.trips import ENROUTE_TO_PICKUP, Place, Trip
from tests.ingest.trips import PARTITIONS

WHO = Actor("acme", "dispatch")
WISH = Wish("d-1", "r-1", Place(41.0, -8.0), Place(41.1, -8.0))


def canceled(trip: Trip, now_ms: int) -> Trip | Illegal:
    return cancel(trip, "dispatch", now_ms)


def set_out(trip: Trip, now_ms: int) -> Trip | Illegal:
    return advance(trip, ENROUTE_TO_PICKUP, "dispatch", now_ms)


class SlowKafka:
    """A Publisher that has a record once `gate` is open, and acknowledges it or not."""

    def __init__(self) -> None:
        self.gate, self.asked = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.acknowledges = True
        self.published: list[Trip] = []

    def refusal(self) -> str | None:
        return None

    async def publish(self, trip: Trip) -> None:
        self.asked.set()
        await self.gate.wait()
        if not self.acknowledges:
            raise NotAcknowledged("Kafka did not acknowledge the trip in time")
        self.published.append(trip)


class Scene:
    """Ingest's desk, a Redis that can be wiped, and stream's workers, who give back what they are told."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client, self.kafka, self.ledger = client, SlowKafka(), Ledger(client, PARTITIONS)
        self.desk = TripDesk(self.ledger, self.kafka, WallClock())

    async def all_back(self, *trips: Trip) -> None:
        await self.ledger.restore(trips)
        for partition in range(PARTITIONS):
            await self.ledger.mark_restored(partition)

    async def begin(self, decide: Decide) -> asyncio.Task[int]:
        """A change of the trip whose record is on its way when this returns; the task is the answer's status."""
        self.kafka.gate.clear()
        self.kafka.asked.clear()
        task = asyncio.create_task(self.change(decide))
        await asyncio.wait_for(self.kafka.asked.wait(), 60)
        return task

    async def change(self, decide: Decide, key: RequestKey | None = None) -> int:
        try:
            return (await self.desk.change("t-1", WHO, key, decide)).status
        except Refused as refused:
            return refused.status

    async def told(self) -> tuple[int, str] | int:
        """The version and state that GET tells; or the status of its refusal."""
        try:
            trip = msgspec.json.decode((await self.desk.read("t-1", WHO)).body)
        except Refused as refused:
            return refused.status
        return trip["version"], trip["state"]


@pytest.fixture
async def scene(client: redis.asyncio.Redis) -> Scene:
    scene = Scene(client)
    await scene.all_back()
    await scene.desk.create("t-1", WISH, WHO, None)
    return scene


@pytest.mark.parametrize("back_first", [True, False])
async def test_a_change_that_redis_lost_on_its_way_is_in_doubt_and_not_lost(scene: Scene, back_first: bool) -> None:
    (first,) = scene.kafka.published
    answer = await scene.begin(set_out)
    await scene.client.flushall()
    if back_first:  # all that Kafka had when the worker looked
        await scene.all_back(first)
    scene.kafka.gate.set()
    assert await answer == 503
    if not back_first:
        assert await scene.told() == 503
        await scene.all_back(first)
    assert await scene.told() == (2, ENROUTE_TO_PICKUP), "Kafka has it, so it counts"
    key = RequestKey("k" * 32, b"digest")
    scene.kafka.acknowledges = False
    assert await scene.change(canceled, key) == 503
    scene.kafka.acknowledges = True
    assert await scene.change(canceled, key) == 200
    assert (scene.kafka.published[-1].version, scene.kafka.published[-1].state) == (3, "CANCELED")
    assert {trip.version: trip.state for trip in scene.kafka.published}[2] == ENROUTE_TO_PICKUP, "one second version"


async def test_a_change_that_kafka_may_have_is_given_back_to_a_wiped_redis(scene: Scene) -> None:
    (first,) = scene.kafka.published
    answer = await scene.begin(set_out)
    await scene.client.flushall()
    await scene.all_back(first)
    scene.kafka.acknowledges = False
    scene.kafka.gate.set()
    assert await answer == 503
    assert await scene.told() == 503, "in doubt"
    scene.kafka.acknowledges = True
    assert await scene.told() == (2, ENROUTE_TO_PICKUP)


async def test_of_two_second_versions_the_one_that_redis_lost_is_not_acknowledged(scene: Scene) -> None:
    (first,) = scene.kafka.published
    lost = await scene.begin(set_out)
    await scene.client.flushall()
    await scene.all_back(first)
    on_its_way, scene.kafka.gate = scene.kafka.gate, asyncio.Event()
    scene.kafka.gate.set()
    assert await scene.change(canceled) == 200
    on_its_way.set()
    assert await lost == 503
    assert await scene.told() == (2, "CANCELED")


async def test_a_published_mark_above_the_version_is_not_believed(scene: Scene) -> None:
    await scene.client.hset(ledger_key("t-1"), "published", "2")  # as an older release left it after a wipe
    assert await scene.change(canceled) == 200
    entry, _ = await scene.ledger.read("t-1")
    assert entry is not None
    assert entry.published == 2
    assert [trip.version for trip in scene.kafka.published] == [1, 1, 2]


async def test_a_restored_trip_is_published_to_all_its_drivers_before_it_is_told(scene: Scene) -> None:
    (first,) = scene.kafka.published
    given = reassign(first, "d-2", "", "dispatch", first.created_at_ms + 1)
    assert isinstance(given, Trip)
    await scene.client.flushall()
    await scene.ledger.restore([given])  # the former driver's worker has it; the new one's never heard of it
    assert await scene.told() == 503
    scene.kafka.acknowledges = False
    await scene.all_back(first)
    assert await scene.told() == 503
    with pytest.raises(Refused) as taken:
        await scene.desk.create("t-1", WISH, WHO, None)
    assert taken.value.status == 503
    scene.kafka.acknowledges = True
    assert await scene.told() == (2, "NEW")
    assert scene.kafka.published == [first, given]
    assert await scene.told() == (2, "NEW")
    assert scene.kafka.published == [first, given], "once is enough"


async def test_a_version_that_came_back_after_we_looked_is_the_one_that_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = scene.kafka.published
    second = set_out(first, first.created_at_ms + 1)
    assert isinstance(second, Trip)
    missing = scene.ledger.missing_partitions

    async def back_at_last(*trips: Trip) -> list[int]:
        await scene.all_back(*trips)
        return await missing()

    for before in ([first], []):
        await scene.client.flushall()
        await scene.ledger.restore(before)
        monkeypatch.setattr(scene.ledger, "missing_partitions", partial(back_at_last, second))
        assert await scene.told() == (2, ENROUTE_TO_PICKUP)


async def test_a_redis_that_goes_away_while_kafka_is_given_a_change_may_have_lost_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = scene.kafka.published

    async def broken(trip: Trip) -> bool:
        await scene.client.flushall()  # it was started anew, and the connection is of before
        await scene.all_back(first)
        raise redis.exceptions.ConnectionError("Connection closed by server")

    with monkeypatch.context() as patched:
        patched.setattr(scene.ledger, "mark_published", broken)
        assert await scene.change(set_out) == 503
    assert await scene.told() == (2, ENROUTE_TO_PICKUP)
