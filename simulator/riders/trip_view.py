"""What a rider's app shows of one trip, and every promise of docs/wire/websocket.md that was broken to it. Pure.

Hand it every message of the trip, over all connections. `replay` and `trip_events` append to the log, `snapshot`
replaces it; the trip, the car and its freshness are those that came last. What a server may not do is noted as a
finding of its kind: a gap in the log, an event told twice or in another order or another way, a car that goes back in
time, positions before the snapshot or after the end.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from simulator.counts.findings import Findings, Kind
from simulator.dispatch.rides import ENDED
from simulator.dispatch.trip_answers import TripEvent

#: The name of the one subscription.
SUB = "my-trip"
LIVE, NO_CAR = "live", "none"


class ShownTrip(msgspec.Struct, frozen=True):
    """The members of a trip that matter here."""

    trip_id: str
    version: int
    state: str
    driver_id: str
    assignment: int


class TripCar(msgspec.Struct, frozen=True, gc=False):
    """Where the car is. Degrees, epoch milliseconds; `age_ms` as of the message's `server_time_ms`."""

    driver_id: str
    lat: float
    lon: float
    fix_time_ms: int
    age_ms: int
    freshness: str
    heading_deg: float | None = None
    speed_mps: float | None = None
    accuracy_m: float | None = None
    vehicle_type: str = ""


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far it has to go to the stop `leg`, "" while it stands at one; as of the car's fix. Metres, s, epoch ms."""

    leg: str
    off_route: bool
    distance_m: float
    remaining_m: float | None = None
    eta_s: float | None = None
    eta_ms: int | None = None
    route_m: float | None = None


class TripSnapshot(msgspec.Struct, tag_field="type", tag="trip_snapshot"):
    sub: str
    mode: Literal["snapshot", "replay"]
    epoch: str
    offset: int
    server_time_ms: int
    trip: ShownTrip
    freshness: str
    events: list[TripEvent]
    car: TripCar | None = None
    replayed: int = 0
    progress: Progress | None = None


class TripEvents(msgspec.Struct, tag_field="type", tag="trip_events"):
    sub: str
    epoch: str
    offset: int
    server_time_ms: int
    events: list[TripEvent]
    trip: ShownTrip | None = None


class TripPosition(msgspec.Struct, tag_field="type", tag="trip_position"):
    sub: str
    server_time_ms: int
    car: TripCar
    progress: Progress | None = None


class TripFreshness(msgspec.Struct, tag_field="type", tag="trip_freshness"):
    sub: str
    server_time_ms: int
    freshness: str


TripMessage = TripSnapshot | TripEvents | TripPosition | TripFreshness
_decoder: msgspec.json.Decoder[TripMessage] = msgspec.json.Decoder(TripMessage)


def decode_trip_message(text: bytes) -> TripMessage:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(text)


class News(NamedTuple):
    """What a message told that was not known: a newer position, and events; and the progress in it."""

    car: TripCar | None
    events: list[TripEvent]
    progress: Progress | None = None


class TripView:
    """The screen of one rider."""

    def __init__(self, trip_id: str, findings: Findings) -> None:
        self.trip_id, self._findings = trip_id, findings
        #: The log as this app knows it, in the order told, and the offset of the last event.
        self.events: list[TripEvent] = []
        self.epoch, self.offset = "", 0
        self.trip: ShownTrip | None = None
        self.car: TripCar | None = None
        self.freshness = ""
        self.server_time_ms = 0
        #: Since when it is connected, told the trip, and reads (epoch ms); None while it is not, and may not be judged.
        self.settled_since_ms: int | None = None
        self.snapshots = self.replays = self.positions = 0
        self._has_snapshot = False
        self._newest_ms: dict[tuple[str, int], int] = {}
        self._at_ms = 0

    @property
    def has_ended(self) -> bool:
        """The app shows that the trip is over, and no car any more."""
        return self.trip is not None and self.trip.state in ENDED and self.freshness == NO_CAR

    @property
    def _driver_id(self) -> str:
        return "" if self.trip is None else self.trip.driver_id

    def cut_off(self) -> None:
        """The connection is gone: what is on the screen is old, and the next one begins with a snapshot."""
        self._has_snapshot, self.settled_since_ms = False, None

    def not_understood(self, what: str, at_ms: int) -> None:
        """The server said something else than docs/wire/websocket.md lets it say to this rider."""
        self._at_ms = at_ms
        self._broken(Kind.WIRE, what)

    def take(self, message: TripMessage, at_ms: int) -> News:
        """One message, received at `at_ms` (epoch ms)."""
        self._at_ms = at_ms
        car, known = self.car, len(self.events)
        if message.server_time_ms < self.server_time_ms and self._has_snapshot:
            self._broken(Kind.WIRE, "server_time_ms went backwards")
        self.server_time_ms = message.server_time_ms
        if isinstance(message, TripSnapshot):
            known = self._take_snapshot(message, known)
        elif not self._has_snapshot:
            self._broken(Kind.WIRE, "told before the snapshot")
        elif isinstance(message, TripEvents):
            self._take_events(message)
        elif isinstance(message, TripPosition):
            self.positions += 1
            self._place(message.car)
        else:
            self._turn(message.freshness)
        moved = self.car if self.car is not None and self.car != car else None
        progress = message.progress if isinstance(message, TripSnapshot | TripPosition) else None
        return News(moved, self.events[known:], progress)

    def _take_snapshot(self, snapshot: TripSnapshot, known: int) -> int:
        """Returns how many events of the log it holds now were known before."""
        self._has_snapshot = True
        if self.settled_since_ms is None:
            self.settled_since_ms = self._at_ms
        if snapshot.mode == "replay":
            self.replays += 1
            if snapshot.epoch != self.epoch:
                self._broken(Kind.WIRE, "replay of another log")
            if snapshot.replayed != len(snapshot.events):
                self._broken(Kind.WIRE, "replayed is not the number of events", said=snapshot.replayed)
            self._append(snapshot.events)
        else:
            self.snapshots += 1
            known = self._replace(snapshot)
        self.epoch = snapshot.epoch
        self._expect_offset(snapshot.offset)
        self._show(snapshot.trip)
        self.freshness = snapshot.freshness
        if (snapshot.car is None) != (snapshot.freshness == NO_CAR):
            self._broken(Kind.WIRE, "a car without freshness, or freshness without a car", freshness=snapshot.freshness)
        self.car = None
        if snapshot.car is not None:
            self._place(snapshot.car)
        return known

    def _take_events(self, message: TripEvents) -> None:
        if message.epoch != self.epoch:
            self._broken(Kind.WIRE, "events of another log")
        if not message.events and message.trip is None:
            self._broken(Kind.WIRE, "trip_events without news")
        self._append(message.events)
        self._expect_offset(message.offset)
        if message.trip is not None:
            self._show(message.trip)

    def _replace(self, snapshot: TripSnapshot) -> int:
        """A whole log in place of what is known. Returns how many of its events are no news."""
        told, before = {event.event_id: event for event in snapshot.events}, self.events
        first = snapshot.events[0].offset if snapshot.events else snapshot.offset + 1
        if snapshot.epoch == self.epoch:
            for event in before:
                if event.offset >= first and told.get(event.event_id) != event:
                    self._broken(Kind.TRIP_EVENT_LOST, "told before, and not any more", event=event.event_id)
        self.events, self.offset = [], first - 1
        if first > 1 and not before:
            self._broken(Kind.TRIP_EVENT_LOST, "the log does not begin with its first event", first_offset=first)
        self._append(snapshot.events)
        ids = {event.event_id for event in before}
        # A log that was written anew may have another order: what is new in it is its end.
        return sum(event.event_id in ids for event in self.events)

    def _append(self, events: list[TripEvent]) -> None:
        for event in events:
            known = next((one for one in self.events if one.event_id == event.event_id), None)
            if known is not None:
                self._broken(Kind.TRIP_EVENT_DOUBLED, "an event was told twice", event=event.event_id)
            elif event.offset > self.offset + 1:
                missing = event.offset - self.offset - 1
                self._broken(Kind.TRIP_EVENT_LOST, "a gap in the log", before=event.event_id, missing=missing)
            elif event.offset <= self.offset:
                self._broken(
                    Kind.TRIP_EVENT_OUT_OF_ORDER, "told after a later one", event=event.event_id, offset=event.offset
                )
            if known is None:
                self.events.append(event)
            self.offset = max(self.offset, event.offset)

    def _expect_offset(self, offset: int) -> None:
        if offset > self.offset:
            self._broken(Kind.TRIP_EVENT_LOST, "offset is ahead of the log", offset=offset, log_offset=self.offset)
        elif offset < self.offset:
            self._broken(Kind.WIRE, "offset is behind the log", offset=offset, log_offset=self.offset)
        self.offset = max(self.offset, offset)

    def _show(self, trip: ShownTrip) -> None:
        before = self.trip
        if trip.trip_id != self.trip_id:
            self._broken(Kind.WIRE, "another trip was told")
            return
        if before is not None and trip.version < before.version:
            self._broken(Kind.TRIP_EVENT_OUT_OF_ORDER, "an older trip", version=trip.version, before=before.version)
        said = [event.event_id for event in self.events if event.event_id.startswith("v")]
        if said and said[-1] != f"v{trip.version}":
            kind = Kind.TRIP_EVENT_LOST if len(said) < trip.version else Kind.WIRE
            self._broken(kind, "the trip and its log tell different versions", version=trip.version, last=said[-1])
        if before is not None and trip.assignment != before.assignment:
            self.car = None
        self.trip = trip

    def _turn(self, freshness: str) -> None:
        if freshness == self.freshness:
            self._broken(Kind.WIRE, "the same freshness twice", freshness=freshness)
        self.freshness = freshness
        if freshness == NO_CAR:
            self.car = None

    def _place(self, car: TripCar) -> None:
        trip = self.trip
        if trip is None:
            return  # only another trip was told
        if trip.state in ENDED:
            self._broken(Kind.GHOST, "a position after the end of the trip", fix_time_ms=car.fix_time_ms)
        if car.driver_id != trip.driver_id:
            self._broken(Kind.GHOST, "the car of another driver", shown=car.driver_id)
        if car.freshness != self.freshness:
            self._broken(Kind.WIRE, f"a {car.freshness} car where the trip is {self.freshness}")
        key = car.driver_id, trip.assignment
        newest_ms = self._newest_ms.get(key, car.fix_time_ms)
        if car.fix_time_ms < newest_ms:
            self._broken(
                Kind.BACKWARDS, "the car went back to an older fix", fix_time_ms=car.fix_time_ms, before_ms=newest_ms
            )
        self._newest_ms[key] = max(newest_ms, car.fix_time_ms)
        self.car = car

    def _broken(self, kind: Kind, what: str, **evidence: object) -> None:
        self._findings.note(kind, self._at_ms, self.trip_id, self._driver_id, what=what, **evidence)
