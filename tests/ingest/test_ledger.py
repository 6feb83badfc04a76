"""The ledger in a real Redis: one version after the other, each request once, and given back after a wipe."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import redis.asyncio

from infra.redis import connect
from ingest.idempotency import Answered, RequestKey
from ingest.ledger import ACTIVE_TTL_MS, ANSWER_TTL_MS, ENDED_TTL_MS, Ledger, answer_key, ledger_key
from ingest.rejections import KEPT, RejectedPing, RejectionLog, rejections_key, rejections_of
from ingest.transitions import Illegal, Wish, advance, cancel, create
from ingest.trips import Place, Trip

KEY = RequestKey("scope", b"digest")


def trip(version: int = 1, trip_id: str = "t-1") -> Trip:
    made: Trip | Illegal = create(trip_id, Wish("d-1", "r-1", Place(40.7, -74), Place(40.8, -74)), "dispatch", 1_000)
    for state in ("ENROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP", "ENROUTE_TO_DROPOFF")[: version - 1]:
        assert isinstance(made, Trip)
        made = advance(made, state, "driver", 2_000)
    assert isinstance(made, Trip)
    return made


@pytest.fixture
def ledger(client: redis.asyncio.Redis) -> Ledger:
    return Ledger(client, partitions=2)


async def test_a_trip_is_read_as_it_was_committed(ledger: Ledger) -> None:
    assert await ledger.read("t-1", KEY) == (None, None)
    answered = Answered(KEY.digest, 201, b'{"trip_id":"t-1"}')
    assert await ledger.commit(trip(), (KEY, answered))
    entry, again = await ledger.read("t-1", KEY)
    assert entry == (trip(), 0, False)
    assert again == answered
    assert (await ledger.read("t-1", RequestKey("other", b"")))[1] is None


async def test_of_decisions_on_the_same_version_one_counts(ledger: Ledger) -> None:
    assert await ledger.commit(trip(), None)
    assert not await ledger.commit(trip(), None), "a trip is made once"
    rivals = [ledger.commit(trip(2), (RequestKey(f"k{one}", b""), Answered(b"", 200, b""))) for one in range(20)]
    assert sum(await asyncio.gather(*rivals)) == 1
    assert not await ledger.commit(trip(4), None), "no version is skipped"
    entry, _ = await ledger.read("t-1")
    assert entry is not None
    assert entry.trip.version == 2
    answers = [(await ledger.read("t-1", RequestKey(f"k{one}", b"")))[1] for one in range(20)]
    assert sum(answer is not None for answer in answers) == 1, "and only its request has an answer"


async def test_a_request_that_was_answered_is_not_carried_out_again(ledger: Ledger) -> None:
    assert await ledger.commit(trip(), (KEY, Answered(KEY.digest, 201, b"")))
    assert not await ledger.commit(trip(2), (KEY, Answered(KEY.digest, 200, b"")))


async def test_published_never_goes_back_and_brings_nothing_to_life(
    ledger: Ledger, client: redis.asyncio.Redis
) -> None:
    assert not await ledger.mark_published(trip(3))
    assert not await client.exists(ledger_key("t-1"))
    for version in (1, 2, 3):
        await ledger.commit(trip(version), None)
    assert await ledger.mark_published(trip(2))
    assert await ledger.mark_published(trip(3))
    assert await ledger.mark_published(trip(1)), "the trip has gone on from there"
    entry, _ = await ledger.read("t-1")
    assert entry is not None
    assert entry.published == 3


async def test_nothing_is_published_that_the_ledger_does_not_have(ledger: Ledger, client: redis.asyncio.Redis) -> None:
    await ledger.restore([trip(1)])
    assert not await ledger.mark_published(trip(2)), "lost on its way"
    assert await ledger.read("t-1") == ((trip(1), 0, True), None)
    other = cancel(trip(1), "dispatch", 2_000)
    assert isinstance(other, Trip)
    await ledger.commit(other, None)
    assert not await ledger.mark_published(trip(2)), "the trip's second version is another one now"
    assert not await ledger.mark_published(msgspec.structs.replace(trip(1), history=other.history[1:]))
    entry, _ = await ledger.read("t-1")
    assert entry is not None
    assert entry.published < 2
    await client.hset(ledger_key("t-1"), "published", "7")
    assert await ledger.mark_published(other)
    entry, _ = await ledger.read("t-1")
    assert entry == (other, 2, False), "also what an older release left is put right"


async def test_trips_and_answers_are_forgotten_in_time(ledger: Ledger, client: redis.asyncio.Redis) -> None:
    await ledger.commit(trip(), (KEY, Answered(KEY.digest, 201, b"")))
    assert ACTIVE_TTL_MS - 60_000 < await client.pttl(ledger_key("t-1")) <= ACTIVE_TTL_MS
    assert ANSWER_TTL_MS - 60_000 < await client.pttl(answer_key("t-1", KEY)) <= ANSWER_TTL_MS
    ended = cancel(trip(), "driver", 2_000)
    assert isinstance(ended, Trip)
    await ledger.commit(ended, None)
    assert ENDED_TTL_MS - 60_000 < await client.pttl(ledger_key("t-1")) <= ENDED_TTL_MS


async def test_an_order_binds_its_key_once(ledger: Ledger) -> None:
    assert await ledger.claim(KEY)
    assert await ledger.claim(KEY)
    assert not await ledger.claim(RequestKey(KEY.scope_id, b"another"))


async def test_what_redis_lost_is_given_back_and_what_it_knows_better_stays(ledger: Ledger) -> None:
    await ledger.commit(trip(1, "t-better"), None)
    await ledger.commit(trip(2, "t-better"), None)
    many = [trip(2, f"t-{number}") for number in range(450)]
    await ledger.restore([*many, trip(1, "t-better")])
    entry, _ = await ledger.read("t-449")
    assert entry == (trip(2, "t-449"), 0, True), "and is in doubt: does Kafka have it for all its drivers?"
    entry, _ = await ledger.read("t-better")
    assert entry == (trip(2, "t-better"), 0, False)
    await ledger.restore([trip(3, "t-449")])
    await ledger.restore([])
    entry, _ = await ledger.read("t-449")
    assert entry == (trip(3, "t-449"), 0, True)
    assert await ledger.mark_published(trip(3, "t-449"))
    await ledger.restore([trip(2, "t-449"), trip(3, "t-449")])
    assert await ledger.commit(trip(4, "t-449"), None)
    entry, _ = await ledger.read("t-449")
    assert entry == (trip(4, "t-449"), 3, False), "and goes on from there"


async def test_partitions_are_missing_until_their_worker_says_otherwise(
    ledger: Ledger, client: redis.asyncio.Redis
) -> None:
    assert await ledger.missing_partitions() == [0, 1]
    await ledger.mark_restored(1)
    assert (await ledger.is_restored(0), await ledger.is_restored(1)) == (False, True)
    await ledger.mark_restored(0)
    assert await ledger.missing_partitions() == []
    await client.flushall()
    assert await ledger.missing_partitions() == [0, 1]


async def test_the_last_rejections_of_a_driver_are_told_newest_first(client: redis.asyncio.Redis) -> None:
    lost: list[int] = []
    log = RejectionLog(client, lost.append)
    log.note("d-1", 1, None, "malformed")
    await log.flush()
    for number in range(2, 14):
        log.note("d-1", number, number - 1, "too_old")
    log.note("d-2", 5, 2**70, "future_fix")
    log.note("", 5, 5, "missing_driver_id")
    log.note("not an id", 5, 5, "malformed")
    await log.flush()
    assert await rejections_of(client, "d-1") == [RejectedPing(at, at - 1, "too_old") for at in range(13, 3, -1)]
    assert await rejections_of(client, "d-2") == [RejectedPing(5, None, "future_fix")]
    assert await rejections_of(client, "d-3") == []
    assert await client.llen(rejections_key("d-1")) == KEPT
    assert 0 < await client.pttl(rejections_key("d-1")) <= 3_600_000
    assert lost == []


async def test_rejections_are_dropped_and_counted_while_redis_is_away() -> None:
    lost: list[int] = []
    async with connect("redis://127.0.0.1:1/0", timeout_s=1.0) as nowhere:
        log = RejectionLog(nowhere, lost.append)
        for number in range(15):
            log.note("d-1", number, None, "malformed")
        await log.flush()
        assert lost == [10], "the last ten of them, and they are not kept for later"
        await log.flush()
        assert lost == [10]
