"""One Kafka partition in a worker's memory: its drivers, what the index shows of them, what is unwritten. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ingest.events import Ping
from stream.channels import Car, Removal
from stream.freshness import Deadlines
from stream.positions import VERDICTS, DriverState
from stream.regions import RegionChange, Shown, changes_of, region_at

#: Counted beside the verdicts on pings: Kafka records that held no frame.
REJECTED_RECORDS = "rejected_records"

#: Above every offset.
_ALWAYS = 1 << 62

_encoder = msgspec.msgpack.Encoder()
_fixes_decoder = msgspec.msgpack.Decoder(list[Ping])


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


class Partition:
    """The fold of one partition. `fold` takes frames in, `take_write` says what Redis must be told of them."""

    def __init__(self, number: int, record: Record, max_speed_mps: float) -> None:
        """Raises msgspec.DecodeError when the record holds no fixes of this version."""
        self.number, self.epoch, self.base, self.fence = number, record.epoch, record.base, record.fence
        self.written_fence = record.fence
        self.owned = True
        #: Frames below this offset may have been in another worker's hands, who wrote their regions and died before
        #: the record. It will have stopped after another frame than we do.
        self.doubtful_below = _ALWAYS
        self.totals = {name: record.totals.get(name, 0) for name in (*VERDICTS, REJECTED_RECORDS)}
        self.drivers: dict[str, DriverState] = {}
        self.shown: dict[str, Shown] = {}
        self._max_speed_mps = max_speed_mps
        self._touched: dict[str, DriverState] = {}
        #: Driver -> regions it was in after one of the doubtful frames, with the newest fix there.
        self._passed_through: dict[str, dict[int, int]] = {}
        self._forgotten: list[str] = []
        self._rewrite = record.fence < 0
        self._unwritten = self._rewrite
        self._going, self._silent = Deadlines(), Deadlines()
        for driver_id, packed in record.drivers.items():
            self.drivers[driver_id] = state = DriverState(_fixes_decoder.decode(packed), max_speed_mps)
            self._silent.watch(driver_id, state.fixes[-1].fix_time_ms)
        # What this worker would show now is what the index shows: the record was written after the regions. Should
        # a driver have gone meanwhile, the first sweep evicts it.
        changes_of((state.live for state in self.drivers.values()), self.shown, gone_before_ms=-(1 << 62))
        for driver_id, place in self.shown.items():
            self._going.watch(driver_id, place.fix.fix_time_ms)

    @property
    def next_offset(self) -> int:
        """The Kafka offset of the first frame that was not folded yet."""
        return self.fence - self.base + 1

    def fold(self, offset: int, pings: Sequence[Ping]) -> None:
        """Take one frame in. The caller skips frames below `next_offset`."""
        drivers, touched, max_speed_mps = self.drivers, self._touched, self._max_speed_mps
        counts = [0] * len(VERDICTS)
        for ping in pings:
            driver_id = ping.driver_id
            state = drivers.get(driver_id)
            if state is None:
                drivers[driver_id] = state = DriverState((ping,), max_speed_mps)
                self._silent.watch(driver_id, ping.fix_time_ms)
                counts[0] += 1
            else:
                counts[state.fold(ping, max_speed_mps)] += 1
            touched[driver_id] = state
        totals = self.totals
        for verdict, count in zip(VERDICTS, counts, strict=True):
            totals[verdict] += count
        if offset < self.doubtful_below:
            self._note_regions(pings)
        self._passed(offset)

    def _note_regions(self, pings: Sequence[Ping]) -> None:
        for driver_id in {ping.driver_id for ping in pings}:
            live = self.drivers[driver_id].live
            region = region_at(live)
            if region is not None:
                regions = self._passed_through.setdefault(driver_id, {})
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
        self._touched.update(self.drivers)

    @property
    def unwritten(self) -> bool:
        """Whether there is something to write."""
        return self._unwritten

    def take_write(self, now_ms: int, gone_after_ms: int) -> PartitionWrite:
        """What the frames folded since the last call change. The caller sees to it that it is written."""
        touched, shown, going = self._touched, self.shown, self._going
        regions, afterwards = changes_of(
            [state.live for state in touched.values()],
            shown,
            gone_before_ms=now_ms - gone_after_ms,
            again=self._rewrite,
        )
        if self._passed_through:
            self._leave_behind(regions)
        states: dict[str, bytes] = {}
        for driver_id, state in touched.items():
            states[driver_id] = _encoder.encode(state.fixes)
            place = shown.get(driver_id)
            if place is not None:
                going.watch(driver_id, place.fix.fix_time_ms)
        write = PartitionWrite(
            self.number,
            regions,
            afterwards,
            Record(self.epoch, self.base, self.fence, dict(self.totals), states),
            self._forgotten,
            self._rewrite,
        )
        self._touched, self._forgotten, self._rewrite, self._unwritten = {}, [], False, False
        return write

    def _leave_behind(self, regions: dict[int, RegionChange]) -> None:
        """Remove drivers from regions that they only passed through since the last write: see `doubtful_below`.

        It also fences those regions against the other worker, should it not be dead but late.
        """
        passed_through, self._passed_through = self._passed_through, {}
        for driver_id, visited in passed_through.items():
            place = self.shown.get(driver_id)
            for region, fix_time_ms in visited.items():
                if place is None or region != place.region:
                    newest_ms = max(fix_time_ms, self.drivers[driver_id].live.fix_time_ms)
                    removals = regions.setdefault(region, RegionChange()).removals
                    removals.setdefault(driver_id, Removal(driver_id, newest_ms))

    def gone(self, now_ms: int, gone_after_ms: int) -> list[Shown]:
        """Cars whose time is up: to be evicted from the index, and confirmed with `evicted`."""
        found = []
        limit_ms = now_ms - gone_after_ms
        for driver_id in self._going.due(limit_ms):
            place = self.shown.get(driver_id)
            if place is None:
                continue
            if place.fix.fix_time_ms <= limit_ms:
                found.append(place)
            else:
                self._going.watch(driver_id, place.fix.fix_time_ms)
        return found

    def evicted(self, places: Iterable[Shown]) -> None:
        """These cars are out of the index."""
        for place in places:
            if self.shown.get(place.fix.driver_id) is place:
                del self.shown[place.fix.driver_id]

    def not_evicted(self, places: Iterable[Shown]) -> None:
        """Redis did not answer: these cars are still due."""
        for place in places:
            self._going.watch(place.fix.driver_id, place.fix.fix_time_ms)

    def forget(self, now_ms: int, forget_after_ms: int) -> int:
        """Drop drivers who have been silent for so long, here and with the next write. Returns how many."""
        limit_ms, count = now_ms - forget_after_ms, 0
        for driver_id in self._silent.due(limit_ms):
            state = self.drivers[driver_id]
            newest_ms = state.fixes[-1].fix_time_ms
            if newest_ms > limit_ms or driver_id in self.shown or driver_id in self._touched:
                self._silent.watch(driver_id, max(newest_ms, limit_ms + 1))
                continue
            del self.drivers[driver_id]
            self._forgotten.append(driver_id)
            self._unwritten = True
            count += 1
        return count

    def cars(self) -> list[Car]:
        """The cars that the index holds of this partition."""
        return [place.car for place in self.shown.values()]
