"""What happened, as other systems read it from Kafka: `trip.updates` and `zone.events`, JSON, at least once. Pure."""

from __future__ import annotations

import msgspec

from ingest.trips import Trip, TripEvent


class TripUpdate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a trip. (`trip_id`, `event_id`) is its identity: a reader that has it already passes it over.

    `offset` is its place in the trip's log, from 1. `version` and `rider_id` are the trip's when it was published.
    """

    trip_id: str
    event_id: str
    offset: int
    type: str
    at_ms: int
    state: str
    driver_id: str
    rider_id: str
    assignment: int
    version: int
    by: str = ""
    reason: str = ""
    place: str = ""
    zone_id: str = ""
    eta_s: int | None = None


_encoder = msgspec.json.Encoder()


def encode_trip_update(trip: Trip, offset: int, event: TripEvent) -> bytes:
    """The value of a `trip.updates` record; its key is the trip id."""
    return _encoder.encode(
        TripUpdate(
            trip.trip_id,
            event.event_id,
            offset,
            event.type,
            event.at_ms,
            event.state,
            event.driver_id,
            trip.rider_id,
            event.assignment,
            trip.version,
            event.by,
            event.reason,
            event.place,
            event.zone_id,
            event.eta_s,
        )
    )
