"""Who asks over HTTP, and what they may: bearer tokens, scopes, trips. What is refused is a problem document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from infra.identity import Principal, TokenRefused
from ingest.schemas import valid_id
from push.scopes import SHARE_SCOPE, may_see
from push.shares import Shares, Tokens
from stream.trip_channels import TripSnapshot
from stream.trip_index import TripIndex

_REALM: Final = 'Bearer realm="ridestream"'
#: Ingest says 201 some 20 to 80 ms before the stream job has written the trip, and a Redis that lost everything holds
#: it again within about a second: nobody is told for that that their trip does not exist.
UNKNOWN_WAIT_S: Final = 1.0
#: Soon enough not to be noticed; twenty reads of nothing.
_LOOK_AGAIN_S: Final = 0.05
#: More do not wait: 100 look 2,000 times a second, which Redis and this process have to spare for invented ids.
MAX_WAITING: Final = 100

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    bearerFormat="JWT",
    description="aud `rider` with scope `rider` or `dispatch`, or a share token (aud `share`) where that is said",
)
#: What a request says in its Authorization header; None where that is no bearer token.
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


class Refusal(HTTPException):
    """An answer that is not what was asked for. `slug` names the type of the problem."""

    def __init__(self, status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.slug = slug


class Access:
    """Judges each request anew. `wall_s` tells the time by which tokens and links expire, epoch seconds."""

    def __init__(self, tokens: Tokens, shares: Shares, trips: TripIndex, wall_s: Callable[[], float]) -> None:
        self._tokens, self._shares, self._trips, self._wall_s = tokens, shares, trips, wall_s
        self._waiting = 0  # requests for trips that are unknown, or somebody else's

    def principal(self, credentials: Credentials, *scopes: str) -> Principal:
        """Who asks, with at least one of these scopes. Raises Refusal 401 or 403."""
        if credentials is None:
            raise Refusal(
                401,
                "unauthorized",
                "send a bearer token in the Authorization header (it is not taken from anywhere else)",
                {"www-authenticate": _REALM},
            )
        try:
            principal = self._tokens.verify(credentials.credentials, self._wall_s())
        except TokenRefused as refused:
            challenge = f'{_REALM}, error="invalid_token"'
            raise Refusal(401, "unauthorized", str(refused), {"www-authenticate": challenge}) from None
        if principal.scopes.isdisjoint(scopes):
            challenge = f'{_REALM}, error="insufficient_scope", scope="{" ".join(scopes)}"'
            detail = f"this needs a token with scope {' or '.join(scopes)}"
            raise Refusal(403, "forbidden", detail, {"www-authenticate": challenge})
        return principal

    async def trip(self, principal: Principal, trip_id: str) -> TripSnapshot:
        """The trip, once it is there, if `principal` may see it. Raises Refusal: 404, the same for both, or 410."""
        if SHARE_SCOPE in principal.scopes:
            return await self._shared(principal, trip_id)
        if not valid_id(trip_id):
            raise _unknown()
        snapshot = await self._trips.snapshot(trip_id)
        if snapshot is None or not may_see(principal, snapshot.trip):
            snapshot = await self._await(principal, trip_id, snapshot)
        return snapshot

    async def _await(self, principal: Principal, trip_id: str, snapshot: TripSnapshot | None) -> TripSnapshot:
        """Look again until the trip is there. Raises Refusal 404, for a trip of others at the same moment."""
        if self._waiting >= MAX_WAITING:
            raise _unknown()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + UNKNOWN_WAIT_S
        self._waiting += 1
        try:
            # A trip of others stays theirs, so it is not read again; but the refusal depends on the time alone.
            while snapshot is None and until_s - loop.time() > _LOOK_AGAIN_S:
                await asyncio.sleep(_LOOK_AGAIN_S)
                snapshot = await self._trips.snapshot(trip_id)
                if snapshot is not None and may_see(principal, snapshot.trip):
                    return snapshot
            await asyncio.sleep(until_s - loop.time())
        finally:
            self._waiting -= 1
        raise _unknown()

    async def _shared(self, principal: Principal, trip_id: str) -> TripSnapshot:
        if principal.resource != trip_id:
            raise _unknown()
        good = await self._shares.is_good(trip_id, principal.token_id, int(self._wall_s() * 1_000))
        snapshot = await self._trips.snapshot(trip_id) if good else None
        if snapshot is None or snapshot.trip.ended:
            raise Refusal(410, "share-ended", "this link has ended: the trip is over, or the link was revoked")
        return snapshot


def _unknown() -> Refusal:
    return Refusal(404, "not-found", "there is no such trip, or it is not yours")
