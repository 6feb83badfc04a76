"""All trips whose records came by one Kafka partition, joined with its drivers' pings; what is to be written. Pure.

A trip is at home in the partition of its driver: only there it is written and published. It is active there while it
has not ended. The partitions of the drivers it had before keep its latest record, so that an old one moves nothing.

The shell around it, before it commits what it read: `unsynced` trips are read from Redis and adopted, then
`take_writes` is written and answered by `written` or `not_written`, as often as either has something; `take_saves` goes
to the trips table; `unpublished` goes to Kafka and is answered by `published`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from ingest.events import Ping, partition_of
from ingest.trips import Trip, TripEvent
from stream.drives import TripRules
from stream.trip_channels import ACTIVE_TTL_MS, TripLog, TripReply, TripWrite
from stream.trip_state import TripState

__all__ = ["CHECKPOINT_MS", "PartitionTrips", "TripRules"]

#: A trip's progress is saved this often (event time); what happens to it is saved at once.
CHECKPOINT_MS = 15_000
#: Fixes of a trip that a phone sends after its end still belong to its track, for so long (event time).
LATE_FIXES_MS = 600_000


class PartitionTrips:
    """The trips of one partition. `drivers` are those whose pings somebody asks for: by an active trip, or one that
    ended so recently that late fixes may still come for its track."""

    def __init__(self, number: int, partitions: int, rules: TripRules) -> None:
        self.number, self._partitions, self._rules = number, partitions, rules
        self.drivers: dict[str, dict[str, TripState]] = {}
        self._trips: dict[str, TripState] = {}
        #: The trips that each driver has or had, among them ended ones.
        self._driven: dict[str, dict[str, None]] = {}
        self._active = 0
        #: What each trip is counted under: its driver in `drivers` or None, and whether it is active.
        self._filed: dict[str, tuple[str | None, bool]] = {}
        self._unsynced: dict[str, None] = {}
        self._dirty: dict[str, None] = {}
        self._unsaved: dict[str, None] = {}
        self._progressed: dict[str, None] = {}
        self._unpublished: dict[str, None] = {}
        self._forgotten: list[str] = []
        self._next_checkpoint_ms = -ACTIVE_TTL_MS
        self._due: list[tuple[int, str]] = []

    # -- what comes in ----------------------------------------------------------------------------------------------

    def restore(self, saved: bytes) -> None:
        """Take one value of the trips table. Raises msgspec.DecodeError."""
        state = TripState.restore(saved, self._rules)
        known = self._trips.get(state.trip.trip_id)
        if known is None or known.trip.version < state.trip.version:
            self._keep(state)

    def take(self, trip: Trip, recent: Sequence[Ping], now_ms: int) -> None:
        """A record of trip.events, in any order and repeated; `recent` are the pings its driver sent lately."""
        state = self._trips.get(trip.trip_id)
        if state is None:
            if trip.ended and self._forget_at(trip) <= now_ms:
                return
            state = TripState(trip, self._rules)
            self._trips[trip.trip_id] = state
            heapq.heappush(self._due, (now_ms, trip.trip_id))
        elif state.take(trip):
            heapq.heappush(self._due, (now_ms, trip.trip_id))
        self._file(state)
        self._know(state.trip)
        if trip.version >= state.trip.version:
            # Another trip of the driver may have got back what this one's record says is not the other rider's.
            theirs = [ping for ping in recent if ping.driver_id == state.trip.driver_id]
            for one in list(self.drivers.get(state.trip.driver_id, {}).values()):
                one.join_recent(theirs)
                self._file(one)

    def observe(self, driver_id: str, live: Ping, fixes: Sequence[Ping], now_ms: int) -> None:
        """A frame was folded: the driver's live fix, and what of the frame is the driver's."""
        for state in list(self.drivers.get(driver_id, {}).values()):
            state.join(fixes)
            if state.drive.held:
                state.drive.hold_until(live.fix_time_ms)
            else:
                state.observe(live, now_ms)
            self._file(state)

    def zone_event(self, driver_id: str, type_: str, zone_id: str, fix_time_ms: int) -> bool:
        """Log it in each active trip of the driver; whether there is one."""
        found = False
        for state in self.drivers.get(driver_id, {}).values():
            if not state.trip.ended and not state.drive.held and not state.drive.is_barred(fix_time_ms):
                state.zone_event(type_, zone_id, fix_time_ms)
                self._file(state)
                found = True
        return found

    # -- Redis ------------------------------------------------------------------------------------------------------

    def unsynced(self) -> list[str]:
        """Trips to be read from Redis before they may be written."""
        return list(self._unsynced)

    def adopt(self, trip_id: str, log: TripLog) -> None:
        """What Redis keeps of a trip, or does not."""
        state = self._trips.get(trip_id)
        if state is not None:
            state.adopt(log)
            self._file(state)
            self._know(state.trip)

    def take_writes(self, now_ms: int) -> list[TripWrite]:
        """What Redis must be told; from here on it counts as told, unless `not_written` takes it back."""
        states = [self._trips[trip_id] for trip_id in self._dirty if trip_id not in self._unsynced]
        writes = [state.take_write(now_ms) for state in states]
        for state in states:
            self._file(state)
        return writes

    def written(self, write: TripWrite, reply: TripReply) -> None:
        """Redis's answer to a write."""
        state = self._trips.get(write.trip.trip_id)
        if state is None:
            return
        match reply.outcome.name:
            case "WRITTEN":
                state.written(write, reply.offset)
            case "SUPERSEDED":
                state.not_written(write)
                state.synced = False
            case _:
                state.lost()
        self._file(state)

    def not_written(self, writes: Sequence[TripWrite]) -> None:
        """Redis did not answer: all of it is to be written again."""
        for write in writes:
            state = self._trips.get(write.trip.trip_id)
            if state is not None:
                state.not_written(write)
                self._file(state)

    def rewrite(self) -> None:
        """Redis was wiped: everything that is kept is written whole, with its log and track."""
        for state in self._trips.values():
            state.lost()
            self._file(state)

    # -- the trips table, and Kafka ---------------------------------------------------------------------------------

    def take_saves(self, now_ms: int) -> list[tuple[str, bytes | None]]:
        """What the trips table must be told: (trip id, value), None for what is forgotten."""
        due = list(self._unsaved)
        if now_ms >= self._next_checkpoint_ms:
            # Once a second is often enough to look who is due.
            self._next_checkpoint_ms = now_ms + 1_000
            due += [one for one in self._progressed if self._trips[one].saved_ms + CHECKPOINT_MS <= now_ms]
        saves: list[tuple[str, bytes | None]] = [(trip_id, None) for trip_id in self._forgotten]
        self._forgotten.clear()
        for trip_id in dict.fromkeys(due):
            state = self._trips[trip_id]
            saves.append((trip_id, state.save()))
            state.unsaved, state.progressed, state.saved_ms = False, False, now_ms
            self._file(state)
        return saves

    def unpublished(self) -> list[tuple[str, int, TripEvent, Trip]]:
        """(trip id, offset, event, trip) of what is in Redis and not yet in Kafka; in order by trip."""
        return [
            (trip_id, offset, event, self._trips[trip_id].trip)
            for trip_id in self._unpublished
            for offset, event in self._trips[trip_id].log.unpublished
        ]

    def published(self, trip_id: str, offset: int) -> None:
        """Kafka has the trip's events up to `offset`."""
        state = self._trips.get(trip_id)
        if state is not None:
            state.log.published = max(state.log.published, offset)
            self._file(state)

    # -- keeping and forgetting -------------------------------------------------------------------------------------

    def forget(self, now_ms: int) -> None:
        """Drop the trips that ended long enough ago, and those of which nothing was heard for very long."""
        while self._due and self._due[0][0] <= now_ms:
            _, trip_id = heapq.heappop(self._due)
            state = self._trips.get(trip_id)
            if state is None:
                continue
            forget_at_ms = self._forget_at(state.trip) if state.trip.ended else state.touched_ms + ACTIVE_TTL_MS
            if forget_at_ms <= now_ms:
                self._drop(trip_id)
                continue
            quiet_at_ms = state.ended_ms + LATE_FIXES_MS
            if state.trip.ended and quiet_at_ms <= now_ms:
                state.rest()
                self._file(state)
            next_ms = quiet_at_ms if state.trip.ended and not state.quiet else forget_at_ms
            heapq.heappush(self._due, (next_ms, trip_id))

    def trips(self) -> Iterable[Trip]:
        """All that are kept."""
        return [state.trip for state in self._trips.values()]

    def active_count(self) -> int:
        return self._active

    @property
    def has_news(self) -> bool:
        """Whether Kafka is to be told something at once."""
        return bool(self._unsaved or self._unpublished or self._forgotten)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _forget_at(self, trip: Trip) -> int:
        return trip.history[-1].at_ms + self._rules.kept_ms

    def _is_home(self, state: TripState) -> bool:
        return partition_of(state.trip.driver_id, self._partitions) == self.number

    def _know(self, trip: Trip) -> None:
        """Its drivers' trips may have to know of one another."""
        for driver_id in trip.drivers:
            theirs = self._driven.setdefault(driver_id, {})
            theirs[trip.trip_id] = None
            trips = [self._trips[trip_id].trip for trip_id in theirs]
            for state in list(self.drivers.get(driver_id, {}).values()):
                state.bar([other for other in trips if other.trip_id != state.trip.trip_id])
                self._file(state)

    def _keep(self, state: TripState) -> None:
        trip_id = state.trip.trip_id
        if trip_id in self._trips:
            self._drop(trip_id)
            self._forgotten.remove(trip_id)
        self._trips[trip_id] = state
        heapq.heappush(self._due, (-ACTIVE_TTL_MS, trip_id))
        self._file(state)
        self._know(state.trip)

    def _drop(self, trip_id: str) -> None:
        state = self._trips.pop(trip_id)
        self._forgotten.append(trip_id)
        for driver_id in state.trip.drivers:
            theirs = self._driven.get(driver_id, {})
            theirs.pop(trip_id, None)
            if not theirs:
                self._driven.pop(driver_id, None)
        self._unfile(state.trip.trip_id)

    def _unfile(self, trip_id: str) -> None:
        driver_id, active = self._filed.pop(trip_id, (None, False))
        self._active -= active
        if driver_id is not None:
            trips = self.drivers[driver_id]
            del trips[trip_id]
            if not trips:
                del self.drivers[driver_id]
        for waiting in (self._unsynced, self._dirty, self._unsaved, self._progressed, self._unpublished):
            waiting.pop(trip_id, None)

    def _file(self, state: TripState) -> None:
        """Put a trip in the lists it belongs to, after anything that may have changed that."""
        trip_id, home = state.trip.trip_id, self._is_home(state)
        active = home and not state.trip.ended
        driver_id = state.trip.driver_id if active or (home and not state.quiet) else None
        if self._filed.get(trip_id) != (driver_id, active):
            before = self._filed.get(trip_id, (None, False))
            if before[0] is not None and before[0] != driver_id:
                del self.drivers[before[0]][trip_id]
                if not self.drivers[before[0]]:
                    del self.drivers[before[0]]
            if driver_id is not None:
                self.drivers.setdefault(driver_id, {})[trip_id] = state
            self._active += active - before[1]
            self._filed[trip_id] = (driver_id, active)
        if state.settled and not state.told_settled:
            state.told_settled = state.unsaved = True
        _mark(self._unsynced, trip_id, home and not state.synced)
        _mark(self._dirty, trip_id, home and state.dirty)
        _mark(self._unsaved, trip_id, state.unsaved)
        _mark(self._progressed, trip_id, home and state.progressed)
        _mark(self._unpublished, trip_id, home and state.synced and next(state.log.unpublished, None) is not None)


def _mark(waiting: dict[str, None], trip_id: str, waits: bool) -> None:
    if waits:
        waiting[trip_id] = None
    else:
        waiting.pop(trip_id, None)
