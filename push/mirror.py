"""A copy of the watched regions that never shows a car older than it has shown it, bucketed by small cells. Pure.

A driver seen in two regions is where the newer fix is. What is shown changes only in `settle`, all at once, so that
every rider sees the same moment; between two calls the copy only collects what the index says.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from stream.channels import Car, RegionDelta, RegionSnapshot

#: Deltas that wait for their region's snapshot, which takes milliseconds; more than this means reading it once more.
MAX_BUFFERED_DELTAS: Final = 256
_NEVER: Final = -(1 << 62)
_UNTIMED: Final = 1 << 62


class Outcome(Enum):
    APPLIED = "applied"
    IGNORED = "ignored"  # seen before, or of a region that is not copied
    BUFFERED = "buffered"  # the region is being read
    GAP = "gap"  # something was missed: read the region again
    UNCONFIRMED = "unconfirmed"  # the index was lost; what it does not name yet is kept until it is read again


class Marker:
    """A car as riders see it: its fix, and whether that is stale. A new object for each change, never altered.

    `body` caches its JSON as of `body_at_ms`; all riders of one tick share it.
    """

    __slots__ = ("body", "body_at_ms", "car", "driver_id", "stale")

    def __init__(self, car: Car, stale: bool) -> None:
        self.driver_id, self.car, self.stale = car.driver_id, car, stale
        self.body, self.body_at_ms = b"", _NEVER


class Change(NamedTuple):
    """What became of one driver since the last settlement; None is not shown."""

    driver_id: str
    before: Marker | None
    after: Marker | None


class _Copy:
    __slots__ = ("buffer", "cars", "epoch", "loaded", "region", "seq")

    def __init__(self, region: int) -> None:
        self.region, self.epoch, self.seq, self.loaded = region, 0, 0, False
        self.cars: dict[str, Car] = {}
        self.buffer: deque[RegionDelta] | None = None


class _Driver:
    __slots__ = ("car", "due_ms", "high_water_ms", "region")

    def __init__(self) -> None:
        self.car: Car | None = None
        self.region = 0
        self.high_water_ms = _NEVER  # newest fix ever shown; remembered until that fix would be gone anyway
        self.due_ms = _UNTIMED  # of the one waiting entry that counts; others of this driver are outdated


class Mirror:
    """Regions go in (`expect`, `apply_snapshot`, `apply_delta`, `drop`); `settle` says what riders see change."""

    def __init__(self, stale_after_ms: int, gone_after_ms: int) -> None:
        self._stale_after_ms, self._gone_after_ms = stale_after_ms, gone_after_ms
        self._copies: dict[int, _Copy] = {}
        self._drivers: dict[str, _Driver] = {}
        self._changed: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []
        self._shown: dict[str, Marker] = {}
        self._cells: dict[int, dict[str, Marker]] = {}
        self._now_ms = _NEVER

    @property
    def shown(self) -> Mapping[str, Marker]:
        """Every car that was shown at the last settlement, by driver."""
        return self._shown

    @property
    def cells(self) -> Mapping[int, Mapping[str, Marker]]:
        """The same by small cell."""
        return self._cells

    @property
    def now_ms(self) -> int:
        """Event time of the last settlement; it never runs backwards."""
        return self._now_ms

    def __len__(self) -> int:
        return len(self._drivers)

    def is_loaded(self, region: int) -> bool:
        """Whether the region has been read at least once since it is copied."""
        copy = self._copies.get(region)
        return copy is not None and copy.loaded

    def position_of(self, region: int) -> tuple[int, int] | None:
        """(epoch, seq) that the copy stands at; None while it is being read."""
        copy = self._copies.get(region)
        return None if copy is None or copy.buffer is not None else (copy.epoch, copy.seq)

    def is_due(self, now_ms: int) -> bool:
        """Whether `settle` would have something to look at."""
        return bool(self._changed) or bool(self._due and self._due[0][0] <= now_ms)

    def expect(self, region: int) -> None:
        """The region is about to be read: keep its deltas until the snapshot comes. What is known stays shown."""
        self._copies.setdefault(region, _Copy(region)).buffer = deque(maxlen=MAX_BUFFERED_DELTAS)

    def apply_delta(self, region: int, delta: RegionDelta) -> Outcome:
        copy = self._copies.get(region)
        if copy is None:
            return Outcome.IGNORED
        if copy.buffer is not None:
            copy.buffer.append(delta)
            return Outcome.BUFFERED
        if delta.epoch == copy.epoch and delta.seq <= copy.seq:
            return Outcome.IGNORED
        if not _follows(copy, delta):
            copy.buffer = deque(maxlen=MAX_BUFFERED_DELTAS)
            return Outcome.GAP
        self._fold(copy, delta)
        return Outcome.APPLIED

    def apply_snapshot(self, region: int, snapshot: RegionSnapshot) -> Outcome:
        """Replace the copy by what was read, then apply the deltas that came meanwhile.

        When the index was lost (another epoch, or none), cars that it does not name *yet* stay, until the next
        snapshot of the same epoch says that they are gone, or their age does.
        """
        copy = self._copies.get(region)
        if copy is None:
            return Outcome.IGNORED
        lost = bool(copy.cars) and (snapshot.epoch == 0 or snapshot.epoch != copy.epoch)
        named = {car.driver_id for car in snapshot.cars}
        for driver_id, car in list(copy.cars.items()):
            if driver_id not in named and not (lost and self._now_ms - car.fix_time_ms < self._gone_after_ms):
                self._unset(copy, driver_id)
        for car in snapshot.cars:
            self._set(copy, car)
        copy.epoch, copy.seq, copy.loaded = snapshot.epoch, snapshot.seq, True
        buffered, copy.buffer = copy.buffer or (), None
        for delta in buffered:
            if delta.epoch == copy.epoch and delta.seq <= copy.seq:
                continue
            if not _follows(copy, delta):
                copy.buffer = deque(maxlen=MAX_BUFFERED_DELTAS)
                return Outcome.GAP
            self._fold(copy, delta)
        return Outcome.UNCONFIRMED if lost else Outcome.APPLIED

    def drop(self, region: int) -> None:
        """Nobody looks at the region any more."""
        copy = self._copies.pop(region, None)
        if copy is not None:
            for driver_id in list(copy.cars):
                self._unset(copy, driver_id)

    def _fold(self, copy: _Copy, delta: RegionDelta) -> None:
        copy.epoch, copy.seq = delta.epoch, delta.seq
        for removal in delta.removals:
            car = copy.cars.get(removal.driver_id)
            if car is not None and car.fix_time_ms <= removal.fix_time_ms:
                self._unset(copy, removal.driver_id)
        for car in delta.cars:
            self._set(copy, car)

    def _set(self, copy: _Copy, car: Car) -> None:
        known = copy.cars.get(car.driver_id)
        if known == car:
            return
        copy.cars[car.driver_id] = car
        driver = self._drivers.get(car.driver_id)
        if driver is None:
            driver = self._drivers[car.driver_id] = _Driver()
        if driver.car is None or car.fix_time_ms >= driver.car.fix_time_ms:
            driver.car, driver.region = car, copy.region
        elif driver.region == copy.region:  # the index took a fix back
            driver.car, driver.region = self._newest(car.driver_id)
        self._changed[car.driver_id] = None

    def _unset(self, copy: _Copy, driver_id: str) -> None:
        del copy.cars[driver_id]
        driver = self._drivers[driver_id]
        if driver.region == copy.region:
            driver.car, driver.region = self._newest(driver_id)
            self._changed[driver_id] = None

    def _newest(self, driver_id: str) -> tuple[Car | None, int]:
        found = [(copy.cars[driver_id], copy.region) for copy in self._copies.values() if driver_id in copy.cars]
        return max(found, key=lambda each: (each[0].fix_time_ms, each[1]), default=(None, 0))

    def settle(self, now_ms: int) -> list[Change]:
        """Show what the index says as of `now_ms` (event time): newer fixes, cars turned stale, cars gone."""
        now_ms = self._now_ms = max(now_ms, self._now_ms)
        changed, self._changed = self._changed, {}
        while self._due and self._due[0][0] <= now_ms:
            due_ms, driver_id = heapq.heappop(self._due)
            driver = self._drivers.get(driver_id)
            if driver is not None and driver.due_ms == due_ms:
                driver.due_ms = _UNTIMED
                changed[driver_id] = None
        changes: list[Change] = []
        for driver_id in changed:
            driver = self._drivers.get(driver_id)
            if driver is None:
                continue
            before = self._shown.get(driver_id)
            after = self._marker_of(driver, before, now_ms)
            if after is not before:
                self._show(driver_id, before, after)
                changes.append(Change(driver_id, before, after))
            self._time(driver_id, driver, after, now_ms)
        return changes

    def _marker_of(self, driver: _Driver, shown: Marker | None, now_ms: int) -> Marker | None:
        car = driver.car
        if car is None or car.fix_time_ms < driver.high_water_ms or now_ms - car.fix_time_ms >= self._gone_after_ms:
            return None
        driver.high_water_ms = car.fix_time_ms
        stale = now_ms - car.fix_time_ms >= self._stale_after_ms
        if shown is not None and shown.stale == stale and shown.car == car:
            return shown
        return Marker(car, stale)

    def _show(self, driver_id: str, before: Marker | None, after: Marker | None) -> None:
        if before is not None and (after is None or after.car.cell != before.car.cell):
            bucket = self._cells[before.car.cell]
            del bucket[driver_id]
            if not bucket:
                del self._cells[before.car.cell]
        if after is not None:
            self._cells.setdefault(after.car.cell, {})[driver_id] = self._shown[driver_id] = after
        else:
            del self._shown[driver_id]

    def _time(self, driver_id: str, driver: _Driver, shown: Marker | None, now_ms: int) -> None:
        """Wait for when it turns stale, is gone, or may be forgotten; an earlier entry comes due first and looks again.

        A fix after each ping would fill the heap, so only a moment *before* the waiting one is entered: a stale car
        that waits to be gone and pings again is stale again before that.
        """
        if shown is not None:
            due_ms = shown.car.fix_time_ms + (self._gone_after_ms if shown.stale else self._stale_after_ms)
        else:
            due_ms = driver.high_water_ms + self._gone_after_ms
            if due_ms <= now_ms:
                if driver.car is None:
                    del self._drivers[driver_id]
                return
        if due_ms < driver.due_ms:
            driver.due_ms = due_ms
            heapq.heappush(self._due, (due_ms, driver_id))


def _follows(copy: _Copy, delta: RegionDelta) -> bool:
    return delta.seq == copy.seq + 1 and (delta.epoch == copy.epoch or (copy.seq == 0 and copy.epoch == 0))
