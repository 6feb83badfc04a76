"""Faust's Kafka transport, made to wait less for a fetch and to go on where Redis says, not where Kafka does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

log = logging.getLogger(__name__)

#: Given the end of each assigned partition's log, says at which offset to go on (only where that is known).
Assign = Callable[[Mapping[int, int]], Awaitable[Mapping[int, int]]]


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust sets `fetch_max_wait_ms=1500` and offers no setting for it."""

    logger = driver.logger

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

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        await super().perform_seek()
        transport = cast(Transport, self.transport)
        tps = [tp for tp in self.assignment() if tp.topic == transport.topic]
        try:
            starts = await transport.assign(await self._log_ends(tps))
        except Exception as error:  # Redis or Kafka is away: a raise here would end Faust's recovery for good
            log.warning("cannot ask where to go on; using Kafka's offsets", extra={"error": repr(error)})
            return
        seeks = {
            tp: starts[tp.partition]
            for tp in tps
            if tp.partition in starts and starts[tp.partition] != self._committed_offset[tp]
        }
        if seeks:
            await self.seek_wait(seeks)
            self._committed_offset.update(seeks)

    async def _log_ends(self, tps: list[TP]) -> dict[int, int]:
        if not tps:
            return {}
        return {tp.partition: end for tp, end in (await self.highwaters(*tps)).items()}


class Transport(driver.Transport):  # type: ignore[misc]
    """A transport for one source topic."""

    Consumer = Consumer

    def __init__(self, url: Any, app: Any, topic: str, fetch_max_wait_ms: int, assign: Assign, **options: Any) -> None:
        super().__init__(url, app, **options)
        self.topic, self.fetch_max_wait_ms, self.assign = topic, fetch_max_wait_ms, assign
