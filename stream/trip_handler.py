"""See trips into Redis before the frames they were joined with, and into Kafka after: in order, and each event once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec
from redis.exceptions import RedisError

from infra.clock import Clock
from ingest.events import TRIP_EVENTS_TOPIC, TRIP_UPDATES_TOPIC, ZONE_EVENTS_TOPIC, Ping, partition_of
from ingest.ledger import Ledger
from ingest.trips import Trip, TripRecordError, decode_trip
from stream.joins import Joined
from stream.metrics import StreamMetrics
from stream.partitions import Partition
from stream.patience import publish
from stream.trip_index import TripIndex
from stream.trips import PartitionTrips, TripRules
from stream.updates import encode_trip_update
from stream.zone_records import ZoneRecords
from stream.zone_tracker import ZoneTracker, encode_zone_event
from stream.zones import Zones

log = logging.getLogger(__name__)

#: A write finds out that the worker was behind, reads, and writes again: twice is a race, more is another worker's.
WRITES_AT_ONCE = 3
#: Records taken and not written yet; beyond this the worker stops reading, as for frames. Some KB each.
MAX_UNWRITTEN_RECORDS = 1_000


class Table(Protocol):
    """Where trips are kept for the next worker: `trip_table.TripTable`."""

    def values(self, partition: int) -> Iterator[bytes]: ...

    async def save(self, partition: int, trip_id: str, value: bytes | None) -> None: ...


#: Publishes a record and returns once Kafka has it: (topic, key, value, partition).
Publish = Callable[[str, bytes, bytes, int], Awaitable[None]]
#: Puts a record that is no trip aside: (topic, partition, offset, value, reason).
Reject = Callable[[str, int, int, bytes, str], Awaitable[None]]

#: Of a partition of trip.events: the first offset that was not applied when it was assigned, and the log's end now.
Bounds = Callable[[int], Awaitable[tuple[int, int]]]


@dataclass(slots=True, eq=False)
class TripRecord:
    """One Kafka record on its way; None for the trip of one that was put aside."""

    partition: int
    trip: Trip | None
    done: Callable[[], object]


class TripHandler:
    """Takes trip records and folded frames, for the partitions that it was told are ours.

    A record is done when its trip is in Redis, its events are in `trip.updates`, and it is in the trips table. Frames
    wait for Redis only: what they changed is in the log there, from which the next worker takes it.
    """

    def __init__(
        self,
        index: TripIndex,
        zone_records: ZoneRecords,
        ledger: Ledger,
        clock: Clock,
        rules: TripRules,
        partitions: int,
        zones: Zones | None,
        publish: Publish,
        reject: Reject,
        bounds: Bounds,
        metrics: StreamMetrics,
        wake: Callable[[], object],
    ) -> None:
        """`wake` is called when there is something to write; `write` is called then."""
        self._index, self._zone_records, self._ledger, self._clock = index, zone_records, ledger, clock
        self._rules, self._count, self._zones = rules, partitions, zones
        self._publish, self._reject, self._bounds, self._metrics, self._wake = publish, reject, bounds, metrics, wake
        self.joined: dict[int, Joined] = {}
        self.table: Table | None = None
        #: Records that wait for a write, and records that wait for Kafka after it.
        self._unwritten: list[TripRecord] = []
        self._unsaved: list[TripRecord] = []
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    # --- partitions --------------------------------------------------------------------------------------------

    def load(self, partition: int) -> None:
        """Begin a partition as the table has it, whatever was in memory. Redis is asked at the next write."""
        assert self.table is not None
        trips = PartitionTrips(partition, self._count, self._rules)
        for value in self.table.values(partition):
            try:
                trips.restore(value)
            except msgspec.DecodeError:
                log.error("a trip of the table is not of this version", extra={"partition": partition})
        zones = None if self._zones is None else ZoneTracker(self._zones, self._rules.now_within_ms)
        known = self.joined.get(partition)
        self.joined[partition] = joined = Joined(trips, zones, next_offset=known.next_offset if known else 0)
        for record in self._unsaved + self._unwritten:
            # They will be done, so they must not be forgotten.
            if record.partition == partition and record.trip is not None:
                joined.take(record.trip, self._clock.now_ms())

    def keep(self, partitions: Iterable[int]) -> None:
        """These partitions are ours, and no others."""
        ours = set(partitions)
        for partition in [number for number in self.joined if number not in ours]:
            del self.joined[partition]
        # These are another worker's now, and must not be acknowledged by us.
        self._unwritten = [record for record in self._unwritten if record.partition in ours]
        self._unsaved = [record for record in self._unsaved if record.partition in ours]
        self._room.set()

    def lost(self, partition: int) -> None:
        """Redis was wiped: everything is to be written again."""
        joined = self.joined.get(partition)
        if joined is not None:
            joined.lost()
            self._wake()

    def next_offsets(self) -> dict[int, int]:
        """The offset of the first record of trip.events that was not taken, of each partition where that is known."""
        return {number: one.next_offset for number, one in self.joined.items() if one.read_until is not None}

    # --- what comes in -----------------------------------------------------------------------------------------

    async def accept(self, partition: int, offset: int, value: bytes, done: Callable[[], object]) -> None:
        """Take one record of trip.events and let `done` be called when all of its effect is safe. Waits for room."""
        trip = None
        try:
            trip = decode_trip(value)
        except TripRecordError as error:
            await publish(partial(self._reject, TRIP_EVENTS_TOPIC, partition, offset, value, str(error.args[0])))
        if partition not in self.joined:
            self.load(partition)
        if trip is not None:
            self.joined[partition].take(trip, self._clock.now_ms())
        self.joined[partition].next_offset = offset + 1
        # Also one that was put aside: records must be done in their order.
        self._unwritten.append(TripRecord(partition, trip, done))
        self._wake()
        if len(self._unwritten) >= MAX_UNWRITTEN_RECORDS:
            self._room.clear()
            await self._room.wait()

    def observe(self, at: Partition, pings: list[Ping]) -> None:
        """A frame was folded into `at`."""
        joined = self.joined.get(at.number)
        if joined is not None:
            joined.observe(at, pings, self._clock.now_ms(), self._metrics.zone_events)

    # --- Redis -------------------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Bring Redis up to everything that was taken before this call. Raises RedisError; then call it again."""
        now_ms, taken = self._clock.now_ms(), list(self._unwritten)
        writing = list(self.joined.values())
        for joined in writing:
            joined.before_write()
        for _ in range(WRITES_AT_ONCE):
            if not any([await self._write(joined, now_ms) for joined in writing]):
                break
        for joined in writing:
            joined.after_write()
        # Some may be another worker's by now.
        ours, before = set(self._unwritten), set(taken)
        written = [record for record in taken if record in ours]
        self._unwritten = [record for record in self._unwritten if record not in before]
        self._unsaved += written
        self._room.set()
        if written or any(joined.has_news for joined in writing):
            self._news.set()

    async def _write(self, joined: Joined, now_ms: int) -> bool:
        """One round; returns whether it wrote something."""
        trips = joined.trips
        if not joined.synced:
            await self._sync_zones(joined)
        unsynced = trips.unsynced()
        if unsynced:
            for trip_id, kept in (await self._index.load(unsynced)).items():
                trips.adopt(trip_id, kept)
        writes = trips.take_writes(now_ms)
        if not writes:
            return False
        try:
            replies = await self._index.apply(writes)
        except BaseException:
            trips.not_written(writes)
            raise
        for write, reply in zip(writes, replies, strict=True):
            trips.written(write, reply)
        return True

    async def _sync_zones(self, joined: Joined) -> None:
        if joined.zones is not None:
            for driver_id, saved in (await self._zone_records.load(joined.trips.number)).items():
                joined.zones.restore(driver_id, saved)
        joined.synced = True

    async def beat(self) -> None:
        """Once a second: see whether Redis still has the trips. Raises RedisError."""
        for partition, joined in list(self.joined.items()):
            joined.forget(self._clock.now_ms())
            if joined.given_back and not await self._ledger.is_restored(partition):
                log.warning("Redis lost the trips of a partition; writing them again", extra={"partition": partition})
                self.lost(partition)
        self._news.set()

    async def _give_back(self, partition: int, joined: Joined) -> None:
        """Let ingest's ledger have the trips, once we know all that Kafka has of them. Raises what Redis or Kafka do.

        An older version in the ledger would have ingest decide on it, and give a number away that another record has.
        """
        if joined.read_until is None:
            if joined.is_rewritten and not await self._ledger.is_restored(partition):
                # Redis was wiped before we were: also what seemed to be done is to be written again.
                self.lost(partition)
            first, joined.read_until = await self._bounds(partition)
            joined.next_offset = max(joined.next_offset, first)
        if joined.next_offset >= joined.read_until and joined.is_rewritten:
            await self._ledger.restore(list(joined.trips.trips()))
            await self._ledger.mark_restored(partition)
            joined.given_back = True

    # --- Kafka -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take what is in Redis to Kafka, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            written = set(self._unsaved)
            for partition, joined in list(self.joined.items()):
                await self._persist(partition, joined)
                if not joined.given_back:
                    try:
                        await self._give_back(partition, joined)
                    except Exception as error:  # tried again with the next beat
                        log.warning("cannot give ingest its trips yet", extra={"error": repr(error)})
            saved = [record for record in self._unsaved if record in written]
            self._unsaved = [record for record in self._unsaved if record not in written]
            await self._tell_ledger(saved)
            for record in saved:
                record.done()

    async def _tell_ledger(self, records: Iterable[TripRecord]) -> None:
        """Redis may have lost what ingest's ledger had when these were on their way to Kafka: then it has it again."""
        try:
            await self._ledger.restore([record.trip for record in records if record.trip is not None])
        except RedisError as error:
            log.warning("the ledger of trips cannot be looked at", extra={"error": str(error)})

    async def _persist(self, partition: int, joined: Joined) -> None:
        trips = joined.trips
        published: dict[str, int] = {}
        for trip_id, offset, event, trip in trips.unpublished():
            to = partition_of(trip_id, self._count)
            value = encode_trip_update(trip, offset, event)
            await publish(partial(self._publish, TRIP_UPDATES_TOPIC, trip_id.encode(), value, to))
            trips.published(trip_id, offset)
            published[trip_id] = offset
            self._metrics.trip_events[event.type] += 1
        zone_news = joined.take_ready()
        for found in zone_news.events:
            value = encode_zone_event(found, found.fix_time_ms)
            await publish(partial(self._publish, ZONE_EVENTS_TOPIC, found.driver_id.encode(), value, partition))
        for trip_id, saved in trips.take_saves(self._clock.now_ms()):
            assert self.table is not None
            await publish(partial(self.table.save, partition, trip_id, saved))
        try:
            # Should Redis not note it, the next worker publishes some of it once more.
            await self._index.mark_published(published)
            if zone_news.saves:
                await self._zone_records.save(partition, zone_news.saves)
        except RedisError as error:
            log.warning("Redis could not note what was published", extra={"error": str(error)})
            joined.ready.saves = zone_news.saves | joined.ready.saves
