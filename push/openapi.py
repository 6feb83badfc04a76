"""What /v1/openapi.json says of push beyond what FastAPI sees: bodies made by hand, and problem documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from push.explanations import Explanation
from push.protocol import CarMessage
from push.trip_answer import TripAnswer

_REF: Final = "#/components/schemas/{name}"

_PROBLEMS: Final[Mapping[int, str]] = {
    401: "There is no bearer token, or it is refused (forged, expired, for another audience).",
    403: "The token lacks the scope.",
    404: "There is no such trip, or it is not yours: nobody is told which.",
    406: "Accept takes nothing of what there is.",
    409: "The trip has ended, or has as many good links as it may have.",
    410: "The share link has ended: the trip is over, or the link was revoked.",
    422: "A parameter is missing, or out of range; `errors` names it.",
    503: "Redis does not answer. Ask again after `Retry-After` seconds.",
}


class Problem(msgspec.Struct):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


class Nearby(msgspec.Struct):
    """Cars as a WebSocket's `snapshot` has them, nearest first."""

    server_time_ms: int
    stale_after_ms: int
    gone_after_ms: int
    cars: list[CarMessage]


class TrackProperties(msgspec.Struct):
    """One RFC 3339 time in `coordTimes` for each position; `distance_m` is the length of the line."""

    trip_id: str
    driver_id: str
    distance_m: float
    coordTimes: list[str]  # noqa: N815 (togeojson's name)


class Geometry(msgspec.Struct):
    """A LineString; a Point of one position for a track of one fix."""

    type: str
    coordinates: list[Any]


class Track(msgspec.Struct):
    """An RFC 7946 Feature. `geometry` is null while there is no fix."""

    type: str
    id: str
    geometry: Geometry | None
    properties: TrackProperties


class NewShare(msgspec.Struct):
    """A share link. `url` opens the page that shows the trip; `token` is the part of it behind the #."""

    share_id: str
    token: str
    url: str
    expires_at_ms: int


SCHEMAS: Final = (Problem, Nearby, TripAnswer, Track, Explanation, NewShare)


def answers(bodies: Mapping[str, str], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """A good answer for FastAPI's `responses`: media type -> name of its schema, "" for none."""
    content = {
        media_type: {"schema": {"$ref": _REF.format(name=name)} if name else {"type": "string"}}
        for media_type, name in bodies.items()
    }
    return {status: {"description": "As asked for.", "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem documents for FastAPI's `responses`."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {status: {"description": _PROBLEMS[status], "content": content} for status in statuses}


def with_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the schemas that `answers` and `problems` refer to, and 422 as it is: a problem document."""
    _, components = msgspec.json.schema_components(SCHEMAS, ref_template=_REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(components)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            if "422" in answers:
                answers["422"] = problems(422)[422]
    return document
