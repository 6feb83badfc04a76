"""Take trips to Kafka's `trip.events`, whole, and say when Kafka has them. Runs on the loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from kafka.errors import KafkaError

from ingest.events import partition_of
from ingest.trips import Trip, encode_trip

log = logging.getLogger(__name__)


class NotAcknowledged(Exception):
    """Kafka may have the trip or not; `args[0]` says why nobody knows, for the client."""


class RecordLog(Protocol):
    """Where records go: `link.KafkaLink` of `trip.events`."""

    trouble: str | None

    def append(
        self, partition: int, value: bytes, done: Callable[[BaseException | None], None], key: bytes | None = None
    ) -> None: ...
    def flush(self) -> None: ...
    def rebuild(self) -> None: ...


class TripProducer:
    """Publishes trips, each within `ack_timeout_s`. The same trip twice is harmless: a record is all of it."""

    def __init__(self, records: RecordLog, partitions: int, ack_timeout_s: float) -> None:
        self._records, self._partitions, self._ack_timeout_s = records, partitions, ack_timeout_s
        self._last_ack_s = self._rebuilt_s = time.monotonic()

    def refusal(self) -> str | None:
        """Why Kafka cannot be written to now, for the client; None when it can, as far as we know."""
        return self._records.trouble

    async def publish(self, trip: Trip) -> None:
        """Return once Kafka has the trip in the partition of everybody who has driven it. Raises NotAcknowledged."""
        if self._records.trouble is not None:
            raise NotAcknowledged(self._records.trouble)
        sent_s = time.monotonic()
        waiting = [self._append(partition, key, trip) for partition, key in self._addresses(trip).items()]
        self._records.flush()
        await asyncio.wait(waiting, timeout=self._ack_timeout_s)
        if any(one.cancelled() or not one.done() or one.exception() is not None for one in waiting):
            for one in waiting:
                one.cancel()
            self._suspect(sent_s)
            raise NotAcknowledged("Kafka did not acknowledge the trip in time")
        self._last_ack_s = time.monotonic()

    def _addresses(self, trip: Trip) -> dict[int, bytes]:
        """Partition -> key. Drivers who share a partition share a record; the present one's is keyed by them."""
        drivers = [*sorted(trip.drivers - {trip.driver_id}), trip.driver_id]
        return {partition_of(driver, self._partitions): driver.encode() for driver in drivers}

    def _append(self, partition: int, key: bytes, trip: Trip) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[None] = loop.create_future()

        def done(error: BaseException | None) -> None:  # on the client's thread
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(partial(_settle, acknowledged, error))

        try:
            self._records.append(partition, encode_trip(trip), done, key)
        except KafkaError as error:
            _settle(acknowledged, error)
        return acknowledged

    def _suspect(self, sent_s: float) -> None:
        """Unless Kafka has acknowledged something since, the client may be stuck: it is made anew."""
        if sent_s > max(self._last_ack_s, self._rebuilt_s):
            self._rebuilt_s = time.monotonic()
            log.warning("Kafka did not acknowledge a trip")
            self._records.rebuild()


def _settle(acknowledged: asyncio.Future[None], error: BaseException | None) -> None:
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(error)
