"""What a trip's log, car and track in Redis must be: the write script in plain Python, and what may be in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ingest.events import Ping
from ingest.trips import APPROACHING, ARRIVED, ENDED, Trip, TripEvent
from stream.trip_channels import LogEntry, TrackFix, TripCar, TripLog, TripOutcome, TripReply, TripSnapshot, TripWrite
from tests.oracle.distance import haversine_m

_OF_PEOPLE = ("trip.created", "trip.state_changed", "trip.reassigned")


@dataclass
class Kept:
    """One trip in Redis."""

    epoch: int
    trip: Trip
    car: TripCar | None = None
    log: list[TripEvent] = field(default_factory=list)
    track: dict[int, TrackFix] = field(default_factory=dict)
    published: int = 0
    trimmed: int = 0
    #: The log as if it were not trimmed.
    all: list[TripEvent] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


class FakeRedis:
    """Does with a write what `stream.trip_index.APPLY` does. `cars` is what riders were shown, in order."""

    def __init__(self, kept_events: int = 1_000) -> None:
        self.trips: dict[str, Kept] = {}
        self.cars: list[TripCar | None] = []
        self._epoch, self._kept_events = 0, kept_events

    def apply(self, write: TripWrite) -> TripReply:
        trip_id = write.trip.trip_id
        kept = self.trips.get(trip_id)
        if kept is not None and (
            kept.trip.version > write.trip.version or write.log_offset not in (None, len(kept.log) + kept.trimmed)
        ):
            return TripReply(TripOutcome.SUPERSEDED, len(kept.log) + kept.trimmed, kept.published)
        if kept is None:
            if not write.whole:
                return TripReply(TripOutcome.MISSING, 0, 0)
            self._epoch += 1
            kept = self.trips[trip_id] = Kept(self._epoch, write.trip)
        if kept.trip.assignment < write.trip.assignment:
            kept.car, kept.track = None, {}
        if write.whole:
            kept.trip = write.trip
        if write.car_gone:
            if kept.car is not None:
                self.cars.append(None)
            kept.car = None
        elif write.car is not None and (kept.car is None or kept.car.fix_time_ms <= write.car.fix_time_ms):
            kept.car = write.car
            self.cars.append(write.car)
        for event in write.events:
            if event.event_id not in kept.ids:
                kept.ids.add(event.event_id)
                kept.log.append(event)
                kept.all.append(event)
        spare = max(len(kept.log) - self._kept_events, 0)
        kept.trimmed += spare
        del kept.log[:spare]
        kept.track.update((fix.fix_time_ms, fix) for fix in write.fixes)
        kept.published = max(kept.published, write.published)
        return TripReply(TripOutcome.WRITTEN, len(kept.log) + kept.trimmed, kept.published)

    def load(self, trip_id: str) -> TripLog:
        kept = self.trips.get(trip_id)
        if kept is None:
            return TripLog(None)
        entries = [LogEntry(kept.trimmed + at, event) for at, event in enumerate(kept.log, start=1)]
        snapshot = TripSnapshot(kept.epoch, 1, kept.trimmed + len(kept.log), kept.trip, kept.car, entries)
        return TripLog(snapshot, list(kept.track.values()), kept.published)

    def mark_published(self, trip_id: str, offset: int) -> None:
        kept = self.trips.get(trip_id)
        if kept is not None:
            kept.published = max(kept.published, offset)


def check_log(log: Sequence[TripEvent], trip: Trip, pings: Iterable[Ping], arrival_radius_m: float) -> None:
    """Told by people: each once, in order. Found: at most once, of the driver of then, and not out of thin air."""
    assert [event for event in log if event.type in _OF_PEOPLE] == trip.history
    ids = [event.event_id for event in log]
    assert len(set(ids)) == len(ids)
    starts = {event.assignment: event.at_ms for event in reversed(trip.history)}
    drivers = {event.assignment: event.driver_id for event in trip.history}
    places = {"pickup": trip.pickup, "dropoff": trip.dropoff}
    places.update((f"waypoint:{at}", place) for at, place in enumerate(trip.waypoints))
    by_driver: dict[str, list[Ping]] = {}
    for ping in pings:
        by_driver.setdefault(ping.driver_id, []).append(ping)
    assignment, state = 0, ""
    closest: dict[tuple[int, str], int] = {}
    for event in log:
        if event.type in _OF_PEOPLE:
            assignment, state = event.assignment, event.state
            continue
        assert state not in ENDED
        assert (event.assignment, event.driver_id) == (assignment, drivers[assignment])
        if event.type not in (ARRIVED, APPROACHING):
            continue
        assert event.state == state
        assert state.startswith("ENROUTE_")
        here = places[event.place]
        rank = 0 if event.type == ARRIVED else event.eta_s or 0
        limit_s = 0 if event.type == ARRIVED else int(event.event_id.rpartition(":")[2])
        assert rank <= limit_s
        assert closest.get((assignment, event.place), 1 << 30) > limit_s
        closest[assignment, event.place] = limit_s
        if event.type == ARRIVED:
            near = {
                ping.fix_time_ms
                for ping in by_driver.get(event.driver_id, ())
                if starts[assignment] <= ping.fix_time_ms <= event.at_ms
                and haversine_m(ping.lat, ping.lon, here.lat, here.lon) <= arrival_radius_m * (1 + 1e-9)
            }
            assert len(near) >= 2
            assert event.at_ms in near
