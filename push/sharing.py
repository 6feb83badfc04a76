"""Making and revoking share links over HTTP: for the trip's own rider, and for dispatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from push.access import Access, Credentials, Refusal
from push.openapi import NewShare, answers, problems
from push.scopes import DISPATCH_SCOPE, RIDER_SCOPE
from push.settings import PushSettings
from push.shares import Shares
from stream.trip_channels import TripSnapshot

#: Tokens are for nobody's cache.
_HEADERS = {"cache-control": "no-store", "vary": "Authorization"}


class ShareRequest(BaseModel):
    """How long the link is to be good."""

    model_config = ConfigDict(extra="forbid", strict=True)

    expires_in_s: int | None = Field(
        default=None, ge=1, description="Seconds from now; left out: RIDESTREAM_SHARE_LIFETIME_S."
    )


class Sharing:
    """The handlers. They raise Refusal, and redis.exceptions.RedisError when Redis does not answer."""

    def __init__(
        self,
        settings: PushSettings,
        access: Access,
        shares: Shares,
        wall_s: Callable[[], float],
        page_url: Callable[[Request], str],
    ) -> None:
        """`page_url` is the address of the page that shows a shared trip, for the browser that asks."""
        self._settings, self._access, self._shares = settings, access, shares
        self._wall_s, self._page_url = wall_s, page_url

    async def create(
        self,
        request: Request,
        credentials: Credentials,
        trip_id: str,
        wanted: Annotated[ShareRequest | None, Body()] = None,
    ) -> Response:
        """A link by which somebody without an account watches this trip until it ends."""
        settings = self._settings
        snapshot = await self._trip(credentials, trip_id)
        if not self._shares.are_on:
            raise Refusal(
                404,
                "sharing-off",
                f"share links are off with RIDESTREAM_JWT_ALGORITHM={settings.jwt_algorithm}; set RIDESTREAM_SHARE_KEY",
            )
        lifetime_s = min(settings.share_lifetime_s, settings.max_share_lifetime_s)
        if wanted is not None and wanted.expires_in_s is not None:
            lifetime_s = wanted.expires_in_s
        if lifetime_s > settings.max_share_lifetime_s:
            raise Refusal(422, "invalid-request", f"expires_in_s may be at most {settings.max_share_lifetime_s}")
        if snapshot.trip.ended:
            raise Refusal(409, "trip-ended", "the trip has ended: there is nothing left to share")
        share = await self._shares.create(trip_id, lifetime_s, self._wall_s())
        if share is None:
            raise Refusal(
                409,
                "too-many-shares",
                f"the trip has {settings.max_shares_per_trip} good links already; revoke one, or wait for one to end",
            )
        url = f"{self._page_url(request)}#{share.token}"
        body = msgspec.json.encode(NewShare(share.share_id, share.token, url, share.expires_at_ms))
        location = f"/v1/trips/{trip_id}/shares/{share.share_id}"
        return Response(body, 201, {**_HEADERS, "location": location}, "application/json")

    async def revoke(
        self,
        credentials: Credentials,
        trip_id: str,
        share_id: Annotated[str, Path(max_length=64)],
    ) -> Response:
        """End a link now. One that is not there (any more) is as revoked as one that was."""
        await self._trip(credentials, trip_id)
        await self._shares.revoke(trip_id, share_id)
        return Response(status_code=204, headers=_HEADERS)

    async def _trip(self, credentials: Credentials, trip_id: str) -> TripSnapshot:
        principal = self._access.principal(credentials, RIDER_SCOPE, DISPATCH_SCOPE)
        return await self._access.trip(principal, trip_id)


def build_sharing(sharing: Sharing) -> APIRouter:
    """The routes, and what OpenAPI says of them."""
    router = APIRouter(tags=["shares"])
    router.add_api_route(
        "/v1/trips/{trip_id}/shares",
        sharing.create,
        methods=["POST"],
        status_code=201,
        summary="Make a share link",
        responses=answers({"application/json": "NewShare"}, 201) | problems(401, 403, 404, 409, 422, 503),
    )
    router.add_api_route(
        "/v1/trips/{trip_id}/shares/{share_id}",
        sharing.revoke,
        methods=["DELETE"],
        status_code=204,
        summary="Revoke a share link",
        responses=problems(401, 403, 404, 422, 503),
    )
    return router
