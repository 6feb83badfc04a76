"""A plain model of one trip in Redis, and a rider's app that holds what it is told to the wire's promises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ingest.trips import (
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    REASSIGNED,
    STATE_CHANGED,
    Place,
    Trip,
    TripEvent,
)
from stream.trip_channels import LogEntry, TripCar, TripDelta, TripSnapshot

PICKUP, DROPOFF = Place(40.7549, -73.9840, "Home, 2nd floor"), Place(40.7128, -74.0060, "Work")


def new_trip(trip_id: str = "t-1", rider_id: str = "rider-1", driver_id: str = "d-1", **more: Any) -> Trip:
    created = TripEvent("v1", CREATED, 1_000, NEW, driver_id, 1, by="dispatch")
    return Trip(trip_id, 1, 1, driver_id, rider_id, NEW, PICKUP, DROPOFF, 1_000, [created], **more)


def moved(trip: Trip, state: str, reason: str = "") -> Trip:
    """The trip after somebody said that it is in `state` now."""
    version = trip.version + 1
    event = TripEvent(
        f"v{version}", STATE_CHANGED, 1_000 * version, state, trip.driver_id, trip.assignment, "driver", reason
    )
    return replace(trip, version=version, state=state, history=[*trip.history, event])


def reassigned(trip: Trip, driver_id: str) -> Trip:
    version, assignment = trip.version + 1, trip.assignment + 1
    event = TripEvent(f"v{version}", REASSIGNED, 1_000 * version, NEW, driver_id, assignment, "dispatch")
    return replace(
        trip,
        version=version,
        assignment=assignment,
        driver_id=driver_id,
        state=NEW,
        history=[*trip.history, event],
    )


def trip_car(trip: Trip, fix_time_ms: int, place: tuple[float, float] = (40.75, -73.99), **more: Any) -> TripCar:
    leg = {NEW: "pickup", ENROUTE_TO_PICKUP: "pickup", ENROUTE_TO_DROPOFF: "dropoff"}.get(trip.state, "")
    return TripCar(trip.assignment, trip.driver_id, fix_time_ms, *place, fix_time_ms + 5, **{"leg": leg, **more})


class TripModel:
    """What the script in stream/trip_index.py keeps and publishes, for one trip."""

    def __init__(self, trip: Trip, kept: int = 1_000) -> None:
        self.trip, self.kept, self.epochs = trip, kept, 6
        self.known = False
        self.car: TripCar | None = None
        self.log: list[LogEntry] = []
        self.ids: set[str] = set()
        self.epoch = self.seq = 0
        self.write(trip)

    def write(
        self,
        trip: Trip | None = None,
        car: TripCar | None = None,
        car_gone: bool = False,
        found: Sequence[TripEvent] = (),
    ) -> TripDelta | None:
        """The delta that is published, or None where nothing changes."""
        if not self.known:
            trip = trip or self.trip
            self.epochs += 1
            self.known, self.epoch, self.seq, self.log, self.ids, self.car = True, self.epochs, 0, [], set(), None
        elif trip is not None and trip.assignment > self.trip.assignment:
            self.car = None
        changed = trip is not None
        self.trip = trip or self.trip
        if car_gone:
            changed, self.car = changed or self.car is not None, None
        elif car is not None and (self.car is None or car.fix_time_ms >= self.car.fix_time_ms):
            changed, self.car = True, car
        news: list[LogEntry] = []
        trailing = True
        for event in [*(trip.history if trip is not None else []), *found]:
            if event.event_id not in self.ids:
                self.ids.add(event.event_id)
                self.log.append(LogEntry(len(self.log) + 1, event))
                news.append(self.log[-1])
            elif news:
                trailing = False
        if not news and not changed:
            return None
        self.seq += 1
        return TripDelta(self.epoch, self.seq, len(self.log), news if trailing else None, trip, car, car_gone)

    def snapshot(self) -> TripSnapshot | None:
        if not self.known:
            return None
        return TripSnapshot(self.epoch, self.seq, len(self.log), self.trip, self.car, self.log[-self.kept :])

    def wipe(self) -> None:
        """Redis lost everything."""
        self.known = False


class TripApp:
    """Folds the messages of one trip over all its connections; asserts what docs/wire/websocket.md promises."""

    def __init__(self) -> None:
        self.epoch, self.offset, self.version = "", 0, 0
        self.events: list[dict[str, Any]] = []
        self.trip: dict[str, Any] = {}
        self.car: dict[str, Any] | None = None
        self.freshness = ""
        self.newest_ms: dict[str, int] = {}
        self.transitions: list[str] = []
        self.modes: list[str] = []
        self.ended = ""

    @property
    def recover(self) -> dict[str, Any] | None:
        return {"epoch": self.epoch, "offset": self.offset} if self.epoch else None

    def fold(self, message: bytes | dict[str, Any]) -> None:
        body = message if isinstance(message, dict) else json.loads(message)
        assert not self.ended, "told something after the end"
        match body["type"]:
            case "trip_snapshot":
                self._snapshot(body)
            case "trip_events":
                assert body["epoch"] == self.epoch
                assert body["events"] or "trip" in body
                self._log(body)
            case "trip_position":
                assert body["car"]["freshness"] == self.freshness != "none"
                self._drive(body["car"])
            case "trip_freshness":
                assert body["freshness"] != self.freshness, "the same freshness twice"
                assert ("age_ms" in body) == ("fix_time_ms" in body) == (body["freshness"] != "none")
                self.freshness = body["freshness"]
                self.transitions.append(self.freshness)
                if self.freshness == "none":
                    self.car = None
            case "trip_ended":
                self.ended = body["reason"]
        if "trip" in body:
            assert body["trip"]["version"] >= self.version, "the trip went back"
            self.trip, self.version = body["trip"], body["trip"]["version"]

    def _snapshot(self, body: dict[str, Any]) -> None:
        self.modes.append(body["mode"])
        if body["mode"] == "replay":
            assert body["epoch"] == self.epoch
            assert body["replayed"] == len(body["events"])
        else:
            assert "replayed" not in body
            self.events, self.epoch = [], body["epoch"]
            self.offset = body["offset"] - len(body["events"])
        self._log(body)
        self.freshness = body["freshness"]
        assert ("car" in body) == ("progress" in body) == ("age_ms" in body) == (self.freshness != "none")
        self.car = None
        if "car" in body:
            self._drive(body["car"])

    def _log(self, body: dict[str, Any]) -> None:
        for event in body["events"]:
            assert event["offset"] == self.offset + 1, "an event is missing, or comes twice"
            self.offset += 1
            self.events.append(event)
        assert body["offset"] == self.offset

    def _drive(self, car: dict[str, Any]) -> None:
        assert car["fix_time_ms"] >= self.newest_ms.get(car["driver_id"], 0), "a car went back"
        self.newest_ms[car["driver_id"]] = car["fix_time_ms"]
        assert car["age_ms"] >= 0
        self.car = car
