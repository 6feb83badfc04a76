"""What the holder of a share link sees of a trip: where the car is and where it goes, not who, nor whence. Pure.

Names of places and the rider's id are never shown. Once the rider has boarded, nor is anything of where the rider was
fetched: not the pickup, not the way to it, not the stops and the part of the route that are behind the car, not what
people noted, not the zones that were crossed before. After the end there is nothing to show but that it has ended.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import h3.api.basic_int as h3
from msgspec import UNSET
from msgspec.structs import replace

from ingest.polylines import decode_polyline, encode_polyline
from ingest.trips import BEFORE_BOARDING, DROPOFF, WAYPOINT_PREFIX, Place, Trip
from push.trip_messages import (
    EventMessage,
    ProgressMessage,
    TripMessage,
    event_message,
    progress_message,
    trip_message,
)
from stream.trip_channels import LogEntry, TripCar

#: GPS and the map's line disagree by so much: what is nearer than this ahead of the car is cut off too.
_MARGIN_M: Final = 10.0


def has_boarded(trip: Trip) -> bool:
    return trip.state not in BEFORE_BOARDING


def share_trip(trip: Trip, car: TripCar | None) -> TripMessage:
    """The trip for the holder of a share link. `car` is where it is now."""
    if trip.ended:
        return TripMessage(trip.trip_id, trip.version, trip.state)
    boarded = has_boarded(trip)
    passed = trip.next_waypoint if boarded else 0
    return replace(
        trip_message(trip),
        rider_id=UNSET,
        pickup=UNSET if boarded else _nameless(trip.pickup),
        dropoff=_nameless(trip.dropoff),
        waypoints=[None if at < passed else _nameless(place) for at, place in enumerate(trip.waypoints)],
        approach=UNSET if boarded else trip.approach,
        route=route_ahead(trip, car) if boarded else trip.route,
    )


def share_event(entry: LogEntry, trip: Trip) -> EventMessage:
    """An event for the holder of a share link, by what the trip is now."""
    message = event_message(entry)
    if not has_boarded(trip):
        return message
    hidden = trip.ended or entry.event.state in BEFORE_BOARDING
    return replace(message, by="", reason="", zone_id="" if hidden else message.zone_id)


def share_progress(car: TripCar, trip: Trip) -> ProgressMessage:
    """The car's progress for the holder of a share link: `route_m` would say how far behind it the route began."""
    message = progress_message(car)
    return replace(message, route_m=UNSET) if has_boarded(trip) else message


def shows_way(trip: Trip, car: TripCar | None) -> bool:
    """Whether there is a way to show: all of it before boarding, then what is ahead once it is known where that is."""
    return bool(trip.route) and (not has_boarded(trip) or _along_m(trip, car) is not None)


def _along_m(trip: Trip, car: TripCar | None) -> float | None:
    """How far along `route` the car is."""
    if car is None or car.off_route or car.assignment != trip.assignment:
        return None
    # Otherwise the fix is from the way to the pickup, which is another line.
    return car.route_m if car.leg == DROPOFF or car.leg.startswith(WAYPOINT_PREFIX) else None


def route_ahead(trip: Trip, car: TripCar | None) -> str:
    """The part of `route` that is ahead of the car; "" while nobody knows where on it the car is."""
    along_m = _along_m(trip, car)
    if along_m is None:
        return ""
    try:
        points = decode_polyline(trip.route)
    except ValueError:
        return ""
    cut_m, at_m = along_m + _MARGIN_M, 0.0
    for at, (begin, end) in enumerate(pairwise(points)):
        length_m = h3.great_circle_distance(begin, end, unit="m")
        if at_m + length_m > cut_m:
            share = (cut_m - at_m) / length_m
            return encode_polyline([_between(begin, end, share), *points[at + 1 :]])
        at_m += length_m
    return ""


def _nameless(place: Place) -> Place:
    return Place(place.lat, place.lon)


def _between(begin: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    east = (end[1] - begin[1] + 180.0) % 360.0 - 180.0
    lon = begin[1] + share * east
    return begin[0] + share * (end[0] - begin[0]), (lon + 180.0) % 360.0 - 180.0
