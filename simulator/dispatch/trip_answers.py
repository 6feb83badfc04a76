"""Decide what an answer of the trip API means, and read what else is told of a trip over HTTP. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

#: Statuses after which the same request is sent again with the same key (docs/wire/trips.md, "Errors"), and those of
#: gateways on the way.
_COME_BACK = frozenset({408, 425, 429, 500, 502, 503, 504})
#: A Retry-After beyond this is taken as this: the simulator's user is waiting.
_LONGEST_AFTER_S = 30.0


class TripEvent(msgspec.Struct, frozen=True):
    """One thing that happened to a trip, as its history (ingest) and its log (push, with `offset`) tell it."""

    event_id: str
    type: str
    at_ms: int
    state: str
    driver_id: str
    assignment: int
    offset: int = 0
    by: str = ""
    reason: str = ""
    place: str = ""
    zone_id: str = ""
    eta_s: int | None = None


class Ledger(msgspec.Struct, frozen=True):
    """A trip as ingest tells it; the members that matter here."""

    trip_id: str
    version: int
    state: str
    driver_id: str
    rider_id: str
    history: list[TripEvent]


@dataclass(frozen=True, slots=True)
class Done:
    """It is done, and this is the trip."""

    trip: Ledger


@dataclass(frozen=True, slots=True)
class Again:
    """Not now: send the same request with the same key again, after `after_s` if the server said how long."""

    why: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """The trip does not stand where it should. It may have been done already, and the answer lost: look."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not be done, however often it is sent."""

    why: str


Outcome = Done | Again | Conflict | Refused


class Track(NamedTuple):
    """The way of a trip's driver as push tells it: (fix time, lat, lon) in the order told."""

    driver_id: str
    fixes: list[tuple[int, float, float]]


class Log(msgspec.Struct, frozen=True):
    """A trip as push tells it over HTTP; the members that matter here."""

    epoch: str
    offset: int
    events: list[TripEvent]


class NearbyCar(msgspec.Struct, frozen=True, gc=False):
    """A car as `GET /v1/nearby` tells it. Degrees, metres, metres per second, epoch milliseconds."""

    driver_id: str
    lat: float
    lon: float
    fix_time_ms: int
    age_ms: int
    freshness: Literal["live", "stale"]
    cell: str
    heading_deg: float | None = None
    speed_mps: float | None = None
    accuracy_m: float | None = None
    vehicle_type: str = ""


class Nearby(msgspec.Struct, frozen=True):
    """The cars around a place, in the order told."""

    server_time_ms: int
    cars: list[NearbyCar]

    @property
    def driver_ids(self) -> frozenset[str]:
        return frozenset(car.driver_id for car in self.cars)


class _Share(msgspec.Struct):
    url: str


class _Point(msgspec.Struct, tag_field="type", tag="Point"):
    coordinates: tuple[float, float]


class _Line(msgspec.Struct, tag_field="type", tag="LineString"):
    coordinates: list[tuple[float, float]]


class _Properties(msgspec.Struct):
    driver_id: str
    coord_times: list[str] = msgspec.field(name="coordTimes")


class _Feature(msgspec.Struct):
    geometry: _Point | _Line | None
    properties: _Properties


_ledgers = msgspec.json.Decoder(Ledger)
_logs = msgspec.json.Decoder(Log)
_nearby = msgspec.json.Decoder(Nearby)
_shares = msgspec.json.Decoder(_Share)
_features = msgspec.json.Decoder(_Feature)


class Unreadable(Exception):
    """An answer is not what docs/wire says; `args[0]` names it and holds nothing of it."""


def outcome_of(status: int, retry_after: str | None, body: bytes) -> Outcome:
    """Read the answer to a command."""
    if status in (200, 201):
        try:
            return Done(_ledgers.decode(body))
        except msgspec.DecodeError:
            return Refused("answer_unreadable")
    if status in _COME_BACK:
        return Again(f"http_{status}", _seconds(retry_after))
    if status == 409:
        return Conflict("http_409")
    return Refused(f"http_{status}")


def read_ledger(body: bytes) -> Ledger:
    """`GET /v1/trips/{id}` of ingest. Raises Unreadable."""
    with _reading("trip"):
        return _ledgers.decode(body)


def read_log(body: bytes) -> Log:
    """`GET /v1/trips/{id}` of push. Raises Unreadable."""
    with _reading("log of the trip"):
        return _logs.decode(body)


def read_nearby(body: bytes) -> Nearby:
    """`GET /v1/nearby`. Raises Unreadable."""
    with _reading("answer about cars nearby"):
        return _nearby.decode(body)


def read_share(body: bytes) -> str:
    """`POST …/shares`: the link. Raises Unreadable."""
    with _reading("share link"):
        return _shares.decode(body).url


def read_track(body: bytes) -> Track:
    """`GET …/track` as GeoJSON: a line, a point or nothing, with a time for each position. Raises Unreadable."""
    with _reading("track"):
        feature = _features.decode(body)
        places: Sequence[tuple[float, float]]
        match feature.geometry:
            case None:
                places = []
            case _Point(place):
                places = [place]
            case _Line(places):
                pass
        times = [round(datetime.fromisoformat(time).timestamp() * 1_000) for time in feature.properties.coord_times]
        return Track(
            feature.properties.driver_id, [(time, lat, lon) for time, (lon, lat) in zip(times, places, strict=True)]
        )


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except ValueError:
        raise Unreadable(f"the {what} is not what docs/wire says") from None


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header; its date form is not sent here."""
    try:
        return min(_LONGEST_AFTER_S, max(0.0, float(retry_after))) if retry_after else None
    except ValueError:
        return None
