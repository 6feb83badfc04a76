"""The trip channel's part of the WebSocket wire, `ridestream.v1`: what is said of a trip, and its JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from ingest.trips import Place, Trip
from stream.trip_channels import LogEntry, TripCar

#: How fresh the position of a trip's car is; `none` while there is no car to be seen.
LIVE: Final = "live"
STALE: Final = "stale"
LOST: Final = "lost"
NONE: Final = "none"

_encoder = msgspec.json.Encoder()


class TripMessage(msgspec.Struct, frozen=True):
    """A trip as its watchers see it. What is left out is not for them. A waypoint that is not either is null.

    All of it but `trip_id`, `version` and `state` is left out for the holder of a share link once the trip has ended.
    """

    trip_id: str
    version: int
    state: str
    driver_id: str | UnsetType = UNSET
    assignment: int | UnsetType = UNSET
    dropoff: Place | UnsetType = UNSET
    waypoints: Sequence[Place | None] | UnsetType = UNSET
    next_waypoint: int | UnsetType = UNSET
    route: str | UnsetType = UNSET
    created_at_ms: int | UnsetType = UNSET
    pickup: Place | UnsetType = UNSET
    approach: str | UnsetType = UNSET
    rider_id: str | UnsetType = UNSET


class EventMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a trip's log; what does not apply to it is left out."""

    offset: int
    event_id: str
    type: str
    at_ms: int
    state: str
    driver_id: str
    assignment: int
    by: str = ""
    reason: str = ""
    place: str = ""
    zone_id: str = ""
    eta_s: int | None = None


class TripCarMessage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where the car is. Degrees, metres, metres per second, epoch milliseconds; `age_ms` as of `server_time_ms`."""

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


class ProgressMessage(msgspec.Struct, frozen=True, gc=False):
    """How far it has to go to the stop `leg` ("" while it stands at one), as of the car's fix.

    `eta_ms` is when it gets there, epoch milliseconds. `route_m` is how far along the polyline of the leg it is.
    """

    leg: str
    off_route: bool
    distance_m: float
    remaining_m: float | UnsetType = UNSET
    eta_s: float | UnsetType = UNSET
    eta_ms: int | UnsetType = UNSET
    route_m: float | UnsetType = UNSET


def trip_message(trip: Trip) -> TripMessage:
    """For who may see all of it."""
    return TripMessage(
        trip.trip_id,
        trip.version,
        trip.state,
        trip.driver_id,
        trip.assignment,
        trip.dropoff,
        trip.waypoints,
        trip.next_waypoint,
        trip.route,
        trip.created_at_ms,
        trip.pickup,
        trip.approach,
        trip.rider_id,
    )


def event_message(entry: LogEntry) -> EventMessage:
    """For who may see all of it."""
    event = entry.event
    return EventMessage(
        entry.offset,
        event.event_id,
        event.type,
        event.at_ms,
        event.state,
        event.driver_id,
        event.assignment,
        event.by,
        event.reason,
        event.place,
        event.zone_id,
        event.eta_s,
    )


def car_message(car: TripCar, freshness: str, now_ms: int) -> TripCarMessage:
    """The car as of `now_ms` (event time)."""
    return TripCarMessage(
        car.driver_id,
        car.lat,
        car.lon,
        car.fix_time_ms,
        max(0, now_ms - car.fix_time_ms),
        freshness,
        car.heading_deg,
        car.speed_mps,
        car.accuracy_m,
        car.vehicle_type,
    )


def progress_message(car: TripCar) -> ProgressMessage:
    """For who may see all of it."""
    return ProgressMessage(
        car.leg,
        car.off_route,
        round(car.distance_m, 1),
        UNSET if car.remaining_m is None else round(car.remaining_m, 1),
        UNSET if car.eta_s is None else round(car.eta_s, 1),
        UNSET if car.eta_s is None else car.fix_time_ms + round(car.eta_s * 1_000),
        UNSET if car.route_m is None else round(car.route_m, 1),
    )


def encode(message: TripMessage | TripCarMessage | ProgressMessage | Iterable[EventMessage]) -> bytes:
    return _encoder.encode(message)


def join_trip(type_: bytes, quoted_sub: bytes, tail: bytes) -> bytes:
    """One message: the tail is shared by everybody who watches the trip in the same way."""
    return b'{"type":"%b","sub":%b,%b' % (type_, quoted_sub, tail)
