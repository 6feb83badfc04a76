"""Faust's Kafka transport: waits less for a fetch and in a rebalance, goes on where Redis says, and skips nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

import aiokafka
import uvloop
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.gaps import GapWatch

log = logging.getLogger(__name__)

#: A fetch that finds nothing takes `fetch_max_wait_ms`. Partitions that were just assigned are fetched within that,
#: or the broker is in trouble, and then what it says when asked must do.
FETCHED_WITHIN_S, FETCH_POLL_S = 2.0, 0.005
#: A fetch that finds nothing ends after this, not after Faust's second: the next one asks for what flows by then.
FETCH_SLICE_S = 0.2
#: Pauses between asking for the ends of the logs. The longest Kafka election takes seconds.
ENDS_PAUSES_S = (0.1, 0.3, 1.0, 3.0)
#: A log's end that nobody knows: the partition is ours all the same, and only a log that began anew goes unnoticed.
NO_END = 1 << 62

#: Given the end of each assigned partition's log, says at which offset to go on (only where that is known).
Assign = Callable[[Mapping[int, int]], Awaitable[Mapping[int, int]]]


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust sets `fetch_max_wait_ms=1500` and offers no setting for it."""

    logger = driver.logger

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: Collection[TP],
        timeout: float = FETCH_SLICE_S,  # noqa: ASYNC109 - Faust's
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        """Fetch what is active now, and give back what was paused before it came.

        Faust hands over its own set, which changes while a fetch waits, and to aiokafka an empty one means all: records
        of paused partitions were fetched after it had been sought where they go on, and then thrown away.
        """
        ours = cast(Consumer, self.consumer)
        wanted, pauses = frozenset(active_partitions), ours.pauses
        if not wanted:
            return {}
        records: Mapping[TP, list[Any]] = await super()._fetch_records(
            consumer, wanted, min(timeout, FETCH_SLICE_S), max_records
        )
        if ours.pauses == pauses:
            return records
        for tp, fetched in records.items():
            with suppress(IllegalStateError):  # it is another worker's
                consumer.seek(tp, fetched[0].offset)
        return {}

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust takes a table that is only written for a stream that hangs. Our watchdog looks (worker.py)."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = cast(Transport, transport).fetch_max_wait_ms  # read when it starts
        return consumer


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Starts each partition after the last frame whose effect is in Redis.

    Kafka's committed offset may be behind that (then frames would be read again, only to be skipped), and a fault in
    the commit could put it ahead (then frames would be lost; see Faust issue 606).
    """

    logger = driver.logger

    #: When a rebalance stops waiting for frames to be written; monotonic.
    _give_up_at_s = 0.0
    #: Partitions that are to flow as soon as the flow is resumed.
    _held: frozenset[TP] = frozenset()
    #: How often partitions were paused.
    pauses = 0

    def _new_consumer_thread(self) -> ConsumerThread:
        # Faust's thread makes itself a plain asyncio loop, whoever runs the main one; a fetch costs less on uvloop.
        thread = ConsumerThread(self, loop=self.loop, beacon=self.beacon, thread_loop=uvloop.new_event_loop())
        thread._close_thread_loop_on_stop = True  # as it would its own
        return thread

    async def wait_empty(self) -> None:
        """Wait until what was taken is written, but not longer than Kafka waits for us; then commit what is.

        After the rebalance timeout Kafka goes on without this member anyway. What is not written then is not
        acknowledged: its next owner repeats it, and the fences make our late write of it harmless.
        """
        self._give_up_at_s = time.monotonic() + cast(Transport, self.transport).rebalance_timeout_s
        await super().wait_empty()

    def _clean_unacked_messages(self) -> None:
        # Faust's loop in `wait_empty` calls this once a second, just before it asks whether any message is left. To
        # leave none ends the loop in its own way; to cancel it would not (it swallows that while it waits for an
        # ack), or would in the middle of a commit, whose offsets Faust has then forgotten.
        super()._clean_unacked_messages()
        if self._unacked_messages and time.monotonic() >= self._give_up_at_s:
            log.warning(
                "frames were not written in the time of a rebalance; leaving them to be repeated",
                extra={"frames": len(self._unacked_messages)},
            )
            self._unacked_messages.clear()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Let a table's partitions flow at once, and the others with the next `resume_flow`.

        With a table, Faust lets the sources flow before `perform_seek` has said where they go on, and then resumes the
        flow, which empties the queues of its agents: what had come into them in between was skipped, for ever.
        """
        tables = {tp for tp in tps if self._is_changelog_tp(tp)}
        self._held |= frozenset(tps) - tables
        super().resume_partitions(tables)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch nothing from these until they are resumed: not either because an agent's full queue is empty again."""
        self.pauses += 1
        self._held -= frozenset(tps)
        self._buffered_partitions.difference_update(tps)
        super().pause_partitions(tps)

    def resume_flow(self) -> None:
        """Called right after the queues were emptied."""
        super().resume_flow()
        super().resume_partitions(self._held)
        self._held = frozenset()

    async def perform_seek(self) -> None:
        await super().perform_seek()
        transport = cast(Transport, self.transport)
        ends = await self._ends_at_last()
        tps = [tp for tp in self.assignment() if tp.topic == transport.topic and tp.partition in ends]
        try:
            starts = await transport.assign({tp.partition: ends[tp.partition] for tp in tps})
        except Exception as error:  # Redis is away: a raise here would end Faust's recovery for good
            log.warning("cannot ask where to go on; using Kafka's offsets", extra={"error": repr(error)})
            starts = {}
        seeks = {
            tp: starts[tp.partition]
            for tp in tps
            if tp.partition in starts and starts[tp.partition] != self._committed_offset[tp]
        }
        if seeks:
            await self.seek_wait(seeks)
            self._committed_offset.update(seeks)
        self._tell_gaps()

    def _tell_gaps(self) -> None:
        sources = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        cast(Transport, self.transport).gaps.goes_on({tp: self._committed_offset[tp] for tp in sources})

    async def _ends_at_last(self) -> dict[int, int]:
        """The end of each assigned partition's log, or NO_END when Kafka does not say, however often it is asked."""
        topic = cast(Transport, self.transport).topic
        for pause_s in ENDS_PAUSES_S:
            tps = [tp for tp in self.assignment() if tp.topic == topic]
            try:
                return await self._log_ends(tps)
            except Exception as error:  # Kafka is away, or the next rebalance has begun
                log.warning("cannot ask Kafka for the ends of the logs", extra={"error": repr(error)})
                await asyncio.sleep(pause_s)
        return {tp.partition: NO_END for tp in self.assignment() if tp.topic == topic}

    async def _log_ends(self, tps: list[TP]) -> dict[int, int]:
        if not tps:
            return {}
        give_up_at_s = time.monotonic() + FETCHED_WITHIN_S
        # The thread that fetches offers no event for it.
        while any(self.highwater(tp) is None for tp in tps) and time.monotonic() < give_up_at_s:  # noqa: ASYNC110
            await asyncio.sleep(FETCH_POLL_S)
        return {tp.partition: end for tp, end in (await self.highwaters(*tps)).items()}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The end of each partition's log: as Kafka is asked for it, or as the last fetch said where that is later.

        Tansu, when asked, counts its last batch as one record, however many there are; its fetches tell the truth.
        Were that believed, a log would seem to have begun anew, and frames would be counted twice.
        """
        ends = await super().highwaters(*partitions)
        ours = self.assignment()
        return {tp: max(end, self.highwater(tp) or 0) if tp in ours else end for tp, end in ends.items()}

    async def bounds(self, tp: TP) -> tuple[int, int]:
        """The first offset of a partition that is not committed, and the log's end. Raises what the client raises."""
        ends, starts = await self.highwaters(tp), await self.earliest_offsets(tp)
        return max(starts.get(tp) or 0, self._committed_offset[tp] or 0), ends[tp]


class Transport(driver.Transport):  # type: ignore[misc]
    """A transport for one source topic."""

    Consumer = Consumer

    def __init__(
        self,
        url: Any,
        app: Any,
        topic: str,
        fetch_max_wait_ms: int,
        rebalance_timeout_s: float,
        assign: Assign,
        gaps: GapWatch,
        **options: Any,
    ) -> None:
        super().__init__(url, app, **options)
        self.topic, self.fetch_max_wait_ms, self.rebalance_timeout_s = topic, fetch_max_wait_ms, rebalance_timeout_s
        self.assign, self.gaps = assign, gaps
