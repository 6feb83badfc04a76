"""One trip in a worker's memory: its latest record, its log, its driver's drive, and what of it is unwritten. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ingest.events import Ping
from ingest.trips import ZONE_DWELLED, ZONE_ENTERED, ZONE_EXITED, Trip, TripEvent
from stream.arrivals import Approach
from stream.drives import Drive, TripRules
from stream.eta import Pace
from stream.rides import barred
from stream.trip_channels import ACTIVE_TTL_MS, TripCar, TripLog, TripWrite
from stream.trip_log import EventLog

#: First element of every value of the trips table. A worker refuses another version instead of guessing.
SAVED_VERSION = 1
#: What a zone's event is called within its event id.
_ZONE_WORDS = {ZONE_ENTERED: "enter", ZONE_EXITED: "exit", ZONE_DWELLED: "dwell"}


class Saved(msgspec.Struct, array_like=True, frozen=True):
    """The value of a trip in the trips table. A number in `log` stands for that version's event of the history.

    The track is not in it: it is in Redis, and a worker that takes the trip over reads it there.
    """

    version: int
    trip: Trip
    log: list[int | TripEvent]
    base: int
    known: int
    published: int
    car: TripCar | None
    pace: Pace
    approach: Approach
    settled: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Saved)


class TripState:
    """A trip and what is known of its car. Whether the driver is one of this worker's, its owner knows."""

    __slots__ = (
        "_rules",
        "dirty",
        "drive",
        "log",
        "progressed",
        "quiet",
        "saved_ms",
        "synced",
        "told_settled",
        "touched_ms",
        "trip",
        "unsaved",
        "written_version",
    )

    def __init__(self, trip: Trip, rules: TripRules) -> None:
        self.trip, self._rules = trip, rules
        self.log, self.drive = EventLog(trip.history), Drive(trip, rules)
        self.drive.turn(trip)
        #: The version that Redis has; whether its log is ours as far as we know; whether something is to be written.
        self.written_version, self.synced, self.dirty = 0, False, True
        #: Whether the saved value lacks something that happened, or only progress; and when it was saved.
        self.unsaved, self.progressed, self.saved_ms = True, False, -ACTIVE_TTL_MS
        #: Whether the saved value says that nothing is left to be done.
        self.told_settled = False
        #: When it was heard of last (event time); and whether it ended so long ago that no late fix is waited for.
        self.touched_ms, self.quiet = trip.history[-1].at_ms, False

    # -- what comes in ----------------------------------------------------------------------------------------------

    def take(self, trip: Trip) -> bool:
        """A record of it; whether it is news."""
        if trip.version <= self.trip.version:
            return False
        if trip.assignment != self.trip.assignment:
            # Where it was meanwhile, others may have written it.
            self.synced, self.drive = False, Drive(trip, self._rules)
        self.trip = trip
        self.touched_ms = max(self.touched_ms, trip.history[-1].at_ms)
        self._log_history()
        self.drive.turn(trip)
        self.dirty = self.unsaved = True
        return True

    def join_recent(self, recent: list[Ping]) -> None:
        """Pings of its driver that were read before the trip was."""
        self.join(recent)
        if self.drive.move_to_newest(recent):
            self.dirty = self.progressed = True

    def join(self, pings: Iterable[Ping]) -> None:
        """Pings of its driver, in any order and repeated."""
        if self.drive.join(pings, self.ended_ms if self.trip.ended else None):
            self.dirty = True

    def observe(self, live: Ping, now_ms: int) -> None:
        """The driver's live fix after a frame: the car goes there, and may be about to arrive, or have arrived."""
        if not self.drive.move(live):
            return
        self.dirty = self.progressed = True
        self.touched_ms = max(self.touched_ms, live.fix_time_ms)
        if not self.synced:
            # What was found before is not known yet: to tell "five minutes" after "one minute" would be wrong.
            self.drive.approach.interrupt()
            return
        place = self.drive.approach.place
        for found in self.drive.look(now_ms, _Told(self.log, self.trip.assignment)):
            self._find(found.type, found.key, live.fix_time_ms, place=place, eta_s=found.eta_s)

    def bar(self, others: Iterable[Trip]) -> None:
        """These are its driver's other trips: where the car goes with their riders is not this one's affair."""
        if self.drive.bar(barred(self.trip, others)):
            self.dirty = self.progressed = True

    def rest(self) -> None:
        """It ended so long ago that no late fix is waited for: its track, the most of it, is Redis's alone then."""
        self.quiet = True
        if self.settled:
            self.drive.forget_track()

    def zone_event(self, type_: str, zone_id: str, fix_time_ms: int) -> None:
        """`type_` is one of `ingest.trips`' ZONE_ names."""
        self._find(type_, f"{_ZONE_WORDS[type_]}:{zone_id}:{fix_time_ms}", fix_time_ms, zone_id=zone_id)

    # -- Redis ------------------------------------------------------------------------------------------------------

    def adopt(self, kept: TripLog) -> None:
        """Merge what Redis kept: its order of the log, its track, its newer car; a higher version is believed."""
        snapshot = kept.snapshot
        if snapshot is None:
            self.lost()
            self.synced = True
            return
        self.take(snapshot.trip)
        self.log.adopt(snapshot.entries, snapshot.offset, kept.published)
        self._log_history()
        self.written_version = snapshot.trip.version
        if snapshot.trip.assignment == self.trip.assignment:
            self.drive.adopt(kept.fixes, snapshot.car)
        else:
            self.drive.lost()
        self.synced = self.dirty = self.unsaved = True

    def lost(self) -> None:
        """Redis has nothing of it (any more)."""
        self.log.lost()
        self.drive.lost()
        self.written_version = 0
        self.dirty = self.unsaved = True
        self.told_settled = False

    def take_write(self, now_ms: int) -> TripWrite:
        """What Redis is to be told; from here on that counts as told, unless `not_written` takes it back."""
        self.dirty = False
        ended, whole = self.trip.ended, self.written_version < self.trip.version
        return TripWrite(
            self.trip,
            whole,
            car=self.drive.take_car(),
            car_gone=ended or self.drive.held or self.drive.car_gone,
            # A trip that Redis forgot a moment ago must not begin again in the middle of its log.
            events=list(self.log.events) if whole else self.log.pending,
            fixes=self.drive.take_fixes(),
            removed=self.drive.take_removed(),
            published=self.log.published,
            ttl_ms=max(self.ended_ms + self._rules.kept_ms - now_ms, 1_000) if ended else ACTIVE_TTL_MS,
            log_offset=self.log.base + self.log.known,
        )

    def written(self, write: TripWrite, offset: int) -> None:
        """Redis has it, and `offset` is the last of its log."""
        if write.whole:
            self.written_version = max(self.written_version, write.trip.version)
        if not self.log.written(write.events, offset):
            self.synced = False
            self.dirty = True

    def not_written(self, write: TripWrite) -> None:
        """Redis does not have it."""
        if write.trip.assignment == self.trip.assignment:
            self.drive.unwritten.update(fix.fix_time_ms for fix in write.fixes)
            self.drive.removed.update(write.removed)
        self.dirty = True

    # -- the trips table --------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Nothing is left to be done: it has ended, and Redis and Kafka know all of it."""
        return self.trip.ended and self.synced and not self.dirty and self.log.settled

    @property
    def ended_ms(self) -> int:
        """When it ended, if it has."""
        return self.trip.history[-1].at_ms

    def save(self) -> bytes:
        """The value for the trips table, as of now."""
        versions = {event.event_id: at for at, event in enumerate(self.trip.history, start=1)}
        return _encoder.encode(
            Saved(
                SAVED_VERSION,
                self.trip,
                [versions.get(event.event_id, event) for event in self.log.events],
                self.log.base,
                self.log.known,
                self.log.published,
                self.drive.car,
                self.drive.pace,
                self.drive.approach,
                self.settled,
            )
        )

    @classmethod
    def restore(cls, value: bytes, rules: TripRules) -> TripState:
        """Inverse of `save`. To be read from Redis, unless nothing was left to be done. Raises msgspec.DecodeError."""
        saved = _decoder.decode(value)
        if saved.version != SAVED_VERSION:
            raise msgspec.ValidationError(f"a saved trip of version {saved.version}, where {SAVED_VERSION} is known")
        state = cls(saved.trip, rules)
        events = [saved.trip.history[one - 1] if isinstance(one, int) else one for one in saved.log]
        state.log = EventLog(events, saved.base, saved.known, saved.published)
        state.drive = Drive(saved.trip, rules, saved.car, saved.pace, saved.approach)
        state.unsaved = False
        if saved.settled:
            state.written_version, state.synced, state.dirty = saved.trip.version, True, False
            state.told_settled = True
        return state

    # -- inside -----------------------------------------------------------------------------------------------------

    def _log_history(self) -> None:
        for event in self.trip.history:
            self.log.append(event)

    def _find(self, type_: str, key: str, at_ms: int, **more: Any) -> None:
        trip = self.trip
        event_id = f"a{trip.assignment}:{key}"
        if self.log.append(TripEvent(event_id, type_, at_ms, trip.state, trip.driver_id, trip.assignment, **more)):
            self.dirty = self.unsaved = True


class _Told:
    """The keys of what was found in one assignment."""

    def __init__(self, log: EventLog, assignment: int) -> None:
        self._log, self._assignment = log, assignment

    def __contains__(self, key: object) -> bool:
        return f"a{self._assignment}:{key}" in self._log
