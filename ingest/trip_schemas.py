"""The HTTP wire of trips: what bodies may hold, and how a trip is answered. Bytes in, structs out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from ingest.polylines import decode_polyline
from ingest.schemas import ID_PATTERN, valid_id
from ingest.transitions import Wish, allowed
from ingest.trips import STATES, Place, Trip, TripEvent

#: Google and Fleet Engine take 25 waypoints on the way.
MAX_WAYPOINTS = 25
#: Characters of one line: some 5,000 points, a drive of several hundred kilometres.
MAX_POLYLINE = 20_000
#: Characters of a place's name and of a reason: people read them.
MAX_NAME, MAX_REASON = 200, 500


def _id(description: str) -> Any:
    return msgspec.Meta(pattern=f"^{ID_PATTERN}$", description=description)


_Id = Annotated[str, _id("1 to 64 characters of A-Z a-z 0-9 _ . : -")]
_Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON, description="Why, for people; it is in the trip's log.")]
_Line = Annotated[
    str, msgspec.Meta(max_length=MAX_POLYLINE, description="Encoded polyline of 5 decimals (Google's format).")
]


class PlaceIn(msgspec.Struct, frozen=True):
    """A stop. WGS84 degrees."""

    lat: Annotated[float, msgspec.Meta(ge=-90, le=90, description="Latitude, degrees.", examples=[40.758])]
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180, description="Longitude, degrees.", examples=[-73.9855])]
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME, description="What the rider's app shows for it.")] | None = (
        None
    )


class TripIn(msgspec.Struct, frozen=True):
    """A trip to be made. Members that we do not know are ignored; null is none."""

    driver_id: _Id
    rider_id: _Id
    pickup: PlaceIn
    dropoff: PlaceIn
    trip_id: Annotated[str, _id("Your id for it; without one we make one.")] | None = None
    waypoints: (
        Annotated[list[PlaceIn], msgspec.Meta(max_length=MAX_WAYPOINTS, description="Stops on the way, in order.")]
        | None
    ) = None
    approach: Annotated[_Line, msgspec.Meta(description="The driver's way to the pickup.")] | None = None
    route: (
        Annotated[_Line, msgspec.Meta(description="The way from pickup to dropoff, through the waypoints.")] | None
    ) = None


class MoveIn(msgspec.Struct, frozen=True):
    """What happened to a trip: the state that it is in now."""

    state: Literal[STATES]  # type: ignore[valid-type]
    reason: _Reason | None = None


class CancelIn(msgspec.Struct, frozen=True):
    """The end of a trip before it is complete."""

    reason: _Reason | None = None


class ReassignIn(msgspec.Struct, frozen=True):
    """Another driver for a trip."""

    driver_id: _Id
    approach: Annotated[_Line, msgspec.Meta(description="The new driver's way to the pickup.")] | None = None
    reason: _Reason | None = None


class TripOut(msgspec.Struct, frozen=True):
    """A trip, all of it. `version` counts what happened to it; `allowed` are the states it may go to now."""

    trip_id: str
    version: int
    state: str
    allowed: tuple[str, ...]
    driver_id: str
    rider_id: str
    assignment: int
    pickup: Place
    dropoff: Place
    waypoints: list[Place]
    next_waypoint: int
    approach: str
    route: str
    created_at_ms: int
    history: list[TripEvent]


class BadTrip(ValueError):
    """The body is JSON, but not what it should be. `errors` name places in it, and no value."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(each["detail"] for each in errors))
        self.errors = errors


T = TypeVar("T", bound=msgspec.Struct)


def decode(body: bytes, kind: type[T]) -> T:
    """Read a body. Raises BadTrip, and msgspec.DecodeError or RecursionError when it is no JSON at all."""
    try:
        asked = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadTrip(list(_ill_typed(msgspec.json.decode(body), kind)) or [_told(str(error))]) from None
    if errors := list(_wrong(asked)):
        raise BadTrip(errors)
    return asked


def wish_of(asked: TripIn) -> Wish:
    return Wish(
        asked.driver_id,
        asked.rider_id,
        _place(asked.pickup),
        _place(asked.dropoff),
        [_place(each) for each in asked.waypoints or ()],
        asked.approach or "",
        asked.route or "",
    )


def encode(trip: Trip) -> bytes:
    """The body that answers with a trip."""
    return msgspec.json.encode(
        TripOut(
            trip.trip_id,
            trip.version,
            trip.state,
            allowed(trip),
            trip.driver_id,
            trip.rider_id,
            trip.assignment,
            trip.pickup,
            trip.dropoff,
            trip.waypoints,
            trip.next_waypoint,
            trip.approach,
            trip.route,
            trip.created_at_ms,
            trip.history,
        )
    )


def _place(place: PlaceIn) -> Place:
    return Place(place.lat, place.lon, place.name or "")


#: Where msgspec's messages name a member: "Object missing required field `lat` - at `$.pickup`".
_MISSING = re.compile(r"required field `(\w+)`$")


def _told(message: str) -> dict[str, str]:
    """msgspec's messages name types, limits and members, and only of an enumeration the value."""
    what, _, where = message.partition(" - at ")
    path = [part for part in where.strip("`").removeprefix("$").split(".") if part]
    if missing := _MISSING.search(what):
        path.append(missing[1])
    if what.startswith("Invalid enum value"):
        what = f"Expected one of {', '.join(STATES)}"
    return {"loc": ".".join(path), "detail": what}


def _ill_typed(asked: Any, kind: type[msgspec.Struct], at: str = "") -> Iterator[dict[str, str]]:
    """What is wrong with each member: a decoder stops at the first that it meets, a person mends them all at once."""
    if not isinstance(asked, dict):
        yield _told(f"Expected `object` - at `${at}`")
        return
    for field in msgspec.structs.fields(kind):
        loc = f"{at}.{field.encode_name}"
        value = asked.get(field.encode_name)
        if field.required and field.encode_name not in asked:
            yield _told(f"Object missing required field `{field.encode_name}` - at `${at}`")
        elif field.type is PlaceIn:
            yield from _ill_typed(value, PlaceIn, loc)
        elif field.encode_name in asked:
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                what, _, where = str(error).partition(" - at ")
                yield _told(f"{what} - at `${loc}{where.strip('`').removeprefix('$')}`")


def _wrong(asked: msgspec.Struct) -> Iterator[dict[str, str]]:
    """What types and limits do not tell."""
    # A pattern's `$` also fits before a last newline.
    for member in ("trip_id", "driver_id", "rider_id"):
        name = getattr(asked, member, None)
        if name is not None and not valid_id(name):
            yield {"loc": member, "detail": "an id is 1 to 64 characters of A-Z a-z 0-9 _ . : -"}
    if isinstance(asked, TripIn):
        stops = {"pickup": asked.pickup, "dropoff": asked.dropoff}
        stops |= {f"waypoints[{at}]": each for at, each in enumerate(asked.waypoints or ())}
        for loc, stop in stops.items():
            if stop.lat == 0.0 and stop.lon == 0.0:
                yield {
                    "loc": loc,
                    "detail": "lat and lon are both exactly 0: nobody is picked up in the Gulf of Guinea",
                }
        yield from _wrong_line("route", asked.route or "")
    if isinstance(asked, TripIn | ReassignIn):
        yield from _wrong_line("approach", asked.approach or "")


def _wrong_line(loc: str, line: str) -> Iterator[dict[str, str]]:
    try:
        points = decode_polyline(line)
    except ValueError as error:
        yield {"loc": loc, "detail": str(error)}
    else:
        if len(points) == 1:
            yield {"loc": loc, "detail": "a polyline needs two points; leave it out where there is none"}
