"""The trip wire from ingest to stream: states, the trip, what happens to it, and its Kafka record. Pure.

A record is the whole trip as of one `version`, with all that happened until then. So records may come in any order,
more than once, and by way of two partitions (a trip that is given to another driver): the higher version counts.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: Fleet Engine's trip states.
NEW: Final = "NEW"
ENROUTE_TO_PICKUP: Final = "ENROUTE_TO_PICKUP"
ARRIVED_AT_PICKUP: Final = "ARRIVED_AT_PICKUP"
ENROUTE_TO_INTERMEDIATE_DESTINATION: Final = "ENROUTE_TO_INTERMEDIATE_DESTINATION"
ARRIVED_AT_INTERMEDIATE_DESTINATION: Final = "ARRIVED_AT_INTERMEDIATE_DESTINATION"
ENROUTE_TO_DROPOFF: Final = "ENROUTE_TO_DROPOFF"
COMPLETE: Final = "COMPLETE"
CANCELED: Final = "CANCELED"
STATES: Final = (
    NEW,
    ENROUTE_TO_PICKUP,
    ARRIVED_AT_PICKUP,
    ENROUTE_TO_INTERMEDIATE_DESTINATION,
    ARRIVED_AT_INTERMEDIATE_DESTINATION,
    ENROUTE_TO_DROPOFF,
    COMPLETE,
    CANCELED,
)
#: A trip in one of these has ended: nothing happens to it any more, and its car is nobody's business.
ENDED: Final = frozenset({COMPLETE, CANCELED})
#: The rider is not in the car yet.
BEFORE_BOARDING: Final = frozenset({NEW, ENROUTE_TO_PICKUP, ARRIVED_AT_PICKUP})

#: What may happen to a trip: said by people through the trip API …
CREATED: Final = "trip.created"
STATE_CHANGED: Final = "trip.state_changed"
REASSIGNED: Final = "trip.reassigned"
#: … or found by stream from the driver's pings.
APPROACHING: Final = "trip.approaching"
ARRIVED: Final = "trip.arrived"
ZONE_ENTERED: Final = "geofence.entered"
ZONE_EXITED: Final = "geofence.exited"
ZONE_DWELLED: Final = "geofence.dwelled"

#: Places of a trip, as `TripEvent.place` and `TripProgress.leg` name them.
PICKUP: Final = "pickup"
DROPOFF: Final = "dropoff"
WAYPOINT_PREFIX: Final = "waypoint:"

#: First element of every record. A worker refuses a record of another version instead of guessing.
RECORD_VERSION: Final = 1


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stop of a trip. WGS84 degrees. `name` is what the app shows for it; it may be somebody's home."""

    lat: float
    lon: float
    name: str = ""


class TripEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a trip. It holds no position. `event_id` is unique within the trip.

    `at_ms` is event time, epoch milliseconds. `state` is the trip's after it. `by` is the scope of who said so
    (`dispatch`, `driver`), "" for what stream found. `assignment` counts the drivers of the trip, from 1.
    """

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


class Trip(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trip as of `version`, which counts what people did to it, from 1; so does `history`, oldest first.

    `approach` is the way to the pickup and `route` the way from there to the dropoff, through the waypoints: encoded
    polylines of 5 decimals (Google's format), "" where nobody gave one. `next_waypoint` is the index of the waypoint
    that the trip heads for or stands at, and the number of waypoints once all are behind it.
    """

    trip_id: str
    version: int
    assignment: int
    driver_id: str
    rider_id: str
    state: str
    pickup: Place
    dropoff: Place
    created_at_ms: int
    history: list[TripEvent]
    waypoints: list[Place] = []
    next_waypoint: int = 0
    approach: str = ""
    route: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def drivers(self) -> set[str]:
        """Everybody who has driven it: each one's partition gets its records, so that it knows when it is over."""
        return {event.driver_id for event in self.history}


class _Record(msgspec.Struct, array_like=True, frozen=True):
    version: int
    trip: Trip


class TripRecordError(ValueError):
    """A record is not a trip that this version can read; `args[0]` is a reason code without content."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


def encode_trip(trip: Trip) -> bytes:
    """The value of a `trip.events` record."""
    return _encoder.encode(_Record(RECORD_VERSION, trip))


def decode_trip(value: bytes | None) -> Trip:
    """Inverse of `encode_trip`. Raises TripRecordError(`empty_record` | `undecodable` | `unknown_version`)."""
    if not value:
        raise TripRecordError("empty_record")
    try:
        record = _decoder.decode(value)
    except (msgspec.DecodeError, RecursionError):
        raise TripRecordError("undecodable") from None
    if record.version != RECORD_VERSION:
        raise TripRecordError("unknown_version")
    return record.trip


def next_stop(trip: Trip) -> tuple[str, Place] | None:
    """Where the car is to go next, by name and place; None while it stands at a stop, and once the trip has ended."""
    match trip.state:
        case "NEW" | "ENROUTE_TO_PICKUP":
            return PICKUP, trip.pickup
        case "ENROUTE_TO_INTERMEDIATE_DESTINATION":
            return f"{WAYPOINT_PREFIX}{trip.next_waypoint}", trip.waypoints[trip.next_waypoint]
        case "ENROUTE_TO_DROPOFF":
            return DROPOFF, trip.dropoff
        case _:
            return None
