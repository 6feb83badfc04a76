"""Take frames of many partitions, fold them, and see them into Redis: in order, and each of them once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
from redis.exceptions import RedisError

from infra.clock import Clock
from ingest.events import FrameError, Ping, decode_frame
from stream.channels import Car
from stream.frame import Frame
from stream.index import DriverIndex, RegionWrite
from stream.joins import Joins, Unjoined
from stream.metrics import StreamMetrics
from stream.partitions import Partition, PartitionWrite
from stream.patience import Patience, publish, until_quiet
from stream.records import Outcome, PartitionRecords
from stream.settings import StreamSettings

log = logging.getLogger(__name__)

#: The bound of ingest's RIDESTREAM_FRAME_MAX_PINGS. A write stops growing at the frame that fills it.
MOST_PINGS_OF_A_FRAME = 1_000

#: Publishes an undecodable record with its reason: (partition, offset, value, reason).
Reject = Callable[[int, int, bytes, str], Awaitable[None]]


class FrameHandler:
    """Folds frames at once and writes them in the background: while one write is under way, the frames that arrive
    are folded together into the next. So there is one write at a time, in order, and a busy worker writes fewer,
    fuller ones. A frame is done only when its write is; nothing is acknowledged before.

    No method raises because of what a frame holds, or because Redis is away: then it waits, and holds everything.
    """

    def __init__(
        self,
        index: DriverIndex,
        records: PartitionRecords,
        clock: Clock,
        settings: StreamSettings,
        reject: Reject,
        metrics: StreamMetrics,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        joins: Joins | None = None,
    ) -> None:
        """`wall_ms` names records' epochs and measures latency; `clock` is the time of fixes."""
        self._index, self._records, self._clock, self._settings = index, records, clock, settings
        self._reject, self._metrics, self._wall_ms = reject, metrics, wall_ms
        self._joins = joins or Unjoined()
        self.partitions: dict[int, Partition] = {}
        #: Partitions that were assigned and are not loaded yet, with the ends of their logs; None when there are none.
        self.unassigned: Mapping[int, int] | None = {}
        self._redis = Patience()
        self._loading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._waiting: list[Frame] = []
        self._waiting_pings = 0
        self._wake, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    @property
    def redis_away(self) -> str | None:
        """None while Redis answers, else what it said last."""
        return self._redis.away

    # --- frames ------------------------------------------------------------------------------------------------

    async def handle(self, partition: int, offset: int, value: bytes) -> None:
        """Take one frame and return when its effect is in Redis."""
        await self.accept(partition, offset, value, lambda: None)
        await self.settle()

    async def accept(self, partition: int, offset: int, value: bytes, done: Callable[[], object]) -> None:
        """Fold one frame and let `done` be called when it is written. Waits while too many pings are unwritten."""
        at = self.partitions.get(partition)
        if at is None:
            at = await self._load(partition, log_end=None)
        elif self.unassigned is not None and offset > at.next_offset:
            # Redis could not be asked at the assignment, and what we kept from before may be behind another worker.
            async with self._writing:
                at = await self._load(partition, log_end=None)
        frame = Frame(partition, offset, value, done)
        self._fold(at, frame)
        self._waiting.append(frame)
        self._wake.set()
        if self._waiting_pings >= self._settings.max_unwritten_pings:
            self._room.clear()
            await self._room.wait()

    def _fold(self, at: Partition, frame: Frame) -> None:
        if frame.offset < at.next_offset:
            self._metrics.frames_repeated += 1
            return
        try:
            pings = decode_frame(frame.value)
        except FrameError as error:
            frame.reason = str(error.args[0])
            at.reject(frame.offset)
            return
        at.fold(frame.offset, pings)
        self._joins.observe(at, pings)
        self._waiting_pings += len(pings)
        self._metrics.frames += 1
        self._age(pings)

    def _age(self, pings: list[Ping]) -> None:
        # Pings of a frame arrived within a few milliseconds: the first one's delay is taken for all.
        if pings:
            received_ms = pings[0].received_at_ms
            self._metrics.unwritten.append((received_ms, len(pings)))

    def wake(self) -> None:
        """There is something to write that is no frame."""
        self._wake.set()

    async def run(self) -> None:
        """Write what was accepted, for ever."""
        while True:
            await self._wake.wait()
            await until_quiet(lambda: len(self._waiting))
            await self.settle()

    async def settle(self) -> None:
        """Write everything that was accepted before this call."""
        async with self._writing:
            self._wake.clear()
            frames, self._waiting, self._waiting_pings = self._waiting, [], 0
            self._room.set()
            ages = self._metrics.take_unwritten()
            now_ms, gone_after_ms = self._clock.now_ms(), self._settings.gone_after_ms
            writes = [at.take_write(now_ms, gone_after_ms) for at in self.partitions.values() if at.unwritten]
            for frame in frames:
                if frame.reason is not None:
                    await publish(partial(self._reject, frame.partition, frame.offset, frame.value, frame.reason))
            await self._redis.insist(self._joins.write)
            await self._write(writes)
            self._metrics.indexed(ages, self._wall_ms())
            for frame in frames:
                frame.done()

    async def _write(self, writes: list[PartitionWrite]) -> None:
        while writes:
            started = time.perf_counter()
            outcomes = await self._redis.insist(lambda now=writes: self._write_once(now))  # type: ignore[misc]
            self._metrics.redis_write.observe(time.perf_counter() - started)
            again = []
            for write, outcome in zip(writes, outcomes, strict=True):
                at = self.partitions.get(write.partition)
                if at is None:
                    continue
                if outcome is Outcome.WRITTEN:
                    at.written_fence = write.record.fence
                elif outcome is Outcome.LOST:
                    log.warning("another worker is ahead on this partition", extra={"partition": write.partition})
                    await self._load(write.partition, log_end=None)
                else:
                    again.append(self._rewrite(at))
            writes = again

    async def _write_once(self, writes: list[PartitionWrite]) -> list[Outcome]:
        # Two round trips. One would keep the order too, on one connection to one server; but a region's script that
        # fails alone (scripts flushed in between, out of memory, another Cluster node) would not keep the record
        # behind it from being written, and then nobody would repeat the frame. While we wait, the next frames fold.
        await self._index.write(
            [
                # A rewrite has the fence of a frame that the wiped region may have seen since, and must pass it once.
                RegionWrite(region, change, field, 2 * write.record.fence + write.rewrite)
                for later in (False, True)
                for write in writes
                for field in (f"{write.partition}+" if later else str(write.partition),)
                for region, change in (write.afterwards if later else write.regions).items()
            ]
        )
        return await self._records.write(writes)

    def _rewrite(self, at: Partition) -> PartitionWrite:
        log.warning("Redis lost a partition's record; writing everything again", extra={"partition": at.number})
        self._metrics.rewrites += 1
        at.rewrite(self._wall_ms())
        self._joins.lost(at.number)
        return at.take_write(self._clock.now_ms(), self._settings.gone_after_ms)

    # --- partitions --------------------------------------------------------------------------------------------

    async def assign(self, log_ends: Mapping[int, int]) -> dict[int, int]:
        """These partitions are ours now, and no others: load them. Returns the offset at which each goes on.

        `log_ends` are the offsets after each partition's last record. A partition that was ours before is kept as it
        is in memory, unless another worker has applied more of it. Raises RedisError; frames may be accepted all the
        same, their partitions are loaded then.
        """
        self.unassigned = log_ends
        for partition in [number for number in self.partitions if number not in log_ends]:
            del self.partitions[partition]
        self._joins.keep(log_ends)
        # Their frames are another worker's now, and must not be acknowledged by us.
        self._waiting = [frame for frame in self._waiting if frame.partition in log_ends]
        marks = await self._records.marks(log_ends)
        starts = {}
        for partition, log_end in log_ends.items():
            at = self.partitions.get(partition)
            epoch, fence = marks[partition]
            if at is None or (fence > at.fence and epoch != 0):
                at = await self._load(partition, log_end, patient=False)
            elif at.next_offset > log_end:
                self._restart_log(at)
            at.owned, at.doubtful_below = True, log_end
            at.doubtful_pings = self._settings.max_unwritten_pings + MOST_PINGS_OF_A_FRAME
            if at.next_offset > 0:
                starts[partition] = at.next_offset
        self.unassigned = None
        return starts

    def revoke(self) -> None:
        """No partition is ours for now. What is in memory stays, as most of it usually comes back."""
        self.unassigned = {}
        for at in self.partitions.values():
            at.owned = False

    async def _load(self, partition: int, log_end: int | None, patient: bool = True) -> Partition:
        async with self._loading:
            seen = self.partitions.get(partition)

            async def load() -> Partition:
                record = await self._records.load(partition, self._wall_ms())
                return Partition(partition, record, self._settings.max_speed_mps)

            try:
                at = await (self._redis.insist(load) if patient else load())
            except msgspec.DecodeError:
                raise SystemExit(
                    f"the record of partition {partition} in Redis is not of this version; delete "
                    f"{{p:{partition}}}:drivers and {{p:{partition}}}:meta to start afresh"
                ) from None
            if self.partitions.get(partition) is not seen:
                return self.partitions[partition]
            if log_end is not None and at.next_offset > log_end:
                self._restart_log(at)
            self.partitions[partition] = at
            self._joins.load(partition)
            for frame in self._waiting:
                # Frames folded into the state that is now thrown away; those applied by the other worker are skipped.
                if frame.partition == partition:
                    self._fold(at, frame)
            return at

    def _restart_log(self, at: Partition) -> None:
        log.warning("the Kafka log began anew", extra={"partition": at.number})
        at.restart_log()
        self._wake.set()

    # --- time --------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Once a second: evict who is gone, forget who is long silent, and heal a Redis that was wiped."""
        try:
            if self.unassigned:
                await self.assign(self.unassigned)
            async with self._writing:
                await self._heal()
                await self._joins.beat()
                await self._sweep(self._clock.now_ms())
            self._redis.answered()
        except RedisError as error:
            self._redis.failed(error)

    async def sweep(self, now_ms: int) -> None:
        """Evict the cars that are gone at `now_ms`. Raises RedisError."""
        async with self._writing:
            await self._sweep(now_ms)

    async def _sweep(self, now_ms: int) -> None:
        for at in [at for at in self.partitions.values() if at.owned]:
            gone = at.gone(now_ms, self._settings.gone_after_ms)
            by_region: dict[int, list[Car]] = {}
            for place in gone:
                by_region.setdefault(place.region, []).append(place.car)
            try:
                self._metrics.evicted += await self._index.evict_all(by_region)
            except BaseException:
                at.not_evicted(gone)
                raise
            at.evicted(gone)
            if at.forget(now_ms, self._settings.forget_after_ms):
                self._wake.set()

    async def _heal(self) -> None:
        owned = [at for at in self.partitions.values() if at.owned and at.written_fence >= 0]
        marks = await self._records.marks([at.number for at in owned])
        wiped = [at for at in owned if marks[at.number][0] != at.epoch or marks[at.number][1] < at.written_fence]
        await self._write([self._rewrite(at) for at in wiped])
