"""One Kafka partition in a worker's memory: its drivers, what the index shows of them, what is unwritten. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingest.events import Ping
from stream.channels import Removal
from stream.freshness import Deadlines
from stream.positions import LIVE, VERDICTS, DriverState, unpack_fixes
from stream.regions import RegionChange, Shown, changes_of, region_at

#: Counted beside the verdicts on pings: Kafka records that held no frame.
REJECTED_RECORDS = "rejected_records"

#: Above every offset.
_ALWAYS = 1 << 62


@dataclass(frozen=True, slots=True)
class Record:
    """What Redis keeps of a partition. `fence` is that of the newest frame applied, `base` what offset 0 has.

    `fence - base` is a Kafka offset; -1 where no frame was ever applied. `totals` counts pings by verdict.
    """

    epoch: int
    base: int = 0
    fence: int = -1
    totals: Mapping[str, int] = field(default_factory=dict)
    drivers: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionWrite:
    """Everything that some frames of one partition change in Redis: regions first, then `afterwards`, then the record.

    `record.drivers` holds only the drivers that changed. `rewrite` makes the record anew in a Redis that lost it.
    """

    partition: int
    regions: Mapping[int, RegionChange]
    afterwards: Mapping[int, RegionChange]
    record: Record
    forgotten: Sequence[str]
    rewrite: bool


class Driver(DriverState):
    """A driver's fixes, and how the index stands to them: `place` is where it is shown, None if it is not.

    What belongs to a driver is here and not in dictionaries beside it: a lookup costs as much as the fold.
    """

    __slots__ = ("place", "touched", "watched_ms")

    def __init__(self, fixes: Sequence[Ping], max_speed_mps: float) -> None:
        super().__init__(fixes, max_speed_mps)
        self.place: Shown | None = None
        #: Whether the next write holds this driver.
        self.touched = False
        #: The fix time by which the deadline of freshness is watched.
        self.watched_ms: int | None = None


class Partition:
    """The fold of one partition. `fold` takes frames in, `take_write` says what Redis must be told of them."""

    def __init__(self, number: int, record: Record, max_speed_mps: float) -> None:
        """Raises msgspec.DecodeError when the record holds no fixes of this version."""
        self.number, self.epoch, self.base, self.fence = number, record.epoch, record.base, record.fence
        self.written_fence = record.fence
        self.owned = True
        #: Frames below this offset may have been in another worker's hands, who wrote their regions and died before
        #: the record; but only the first so many pings, because that is all that one write holds. It will have
        #: stopped after another frame than we do.
        self.doubtful_below, self.doubtful_pings = _ALWAYS, _ALWAYS
        self.totals = {name: record.totals.get(name, 0) for name in (*VERDICTS, REJECTED_RECORDS)}
        self.drivers: dict[str, Driver] = {}
        self._max_speed_mps = max_speed_mps
        self._touched: list[Driver] = []
        #: Driver of a doubtful frame -> regions it was in after one of them, with the newest fix there.
        self._passed_through: dict[str, dict[int, int]] = {}
        self._forgotten: list[str] = []
        self._rewrite = record.fence < 0
        self._unwritten = self._rewrite
        self._going, self._silent = Deadlines(), Deadlines()
        for driver_id, packed in record.drivers.items():
            self.drivers[driver_id] = driver = Driver(unpack_fixes(packed), max_speed_mps)
            self._silent.watch(driver_id, driver.newest.fix_time_ms)
        # What this worker would show now is what the index shows: the record was written after the regions. Should
        # a driver have gone meanwhile, the first sweep evicts it.
        changes_of(self.drivers.values(), gone_before_ms=-(1 << 62))
        self._watch(self.drivers.values())

    @property
    def next_offset(self) -> int:
        """The Kafka offset of the first frame that was not folded yet."""
        return self.fence - self.base + 1

    def fold(self, offset: int, pings: Sequence[Ping]) -> None:
        """Take one frame in. The caller skips frames below `next_offset`."""
        drivers, touched, max_speed_mps = self.drivers, self._touched, self._max_speed_mps
        counts = [0] * len(VERDICTS)
        for ping in pings:
            driver = drivers.get(ping.driver_id)
            if driver is None:
                drivers[ping.driver_id] = driver = Driver((ping,), max_speed_mps)
                self._silent.watch(ping.driver_id, ping.fix_time_ms)
                counts[LIVE] += 1
            else:
                counts[driver.fold(ping, max_speed_mps)] += 1
            if not driver.touched:
                driver.touched = True
                touched.append(driver)
        totals = self.totals
        for verdict, count in zip(VERDICTS, counts, strict=True):
            totals[verdict] += count
        if self.doubtful_pings > 0 and offset < self.doubtful_below:
            self.doubtful_pings -= len(pings)
            self._note_regions(pings)
        self._passed(offset)

    def _note_regions(self, pings: Sequence[Ping]) -> None:
        for driver_id in {ping.driver_id for ping in pings}:
            live = self.drivers[driver_id].live
            region = region_at(live)
            regions = self._passed_through.setdefault(driver_id, {})
            if region is not None:
                regions[region] = max(live.fix_time_ms, regions.get(region, live.fix_time_ms))

    def reject(self, offset: int) -> None:
        """Pass over a record that is no frame."""
        self.totals[REJECTED_RECORDS] += 1
        self._passed(offset)

    def _passed(self, offset: int) -> None:
        self.fence = self.base + offset
        self._unwritten = True

    def restart_log(self) -> None:
        """The Kafka log began anew at offset 0: from now on offsets count above every fence there was."""
        self.base = self.fence + 1
        self.fence = self.base - 1
        self._unwritten = True

    def rewrite(self, epoch: int) -> None:
        """Redis lost this partition's record: the next write holds everything, under a new epoch."""
        # What is shown is kept: a write that was under way may have reached the regions after they were wiped.
        self.epoch, self._rewrite, self._unwritten = epoch, True, True
        self._touched = list(self.drivers.values())
        for driver in self._touched:
            driver.touched = True

    @property
    def unwritten(self) -> bool:
        """Whether there is something to write."""
        return self._unwritten

    def take_write(self, now_ms: int, gone_after_ms: int) -> PartitionWrite:
        """What the frames folded since the last call change. The caller sees to it that it is written."""
        touched = self._touched
        again = self.drivers if self._rewrite else self._passed_through
        regions, afterwards = changes_of(touched, now_ms - gone_after_ms, again)
        if self._passed_through:
            self._leave_behind(regions, afterwards)
        states: dict[str, bytes] = {}
        for driver in touched:
            driver.touched = False
            states[driver.newest.driver_id] = driver.pack()
        self._watch(touched)
        write = PartitionWrite(
            self.number,
            regions,
            afterwards,
            Record(self.epoch, self.base, self.fence, dict(self.totals), states),
            # Who was forgotten and has come back since the last write is to be kept.
            [driver_id for driver_id in self._forgotten if driver_id not in states],
            self._rewrite,
        )
        self._touched, self._forgotten, self._rewrite, self._unwritten = [], [], False, False
        return write

    def _watch(self, drivers: Iterable[Driver]) -> None:
        for driver in drivers:
            place = driver.place
            if place is not None:
                fix_time_ms = place.fix.fix_time_ms
                if driver.watched_ms is None or fix_time_ms < driver.watched_ms:
                    driver.watched_ms = fix_time_ms
                    self._going.watch(place.fix.driver_id, fix_time_ms)

    def _leave_behind(self, regions: dict[int, RegionChange], afterwards: dict[int, RegionChange]) -> None:
        """Remove drivers from regions that they only passed through since the last write: see `doubtful_below`.

        It is done afterwards, because one of those regions may be the only one that the driver is in. The first write
        of those regions, empty or not, fences them against the other worker, should it not be dead but late.
        All other removals are repeated there, too: the other worker's first write of a region may have had this
        fence, and these removals not yet.
        """
        for region, change in regions.items():
            if change.removals:
                removals = afterwards.setdefault(region, RegionChange()).removals
                for driver_id, removal in change.removals.items():
                    removals.setdefault(driver_id, removal)
        passed_through, self._passed_through = self._passed_through, {}
        for driver_id, visited in passed_through.items():
            place = self.drivers[driver_id].place
            for region, fix_time_ms in visited.items():
                if place is None or region != place.region:
                    newest_ms = max(fix_time_ms, self.drivers[driver_id].live.fix_time_ms)
                    first = regions.setdefault(region, RegionChange()).removals
                    later = afterwards.setdefault(region, RegionChange()).removals
                    if driver_id in later:
                        newest_ms = max(newest_ms, later[driver_id].fix_time_ms)
                    later[driver_id] = Removal(driver_id, newest_ms)
                    if driver_id in first:
                        first[driver_id] = later[driver_id]

    def gone(self, now_ms: int, gone_after_ms: int) -> list[Shown]:
        """Cars whose time is up: to be evicted from the index, and confirmed with `evicted`."""
        found, again = [], []
        limit_ms = now_ms - gone_after_ms
        for driver_id in self._going.due(limit_ms):
            driver = self.drivers.get(driver_id)
            if driver is None:
                continue
            driver.watched_ms = None
            if driver.place is not None and driver.place.fix.fix_time_ms <= limit_ms:
                found.append(driver.place)
            else:
                again.append(driver)
        self._watch(again)
        return found

    def evicted(self, places: Iterable[Shown]) -> None:
        """These cars are out of the index."""
        for place in places:
            driver = self.drivers.get(place.fix.driver_id)
            if driver is not None and driver.place is place:
                driver.place = None

    def not_evicted(self, places: Iterable[Shown]) -> None:
        """Redis did not answer: these cars are still due."""
        self._watch(self.drivers[place.fix.driver_id] for place in places)

    def forget(self, now_ms: int, forget_after_ms: int) -> int:
        """Drop drivers who have been silent for so long, here and with the next write. Returns how many."""
        limit_ms, count = now_ms - forget_after_ms, 0
        for driver_id in self._silent.due(limit_ms):
            driver = self.drivers[driver_id]
            newest_ms = driver.newest.fix_time_ms
            if newest_ms > limit_ms or driver.place is not None or driver.touched:
                self._silent.watch(driver_id, max(newest_ms, limit_ms + 1))
                continue
            del self.drivers[driver_id]
            self._forgotten.append(driver_id)
            self._unwritten = True
            count += 1
        return count

    def places(self) -> list[Shown]:
        """Where the index shows the drivers of this partition."""
        return [driver.place for driver in self.drivers.values() if driver.place is not None]
