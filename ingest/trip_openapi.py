"""Describe the trip API in the OpenAPI document, with schemas from the structs that decode and encode it."""

from __future__ import annotations

from typing import Any

import msgspec

from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from ingest.idempotency import MAX_KEY_CHARACTERS
from ingest.schemas import ID_PATTERN
from ingest.trip_schemas import CancelIn, MoveIn, ReassignIn, TripIn, TripOut
from ingest.trips_api import PATH

_PROBLEMS = {
    "400": "Not JSON, or an Idempotency-Key that is none.",
    "401": "No bearer token, or one that is refused.",
    "403": "The token lacks the scope.",
    "404": "There is no such trip, or it is not yours: the answer is the same.",
    "408": "The body came too slowly.",
    "409": "Not as the trip stands. The document also holds its `state`, its `version` and the states `allowed` next.",
    "413": "More than 1 MiB.",
    "415": "Not `application/json`, or compressed.",
    "422": "A member is missing or wrong (`errors` names it), or the Idempotency-Key came with another request before.",
    "503": "Kafka or Redis does not answer, or trips are being restored. Nobody can tell whether it is done: send the "
    "same request with the same Idempotency-Key again after `Retry-After` seconds.",
}
_TRIP_ID = {
    "name": "trip_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A string of yours, in quotes. The same key with the same request is the same request: it is done "
    "once, and gets the same answer for 24 h.",
    "schema": {"type": "string", "maxLength": MAX_KEY_CHARACTERS},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}


def add_trips(document: dict[str, Any]) -> None:
    """Add the paths below /v1/trips to a document that has schema `Problem` and security scheme `bearer`."""
    (made, moved, canceled, reassigned, trip), components = msgspec.json.schema_components(
        [TripIn, MoveIn, CancelIn, ReassignIn, TripOut], ref_template="#/components/schemas/{name}"
    )
    schemas = document["components"]["schemas"]
    schemas.update(components)
    schemas["Conflict"] = {
        "description": "Problem details of a 409: how the trip stands.",
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {
                "type": "object",
                "properties": {
                    "state": {"type": "string"},
                    "version": {"type": "integer"},
                    "allowed": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["state", "version", "allowed"],
            },
        ],
    }
    one = f"{PATH}/{{trip_id}}"
    paths = document["paths"]
    paths[PATH] = {"post": _operation("Make a trip", "Scope `dispatch`.", trip, made, status="201")}
    paths[one] = {"get": _operation("Read a trip", "Scope `dispatch`; `driver` and `rider` their own.", trip)}
    theirs = "Scope `dispatch`; `driver` their own."
    paths[f"{one}/events"] = {"post": _operation("Take a trip to its next state", theirs, trip, moved)}
    paths[f"{one}/cancel"] = {"post": _operation("Cancel a trip", theirs, trip, canceled, needs_body=False)}
    paths[f"{one}/reassign"] = {
        "post": _operation("Give a trip to another driver", "Scope `dispatch`. Before boarding only.", trip, reassigned)
    }


def _operation(
    summary: str,
    description: str,
    trip: dict[str, Any],
    body: dict[str, Any] | None = None,
    status: str = "200",
    needs_body: bool = True,
) -> dict[str, Any]:
    """One operation; without a body it only reads, and with status 201 it makes a trip."""
    makes = status == "201"
    answer: dict[str, Any] = {"description": "The trip.", "content": {"application/json": {"schema": trip}}}
    if makes:
        answer["headers"] = {"Location": {"description": "Where the trip is.", "schema": {"type": "string"}}}
    never = {"404"} if makes else set() if body else {"400", "408", "409", "413", "415", "422"}
    operation: dict[str, Any] = {
        "tags": ["trips"],
        "summary": summary,
        "description": description,
        "security": [{"bearer": []}],
        "parameters": [*([] if makes else [_TRIP_ID]), *([_KEY] if body else [])],
        "responses": {
            status: answer,
            **{code: _problem(code, text) for code, text in _PROBLEMS.items() if code not in never},
        },
    }
    if body:
        operation["requestBody"] = {"required": needs_body, "content": {"application/json": {"schema": body}}}
    return operation


def _problem(status: str, description: str) -> dict[str, Any]:
    name = "Conflict" if status == "409" else "Problem"
    return {
        "description": description,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }
