"""Decide what a command makes of a trip: its next version, or why there is none. Pure: the time is handed in.

NEW → ENROUTE_TO_PICKUP → ARRIVED_AT_PICKUP → (ENROUTE_TO_INTERMEDIATE_DESTINATION →
ARRIVED_AT_INTERMEDIATE_DESTINATION) for every waypoint, in order → ENROUTE_TO_DROPOFF → COMPLETE; CANCELED from every
state that has not ended. No state is skipped or told twice, so the same command twice is refused, not done twice.
"""

from __future__ import annotations

import msgspec

from ingest.trips import (
    ARRIVED_AT_INTERMEDIATE_DESTINATION,
    ARRIVED_AT_PICKUP,
    BEFORE_BOARDING,
    CANCELED,
    COMPLETE,
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_INTERMEDIATE_DESTINATION,
    ENROUTE_TO_PICKUP,
    NEW,
    REASSIGNED,
    STATE_CHANGED,
    WAYPOINT_PREFIX,
    Place,
    Trip,
    TripEvent,
)

#: Drivers that a trip may have, one after the other. Its record holds all that happened to it, and must stay small
#: (Kafka takes 1 MB); a trip that 50 drivers gave back is better made anew.
MAX_ASSIGNMENTS = 50


class Illegal(msgspec.Struct, frozen=True):
    """Why a command is not for the trip as it stands: what to do about it, and the states it may go to."""

    detail: str
    allowed: tuple[str, ...]


class Wish(msgspec.Struct, frozen=True):
    """A trip as somebody orders it; everything in it has been found valid. Members as in Trip."""

    driver_id: str
    rider_id: str
    pickup: Place
    dropoff: Place
    waypoints: list[Place] = []
    approach: str = ""
    route: str = ""


def event_id(version: int) -> str:
    """The id of the event that made this version."""
    return f"v{version}"


def allowed(trip: Trip) -> tuple[str, ...]:
    """The states that the trip may go to now; none once it has ended."""
    forth = _next_state(trip)
    return () if forth is None else (forth, CANCELED)


def create(trip_id: str, wish: Wish, by: str, now_ms: int) -> Trip:
    """Version 1. `now_ms` is event time; `by` is the scope of who says so, here and below."""
    return Trip(
        trip_id=trip_id,
        version=1,
        assignment=1,
        driver_id=wish.driver_id,
        rider_id=wish.rider_id,
        state=NEW,
        pickup=wish.pickup,
        dropoff=wish.dropoff,
        created_at_ms=now_ms,
        history=[TripEvent(event_id(1), CREATED, now_ms, NEW, wish.driver_id, 1, by=by)],
        waypoints=wish.waypoints,
        approach=wish.approach,
        route=wish.route,
    )


def advance(trip: Trip, state: str, by: str, now_ms: int, reason: str = "") -> Trip | Illegal:
    """Take the trip to `state`. Waypoints are counted here: the next one is headed for when the car leaves the last."""
    if state not in allowed(trip):
        return _illegal(trip, f"the trip is {trip.state} and cannot become {state}")
    at = trip.next_waypoint
    if trip.state == ARRIVED_AT_INTERMEDIATE_DESTINATION and state != CANCELED:
        at += 1
    place = ""
    if state in (ENROUTE_TO_INTERMEDIATE_DESTINATION, ARRIVED_AT_INTERMEDIATE_DESTINATION):
        place = f"{WAYPOINT_PREFIX}{at}"
    version = trip.version + 1
    happened = TripEvent(
        event_id(version),
        STATE_CHANGED,
        _not_before(trip, now_ms),
        state,
        trip.driver_id,
        trip.assignment,
        by=by,
        reason=reason,
        place=place,
    )
    return msgspec.structs.replace(
        trip, version=version, state=state, next_waypoint=at, history=[*trip.history, happened]
    )


def cancel(trip: Trip, by: str, now_ms: int, reason: str = "") -> Trip | Illegal:
    """End the trip before it is complete."""
    return advance(trip, CANCELED, by, now_ms, reason)


def reassign(trip: Trip, driver_id: str, approach: str, by: str, now_ms: int, reason: str = "") -> Trip | Illegal:
    """Give the trip to another driver, who begins at NEW, with the `approach` from where they are ("" unknown)."""
    if trip.state not in BEFORE_BOARDING:
        return _illegal(trip, f"the trip is {trip.state}; only a trip whose rider has not boarded gets another driver")
    if driver_id == trip.driver_id:
        return _illegal(trip, "the trip is this driver's already")
    if trip.assignment >= MAX_ASSIGNMENTS:
        return _illegal(trip, f"the trip has had {MAX_ASSIGNMENTS} drivers; cancel it and create another")
    version, assignment = trip.version + 1, trip.assignment + 1
    happened = TripEvent(
        event_id(version), REASSIGNED, _not_before(trip, now_ms), NEW, driver_id, assignment, by=by, reason=reason
    )
    return msgspec.structs.replace(
        trip,
        version=version,
        assignment=assignment,
        driver_id=driver_id,
        state=NEW,
        approach=approach,
        history=[*trip.history, happened],
    )


def _next_state(trip: Trip) -> str | None:
    """The one state that follows when all goes well."""
    match trip.state:
        case "NEW":
            return ENROUTE_TO_PICKUP
        case "ENROUTE_TO_PICKUP":
            return ARRIVED_AT_PICKUP
        case "ARRIVED_AT_PICKUP":
            return ENROUTE_TO_INTERMEDIATE_DESTINATION if trip.waypoints else ENROUTE_TO_DROPOFF
        case "ENROUTE_TO_INTERMEDIATE_DESTINATION":
            return ARRIVED_AT_INTERMEDIATE_DESTINATION
        case "ARRIVED_AT_INTERMEDIATE_DESTINATION":
            more = trip.next_waypoint + 1 < len(trip.waypoints)
            return ENROUTE_TO_INTERMEDIATE_DESTINATION if more else ENROUTE_TO_DROPOFF
        case "ENROUTE_TO_DROPOFF":
            return COMPLETE
        case _:
            return None


def _illegal(trip: Trip, detail: str) -> Illegal:
    if trip.ended:
        detail = f"the trip is {trip.state}: it has ended, and nothing happens to it any more"
    return Illegal(detail, allowed(trip))


def _not_before(trip: Trip, now_ms: int) -> int:
    """Two ingest processes' clocks differ a little; a trip's history does not go back in time."""
    return max(now_ms, trip.history[-1].at_ms)
