"""No record is skipped when partitions change hands, and one that were would be missed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer

from infra.kafka import create_topics
from infra.local.engines import Engines
from infra.settings import DEFAULT_PARTITIONS
from ingest.events import PINGS_TOPIC, TRIP_EVENTS_TOPIC, TRIPS_TABLE_TOPIC
from ingest.topics import topics
from stream.app import build_app
from stream.gaps import GapWatch, first_from
from stream.settings import StreamSettings

PINGS, TRIPS, TABLE = TP(PINGS_TOPIC, 0), TP(TRIP_EVENTS_TOPIC, 0), TP(TRIPS_TABLE_TOPIC, 0)


class Ended(Exception):
    """The worker was told to end."""


def end(why: str, **extra: object) -> None:
    raise Ended(why, extra)


def watch(kept: set[int]) -> GapWatch:
    """On a Kafka that has these offsets."""

    async def lowest(_: TP, offset: int) -> int:
        return min(one for one in kept if one >= offset)

    return GapWatch(lowest, end)


# --- where partitions begin to flow, in Faust's consumer ----------------------------------------------------------


def consumer_of_a_worker() -> Any:
    """Faust's consumer as the worker has it, with a table, and not connected to anything."""
    handler: Any = SimpleNamespace(assign=None)
    trips: Any = SimpleNamespace()
    app = build_app(StreamSettings(), handler, trips, watch(set()))
    app.finalize()
    consumer: Any = app.consumer
    consumer.assignment = lambda: {PINGS, TRIPS, TABLE}
    consumer.pause_partitions(consumer.assignment())
    return consumer


def flowing(consumer: Any) -> set[TP]:
    return set(consumer._get_active_partitions())


async def test_pings_and_trips_flow_only_when_faust_has_emptied_its_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, they came into queues that were then emptied: 22 acknowledged pings were never folded."""
    consumer = consumer_of_a_worker()
    app = consumer.app
    seen: list[tuple[str, set[TP]]] = []

    async def note_seek() -> None:
        seen.append(("seek", flowing(consumer)))

    async def nothing() -> None:
        pass

    consumer.perform_seek = note_seek
    monkeypatch.setattr(app.flow_control, "clear", lambda: seen.append(("emptied", flowing(consumer))))
    app._fetcher = SimpleNamespace(maybe_start=nothing)
    app.assignor = SimpleNamespace(assigned_standbys=set)
    # As Faust does when it reads a table back: the flow is active before the sources may flow.
    app.flow_control.resume()
    consumer.resume_flow()
    await app.tables.recovery.on_recovery_completed(app.consumer_generation_id)
    assert [what for what, _ in seen] == ["emptied", "seek", "emptied"]
    assert not any({PINGS, TRIPS} & active for _, active in seen)
    assert {PINGS, TRIPS} <= flowing(consumer)


async def test_a_partition_revoked_while_it_waits_to_flow_does_not_flow() -> None:
    consumer = consumer_of_a_worker()
    consumer.resume_partitions({PINGS, TRIPS, TABLE})
    assert flowing(consumer) == {TABLE}
    consumer.pause_partitions({PINGS, TABLE})
    consumer.resume_flow()
    assert flowing(consumer) == {TRIPS}


async def test_an_agent_that_has_room_again_lets_no_revoked_partition_flow() -> None:
    consumer = consumer_of_a_worker()
    consumer.resume_partitions({PINGS})
    consumer.resume_flow()
    consumer.on_buffer_full(PINGS)
    consumer.pause_partitions({PINGS})
    consumer.on_buffer_drop(PINGS)
    assert flowing(consumer) == set()


# --- what a worker would miss -------------------------------------------------------------------------------------


@given(
    st.integers(0, 9),
    st.integers(1, 9),
    st.lists(st.integers(-9, -1), max_size=3),
    st.integers(2, 5),
    st.sampled_from(["skipped", "deleted"]),
)
async def test_a_gap_is_told_and_a_repetition_is_not(
    start: int, taken: int, seeks_back: list[int], missing: int, why: str
) -> None:
    last = start + taken - 1
    gaps = watch({*range(last + 1), last + missing} | (set(range(last, last + missing)) if why == "skipped" else set()))
    gaps.goes_on({PINGS: start, TRIPS: None})
    await gaps.look(TRIPS, 1_000)  # where its log begins is nobody's gap
    for offset in range(start, last + 1):
        await gaps.look(PINGS, offset)
    for back in seeks_back:
        for offset in range(max(0, last + back), last + 1):
            await gaps.look(PINGS, offset)
    assert gaps.deleted == 0
    if why == "skipped":
        with pytest.raises(Ended) as ended:
            await gaps.look(PINGS, last + missing)
        where = {"topic": PINGS_TOPIC, "partition": 0, "offset": last + 1, "records": missing - 1}
        assert ended.value.args == ("records that Kafka has were skipped", where)
    else:
        await gaps.look(PINGS, last + missing)
        assert gaps.deleted == missing - 1


async def test_also_the_first_record_after_a_hand_over_may_be_the_one_after_a_gap() -> None:
    gaps = watch(set(range(20)))
    gaps.goes_on({PINGS: 7})
    with pytest.raises(Ended):
        await gaps.look(PINGS, 8)


async def test_a_worker_that_cannot_ask_kafka_for_what_is_missing_ends() -> None:
    async def away(*_: object) -> int:
        raise OSError("no route to Kafka")

    gaps = GapWatch(away, end)
    gaps.goes_on({PINGS: 0})
    with pytest.raises(Ended, match="cannot be asked"):
        await gaps.look(PINGS, 1)


@pytest.mark.pipeline
async def test_kafka_says_which_record_it_has_next(engines: Engines) -> None:
    create_topics(engines.kafka.address, topics(DEFAULT_PARTITIONS, 1))
    producer = KafkaProducer(bootstrap_servers=[engines.kafka.address])
    for _ in range(3):
        producer.send(PINGS_TOPIC, value=b"", partition=0).get(10)
    producer.close()
    assert [await first_from(engines.kafka.address, PINGS, offset, 20.0) for offset in (0, 2)] == [0, 2]
    with pytest.raises(TimeoutError):
        await first_from(engines.kafka.address, PINGS, 3, 0.5)


# --- what a fetch brings ------------------------------------------------------------------------------------------


class OneFetch:
    """aiokafka's consumer as a thread of Faust's uses it, with a fetch that `meanwhile` happens in."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._closed, self.sought = False, dict[TP, int]()
        self.asked_for: object = None
        self._meanwhile = meanwhile
        self._fetcher = SimpleNamespace(
            _closed=False,
            _subscriptions=SimpleNamespace(fetch_context=nullcontext),
            fetched_records=self._fetched_records,
        )

    async def _fetched_records(self, partitions: object, **_: object) -> dict[TP, list[Any]]:
        self.asked_for = partitions
        self._meanwhile()
        return {PINGS: [SimpleNamespace(offset=22), SimpleNamespace(offset=23)]}

    def seek(self, tp: TP, offset: int) -> None:
        self.sought[tp] = offset


async def fetched(consumer: Any, fetch: OneFetch, active: set[TP]) -> Any:
    return await consumer._thread._fetch_records(fetch, active, timeout=1.0)


async def test_what_a_fetch_brings_after_its_partition_was_paused_is_fetched_again() -> None:
    consumer = consumer_of_a_worker()
    active = {PINGS}
    assert set(await fetched(consumer, OneFetch(), active)) == {PINGS}
    late = OneFetch(meanwhile=lambda: consumer.pause_partitions({PINGS}))
    assert await fetched(consumer, late, active) == {}
    assert late.sought == {PINGS: 22}


async def test_a_fetch_asks_for_what_was_active_and_for_nothing_when_all_is_paused() -> None:
    """An empty set means everything to aiokafka, and Faust's changes while the fetch waits."""
    consumer = consumer_of_a_worker()
    active = {TABLE}
    fetch = OneFetch(meanwhile=active.clear)
    await fetched(consumer, fetch, active)
    assert fetch.asked_for == {TABLE}
    nothing = OneFetch()
    assert await fetched(consumer, nothing, set()) == {}
    assert nothing.asked_for is None
