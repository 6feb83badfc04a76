"""The trip API over HTTP: who asks, for what, with which key; the desk does it. Nothing of a trip is ever logged."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from fastapi import APIRouter, Request, Response

from infra.identity import Verifier
from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from infra.problems import problem
from ingest.bearer import bearer_of, lacks_scope
from ingest.bodies import BodyReader, Headers, Refused, check, unread
from ingest.idempotency import Answered, RequestKey, read_key, request_key, trip_id_of
from ingest.schemas import MAX_BODY_BYTES, valid_id
from ingest.tally import Tally
from ingest.transitions import advance, cancel, reassign
from ingest.trip_access import DISPATCH, DRIVER, RIDER, Actor, actor_of
from ingest.trip_desk import RETRY_AFTER_S, Decide, TripDesk
from ingest.trip_schemas import BadTrip, CancelIn, MoveIn, ReassignIn, TripIn, decode, wish_of

log = logging.getLogger(__name__)

PATH = "/v1/trips"
#: Requests that are worked on at once; each holds a connection to Redis for a moment. More are answered 503.
MAX_AT_ONCE = 256

B = TypeVar("B", bound=msgspec.Struct)
#: Carries out a request, given its headers.
Do = Callable[[dict[bytes, bytes]], Awaitable[Answered]]


class TripsApi:
    """The handlers of PATH. `new_id` makes an id for a trip that is ordered without one and without a key."""

    def __init__(
        self, verifier: Verifier, desk: TripDesk, bodies: BodyReader, tally: Tally, new_id: Callable[[], str]
    ) -> None:
        self._verifier, self._desk, self._bodies = verifier, desk, bodies
        self._tally, self._new_id = tally, new_id
        self._working = 0

    def router(self) -> APIRouter:
        """Undescribed: `trip_openapi` describes them."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(PATH, self.create, methods=["POST"], response_model=None)
        router.add_api_route(f"{PATH}/{{trip_id}}", self.read, methods=["GET"], response_model=None)
        for verb, handler in {"events": self.advance, "cancel": self.cancel, "reassign": self.reassign}.items():
            router.add_api_route(f"{PATH}/{{trip_id}}/{verb}", handler, methods=["POST"], response_model=None)
        return router

    async def create(self, request: Request) -> Response:
        async def do(headers: dict[bytes, bytes]) -> Answered:
            actor = self._actor(headers, DISPATCH)
            key_text, asked = _key_in(headers), await self._body(request, headers, TripIn)
            key = _request_key(request, actor, key_text, asked)
            trip_id = asked.trip_id or (trip_id_of(actor.subject, key_text) if key_text else self._new_id())
            return await self._desk.create(trip_id, wish_of(asked), actor, key)

        return await self._answer("create", request, do)

    async def read(self, request: Request, trip_id: str) -> Response:
        async def do(headers: dict[bytes, bytes]) -> Answered:
            return await self._desk.read(_known(trip_id), self._actor(headers, DISPATCH, DRIVER, RIDER))

        return await self._answer("read", request, do)

    async def advance(self, request: Request, trip_id: str) -> Response:
        def decide(asked: MoveIn, actor: Actor) -> Decide:
            return lambda trip, now_ms: advance(trip, asked.state, actor.role, now_ms, asked.reason or "")

        return await self._change("advance", request, trip_id, MoveIn, decide, DISPATCH, DRIVER)

    async def cancel(self, request: Request, trip_id: str) -> Response:
        def decide(asked: CancelIn, actor: Actor) -> Decide:
            return lambda trip, now_ms: cancel(trip, actor.role, now_ms, asked.reason or "")

        return await self._change("cancel", request, trip_id, CancelIn, decide, DISPATCH, DRIVER)

    async def reassign(self, request: Request, trip_id: str) -> Response:
        def decide(asked: ReassignIn, actor: Actor) -> Decide:
            return lambda trip, now_ms: reassign(
                trip, asked.driver_id, asked.approach or "", actor.role, now_ms, asked.reason or ""
            )

        return await self._change("reassign", request, trip_id, ReassignIn, decide, DISPATCH)

    async def _change(
        self,
        operation: str,
        request: Request,
        trip_id: str,
        kind: type[B],
        decide: Callable[[B, Actor], Decide],
        *roles: str,
    ) -> Response:
        async def do(headers: dict[bytes, bytes]) -> Answered:
            actor = self._actor(headers, *roles)
            key_text, asked = _key_in(headers), await self._body(request, headers, kind)
            key = _request_key(request, actor, key_text, asked)
            return await self._desk.change(_known(trip_id), actor, key, decide(asked, actor))

        return await self._answer(operation, request, do)

    async def _answer(self, operation: str, request: Request, do: Do) -> Response:
        """Do it, count it, and make a response of what came of it."""
        headers: dict[bytes, bytes] = dict(request.scope["headers"])
        more: Headers = ()
        self._working += 1
        try:
            if self._working > MAX_AT_ONCE:
                raise Refused(503, "unavailable", "too many requests at once; send it again", _RETRY)
            answered = await do(headers)
            status, body, content_type = answered.status, answered.body, "application/json"
            if status == 201:
                trip_id = msgspec.json.decode(body, type=_Named).trip_id
                more = ((b"location", f"{PATH}/{trip_id}".encode()),)
        except Refused as refused:
            status, content_type, more = refused.status, PROBLEM_TYPE, (*refused.headers, *unread(headers))
            body = problem(refused.status, refused.slug, refused.detail, refused.errors, **refused.more)
        except Exception as error:
            # Its text could hold a place: only its type is told.
            log.error("a request for a trip failed: %s", type(error).__name__)
            status, content_type = 500, PROBLEM_TYPE
            body = problem(500, "internal", "an error on our side; send the same request again")
        finally:
            self._working -= 1
        counts = self._tally.trip_requests
        counts[operation, status] = counts.get((operation, status), 0) + 1
        response = Response(body, status, media_type=content_type, headers={"cache-control": "no-store"})
        response.raw_headers.extend(dict.fromkeys(more))
        return response

    def _actor(self, headers: dict[bytes, bytes], *roles: str) -> Actor:
        principal = bearer_of(headers, self._verifier)
        actor = actor_of(principal.subject, principal.scopes, roles)
        if actor is None:
            wanted = " or ".join(f"`{role}`" for role in roles)
            raise lacks_scope(f"the token lacks scope {wanted}", " ".join(roles))
        return actor

    async def _body(self, request: Request, headers: dict[bytes, bytes], kind: type[B]) -> B:
        empty_will_do = kind is CancelIn and headers.get(b"content-length", b"0") == b"0"
        if not (empty_will_do and b"transfer-encoding" not in headers):
            check(headers)
        try:
            body = await self._bodies.read(request.receive)
        except Refused as refused:
            if refused.status != 413:
                raise
            raise Refused(
                413, refused.slug, f"a trip fits into {MAX_BODY_BYTES} bytes; this is larger", refused.headers
            ) from None
        if body is None:
            raise Refused(400, "invalid-json", "the connection ended before the body did")
        try:
            return decode(body or b"{}" if empty_will_do else body, kind)
        except BadTrip as error:
            raise Refused(
                422, "invalid-trip", "the body does not have the documented shape; see `errors`", errors=error.errors
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused(400, "invalid-json", "the body is not valid JSON; send one object") from None


class _Named(msgspec.Struct):
    trip_id: str


_RETRY = ((b"retry-after", str(RETRY_AFTER_S).encode()),)


def _known(trip_id: str) -> str:
    """What cannot be an id is no trip."""
    if not valid_id(trip_id):
        raise Refused(404, "not-found", "there is no such trip, or it is not yours")
    return trip_id


def _key_in(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"idempotency-key")
    if given is None:
        return ""
    try:
        return read_key(given.decode("latin-1"))
    except ValueError as error:
        raise Refused(400, "invalid-idempotency-key", str(error)) from None


def _request_key(request: Request, actor: Actor, key: str, asked: msgspec.Struct) -> RequestKey | None:
    return request_key(actor.subject, request.url.path, key, asked) if key else None
