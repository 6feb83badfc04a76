"""One ASGI app: the hot route, the health paths, and FastAPI for the rest, with every error a problem document."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from infra.clock import Clock
from infra.health import PATHS as HEALTH_PATHS
from infra.health import Receive, Scope, Send
from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from infra.problems import problem
from ingest.routes import PATH as PINGS_PATH
from ingest.schemas import MAX_BODY_BYTES, MAX_PINGS, PingBatch, PingIn, Verdicts
from ingest.trip_openapi import add_trips

log = logging.getLogger(__name__)

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_SLUGS = {400: "invalid-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed"}


class ClockNow(BaseModel):
    """What this system holds to be "now" for fixes."""

    clock: str = Field(description="The value of RIDESTREAM_CLOCK, which every service shares.")
    now_ms: int = Field(description="Event time now, Unix epoch milliseconds.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []


def build_app(pings: AsgiApp, health: AsgiApp, trips: APIRouter, clock: Clock, clock_text: str) -> AsgiApp:
    """The app that uvicorn serves. `pings` answers /v1/pings, `health` the paths of infra.health, `trips` those below
    /v1/trips."""
    rest = _rest(trips, clock, clock_text)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path == PINGS_PATH:
                return await pings(scope, receive, send)
            if path in HEALTH_PATHS:
                return await health(scope, receive, send)
        return await rest(scope, receive, send)

    return app


def _rest(trips: APIRouter, clock: Clock, clock_text: str) -> FastAPI:
    app = FastAPI(
        title="ridestream ingest",
        version="1",
        description="Driver apps post GPS pings here; each ping gets a verdict once Kafka has it. "
        "Dispatch systems make trips, and driver apps take them from state to state.",
        # The pages would fetch scripts from elsewhere; the document itself is at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )

    @app.get("/v1/clock", summary="What time it is for fixes", tags=["clock"])
    def read_clock() -> ClockNow:
        return ClockNow(clock=clock_text, now_ms=clock.now_ms())

    app.include_router(trips)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(Exception, _internal_problem)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(get_openapi(title=app.title, version=app.version, routes=app.routes))
            add_trips(_with_pings(document))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem_response(
        error.status_code, _SLUGS.get(error.status_code, "http-error"), str(error.detail), headers=error.headers
    )


async def _validation_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": ".".join(map(str, item["loc"])), "detail": str(item["msg"])} for item in error.errors()]
    return _problem_response(422, "invalid-request", "the request does not have the documented shape", errors)


async def _internal_problem(_: Request, error: Exception) -> Response:
    log.error("a request failed: %s", type(error).__name__)
    return _problem_response(500, "internal", "an error on our side; try again")


def _problem_response(
    status: int,
    slug: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = problem(status, slug, detail, errors or ())
    return Response(body, status, headers=dict(headers or {}), media_type=PROBLEM_TYPE)


def _with_pings(document: dict[str, Any]) -> dict[str, Any]:
    """Add what FastAPI does not see: POST /v1/pings, its schemas from the structs that decode and encode it."""
    (one, batch, verdicts), components = msgspec.json.schema_components(
        [PingIn, PingBatch, Verdicts], ref_template="#/components/schemas/{name}"
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(components)
    schemas["Problem"] = Problem.model_json_schema()
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "aud `ingest`"}
    }
    array = {"type": "array", "items": one, "maxItems": MAX_PINGS}
    document["paths"][PINGS_PATH] = {
        "post": {
            "tags": ["pings"],
            "summary": "Post one ping or a batch",
            "description": f"At most {MAX_PINGS} pings and {MAX_BODY_BYTES} bytes. The answer comes after Kafka "
            "acknowledged every accepted ping. On 503, and when no answer comes, send the same pings again.",
            "security": [{"bearer": []}],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"oneOf": [one, array, batch]}}},
            },
            "responses": {
                "202": {
                    "description": "A verdict for each ping, in order.",
                    "content": {"application/json": {"schema": verdicts}},
                },
                **{status: _problem_doc(text) for status, text in _PROBLEMS.items()},
            },
        }
    }
    return document


_PROBLEMS = {
    "400": "Not JSON, nested too deeply, or of another shape.",
    "401": "No bearer token, or one that is refused.",
    "403": "The token lacks scope `driver` or `fleet`.",
    "405": "Not POST.",
    "408": "The body came too slowly.",
    "413": "Too many pings or bytes.",
    "415": "Not `application/json`, or compressed.",
    "422": "The body is one ping, and it is malformed; `errors` names the member. In a batch that is a verdict.",
    "503": "Kafka does not acknowledge, or too many pings wait for it. Send again after `Retry-After` seconds.",
}


def _problem_doc(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
