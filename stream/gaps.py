"""See that each record a worker was to go on with reaches it: whatever lies between was skipped, or Kafka lost it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

log = logging.getLogger(__name__)

#: The lowest offset at or after this one at which Kafka has a record. Raises what a client raises, and TimeoutError.
FirstFrom = Callable[[TP, int], Awaitable[int]]


#: Ends the worker: (why, **what a log line says of it).
End = Callable[..., object]


class GapWatch:
    """Compares the offset of each record with the one that was to come."""

    def __init__(self, first_from: FirstFrom, end: End) -> None:
        """`end` is called when a record was skipped: the next worker reads it, because its offsets are in Redis."""
        self._first_from, self._end = first_from, end
        self._expected: dict[TP, int] = {}
        #: Records that Kafka had deleted before they were read.
        self.deleted = 0

    def goes_on(self, starts: Mapping[TP, int | None]) -> None:
        """These partitions are ours now, and no others, and go on at these offsets; None: wherever their logs begin."""
        self._expected = {tp: start for tp, start in starts.items() if start is not None}

    async def look(self, tp: TP, offset: int) -> None:
        """This record is here. Call it before the record is taken."""
        expected = self._expected.get(tp, offset)
        self._expected[tp] = offset + 1
        if offset <= expected:
            return
        where = {"topic": tp.topic, "partition": tp.partition, "offset": expected, "records": offset - expected}
        try:
            first = await self._first_from(tp, expected)
        except Exception as error:
            self._end("records are missing, and Kafka cannot be asked for them", error=repr(error), **where)
            return
        if first < offset:
            self._end("records that Kafka has were skipped", **where)
            return
        self.deleted += offset - expected
        log.error("Kafka deleted records before they were read; keep the topic's longer", extra=where)


async def first_from(kafka: str, tp: TP, offset: int, within_s: float) -> int:
    """The lowest offset at or after `offset` at which the Kafka at these addresses has a record."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    partition = TopicPartition(tp.topic, tp.partition)
    async with asyncio.timeout(within_s):
        await consumer.start()
        try:
            consumer.assign([partition])
            consumer.seek(partition, offset)
            return int((await consumer.getone()).offset)
        finally:
            await consumer.stop()
