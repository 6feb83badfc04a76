"""A copy of the watched trips: each with its log, its car, which never goes back, and how fresh that is. Pure.

As in `mirror.py`, what is shown changes only in `settle`, all at once; between two calls the copy only collects what
Redis says. A trip that Redis has lost stays as it was until Redis knows it again: its age tells that it is old.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from ingest.trips import Trip
from push.mirror import MAX_BUFFERED_DELTAS, Outcome
from push.trip_messages import LIVE, LOST, NONE, STALE
from stream.trip_channels import LogEntry, TripCar, TripDelta, TripSnapshot

_UNTIMED: Final = 1 << 62


class Shown(NamedTuple):
    """A trip as its watchers see it since the last settlement.

    `log` counts the logs: another one means that offsets of before say nothing. `offset` is the last event's.
    """

    trip: Trip
    car: TripCar | None
    freshness: str
    log: int
    epoch: int
    offset: int


class TripCopy:
    """One trip. `shown` is None until it is known."""

    __slots__ = (
        "buffer", "car", "due_ms", "entries", "epoch", "high_water", "loaded", "log", "offset", "seq", "shown", "trip",
        "trip_id",
    )  # fmt: skip

    def __init__(self, trip_id: str, kept_events: int) -> None:
        self.trip_id = trip_id
        self.epoch = self.seq = self.offset = self.log = 0
        self.loaded = False  # whether it has been read, be it that there is none
        self.trip: Trip | None = None
        self.car: TripCar | None = None
        self.high_water = (0, 0)  # assignment and time of the newest fix ever taken
        self.entries: deque[LogEntry] = deque(maxlen=kept_events)
        self.buffer: deque[TripDelta] | None = None
        self.shown: Shown | None = None
        self.due_ms = _UNTIMED

    @property
    def is_settled(self) -> bool:
        """Whether the trip is known, and its log is the one that is shown."""
        return self.shown is not None and self.shown.log == self.log

    @property
    def first(self) -> int:
        """Offset of the oldest event that is kept; one beyond the last where none is."""
        return self.offset - len(self.entries) + 1

    def after(self, offset: int) -> Sequence[LogEntry] | None:
        """What is shown of the log beyond `offset`; None when not all of that is kept, or `offset` never was."""
        assert self.shown is not None
        first, last = self.first, self.shown.offset
        if offset > last or (offset < last and offset + 1 < first):
            return None
        return list(islice(self.entries, max(0, offset + 1 - first), max(0, last + 1 - first)))


class TripMirror:
    """Trips go in (`expect`, `apply_snapshot`, `apply_delta`, `drop`); `settle` says what watchers see change."""

    def __init__(self, stale_after_ms: int, lost_after_ms: int, kept_events: int) -> None:
        """`kept_events` of a trip's log are kept, as in Redis."""
        self._stale_after_ms, self._lost_after_ms, self._kept_events = stale_after_ms, lost_after_ms, kept_events
        self._copies: dict[str, TripCopy] = {}
        self._changed: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []
        self._now_ms = 0

    def __len__(self) -> int:
        return len(self._copies)

    def copy_of(self, trip_id: str) -> TripCopy | None:
        return self._copies.get(trip_id)

    def is_loaded(self, trip_id: str) -> bool:
        """Whether the trip has been looked up at least once since it is copied."""
        copy = self._copies.get(trip_id)
        return copy is not None and copy.loaded

    def position_of(self, trip_id: str) -> tuple[int, int] | None:
        """(epoch, seq) that the copy stands at; None while it is being read."""
        copy = self._copies.get(trip_id)
        return None if copy is None or copy.buffer is not None else (copy.epoch, copy.seq)

    def is_due(self, now_ms: int) -> bool:
        """Whether `settle` would have something to look at."""
        return bool(self._changed) or bool(self._due and self._due[0][0] <= now_ms)

    def expect(self, trip_id: str) -> None:
        """The trip is about to be read: keep its deltas until the snapshot comes. What is known stays shown."""
        copy = self._copies.get(trip_id)
        if copy is None:
            copy = self._copies[trip_id] = TripCopy(trip_id, self._kept_events)
        copy.buffer = deque(maxlen=MAX_BUFFERED_DELTAS)

    def drop(self, trip_id: str) -> None:
        """Nobody watches the trip any more."""
        self._copies.pop(trip_id, None)

    def apply_delta(self, trip_id: str, delta: TripDelta) -> Outcome:
        copy = self._copies.get(trip_id)
        if copy is None:
            return Outcome.IGNORED
        if copy.buffer is not None:
            copy.buffer.append(delta)
            return Outcome.BUFFERED
        return self._fold(copy, delta)

    def apply_snapshot(self, trip_id: str, snapshot: TripSnapshot | None) -> Outcome:
        """Bring the copy up to what was read, then apply the deltas that came meanwhile."""
        copy = self._copies.get(trip_id)
        if copy is None:
            return Outcome.IGNORED
        copy.loaded = True
        if snapshot is None:
            # It stands where Redis stands, at nothing, so that what is written next follows.
            copy.epoch = copy.seq = 0
        else:
            self._replace(copy, snapshot)
        buffered, copy.buffer = copy.buffer or (), None
        for delta in buffered:
            if self._fold(copy, delta) is Outcome.GAP:
                return Outcome.GAP
        return Outcome.APPLIED

    def _replace(self, copy: TripCopy, read: TripSnapshot) -> None:
        same_epoch = copy.epoch == read.epoch
        if copy.trip is None or not (same_epoch and _continues(copy, read)):
            copy.log += 1
            copy.entries.clear()
        elif read.entries and read.entries[0].offset > copy.offset + 1:
            copy.entries.clear()  # trimmed beyond what was missed
        known = copy.offset if copy.entries else 0
        copy.entries.extend([entry for entry in read.entries if entry.offset > known])
        copy.epoch, copy.seq, copy.offset = read.epoch, read.seq, read.offset
        self._take_trip(copy, read.trip)
        if read.car is not None:
            self._take_car(copy, read.car)
        elif same_epoch:
            copy.car = None
        self._changed[copy.trip_id] = None

    def _fold(self, copy: TripCopy, delta: TripDelta) -> Outcome:
        if delta.epoch == copy.epoch and delta.seq <= copy.seq:
            return Outcome.IGNORED
        begins = copy.seq == 0 and copy.epoch == 0  # Redis knew nothing of it
        if (
            delta.seq != copy.seq + 1
            or not (begins or delta.epoch == copy.epoch)
            or delta.entries is None
            or delta.offset != (0 if begins else copy.offset) + len(delta.entries)
            or (begins and delta.trip is None)
        ):
            copy.buffer = deque(maxlen=MAX_BUFFERED_DELTAS)
            return Outcome.GAP
        if begins:
            copy.log += 1
            copy.entries.clear()
        copy.epoch, copy.seq, copy.offset, copy.loaded = delta.epoch, delta.seq, delta.offset, True
        copy.entries.extend(delta.entries)
        if delta.trip is not None:
            self._take_trip(copy, delta.trip)
        if delta.car is not None:
            self._take_car(copy, delta.car)
        elif delta.car_gone:
            copy.car = None
        self._changed[copy.trip_id] = None
        return Outcome.APPLIED

    @staticmethod
    def _take_trip(copy: TripCopy, trip: Trip) -> None:
        # After a loss of Redis a worker may write what the trip was before it writes what it is.
        if copy.trip is None or trip.version >= copy.trip.version:
            copy.trip = trip

    @staticmethod
    def _take_car(copy: TripCopy, car: TripCar) -> None:
        at = (car.assignment, car.fix_time_ms)
        if at >= copy.high_water:
            copy.car, copy.high_water = car, at

    def settle(self, now_ms: int) -> list[TripCopy]:
        """Show what Redis says as of `now_ms` (event time). Returns the trips that are shown otherwise than before."""
        now_ms = self._now_ms = max(now_ms, self._now_ms)
        changed, self._changed = self._changed, {}
        while self._due and self._due[0][0] <= now_ms:
            due_ms, trip_id = heapq.heappop(self._due)
            copy = self._copies.get(trip_id)
            if copy is not None and copy.due_ms == due_ms:
                copy.due_ms = _UNTIMED
                changed[trip_id] = None
        told = []
        for trip_id in changed:
            copy = self._copies.get(trip_id)
            if copy is None or copy.trip is None:
                continue
            shown = self._shown(copy, copy.trip, now_ms)
            if shown != copy.shown:
                copy.shown = shown
                told.append(copy)
            self._time(copy, shown)
        return told

    def _shown(self, copy: TripCopy, trip: Trip, now_ms: int) -> Shown:
        car = visible_car(trip, copy.car)
        freshness = freshness_of(car, now_ms, self._stale_after_ms, self._lost_after_ms)
        return Shown(trip, car, freshness, copy.log, copy.epoch, copy.offset)

    def _time(self, copy: TripCopy, shown: Shown) -> None:
        """Wait for when it turns stale or lost; an earlier entry comes due first and looks again."""
        due_ms = next_transition_ms(shown.car, shown.freshness, self._stale_after_ms, self._lost_after_ms)
        if due_ms is not None and due_ms < copy.due_ms:
            copy.due_ms = due_ms
            heapq.heappush(self._due, (due_ms, copy.trip_id))


def visible_car(trip: Trip, car: TripCar | None) -> TripCar | None:
    """The car, unless its driver no longer has the trip, or the trip is over: then it is nobody's business."""
    return None if car is None or trip.ended or car.assignment != trip.assignment else car


def freshness_of(car: TripCar | None, now_ms: int, stale_after_ms: int, lost_after_ms: int) -> str:
    """How fresh a trip's car is at `now_ms` (event time)."""
    if car is None:
        return NONE
    age_ms = now_ms - car.fix_time_ms
    return LOST if age_ms >= lost_after_ms else STALE if age_ms >= stale_after_ms else LIVE


def next_transition_ms(car: TripCar | None, freshness: str, stale_after_ms: int, lost_after_ms: int) -> int | None:
    """When it becomes less fresh by time alone; None when it does not."""
    if car is None or freshness not in (LIVE, STALE):
        return None
    return car.fix_time_ms + (stale_after_ms if freshness == LIVE else lost_after_ms)


def _continues(copy: TripCopy, read: TripSnapshot) -> bool:
    """Whether the log that was read goes on where the copy's ends, or ends there too."""
    if read.offset < copy.offset:
        return False
    known = {entry.offset: entry.event.event_id for entry in copy.entries}
    return all(known.get(entry.offset, entry.event.event_id) == entry.event.event_id for entry in read.entries)
