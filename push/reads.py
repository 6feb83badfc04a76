"""Reads over HTTP, for those who ask once: nearby cars, a trip, its track, and why a driver is not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
import redis.asyncio
from fastapi import APIRouter, Path, Query, Request, Response

from infra.clock import Clock
from ingest.events import partition_of
from ingest.rejections import rejections_of
from ingest.schemas import ID_PATTERN
from ingest.trips import Trip
from push.access import Access, Credentials, Refusal
from push.explanations import Rejection, explain
from push.glance import glance
from push.nearby import Query as NearbyQuery
from push.negotiation import choose, has_it, strong_tag, weak_tag
from push.openapi import answers, problems
from push.protocol import encode_car
from push.scopes import DISPATCH_SCOPE, RIDER_SCOPE, SHARE_SCOPE
from push.session import ASKED_TYPES, TYPE_NAMES
from push.settings import PushSettings
from push.tracks import GEOJSON, GPX, track_geojson, track_gpx
from push.trip_answer import trip_answer
from stream.channels import RegionSnapshot, cell_of, region_of
from stream.index import DriverIndex
from stream.positions import live_of
from stream.records import PartitionRecords
from stream.trip_channels import TrackFix
from stream.trip_index import TripIndex

JSON: Final = "application/json"
#: A proxy that does keep what it was told not to keep does at least not hand it to others.
_HEADERS: Final = {"cache-control": "no-store", "vary": "Accept, Authorization"}

TripId = Annotated[str, Path(description="The trip's id.")]


class Reads:
    """The handlers. Each raises Refusal, and redis.exceptions.RedisError when Redis does not answer."""

    def __init__(
        self,
        settings: PushSettings,
        clock: Clock,
        client: redis.asyncio.Redis,
        access: Access,
        wall_s: Callable[[], float],
    ) -> None:
        """`wall_s` is epoch seconds: when a rejected ping came is not a time of the recording that is replayed."""
        self._settings, self._clock, self._client, self._access = settings, clock, client, access
        self._wall_s = wall_s
        self._drivers, self._records, self._trips = DriverIndex(client), PartitionRecords(client), TripIndex(client)

    async def nearby(
        self,
        request: Request,
        credentials: Credentials,
        lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
        lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)],
        radius_m: Annotated[float, Query(gt=0, allow_inf_nan=False, description="At most RIDESTREAM_MAX_RADIUS_M.")],
        limit: Annotated[int | None, Query(ge=1, description="At most, and by default, RIDESTREAM_MAX_CARS.")] = None,
        vehicle_types: Annotated[
            str, Query(max_length=600, description="Only these, comma separated, like AUTO,TAXI.")
        ] = "",
    ) -> Response:
        """The cars within `radius_m` of a place (haversine), nearest first, ties by driver id."""
        settings = self._settings
        self._access.principal(credentials, RIDER_SCOPE, DISPATCH_SCOPE)
        _acceptable(request, [JSON])
        if radius_m > settings.max_radius_m:
            raise Refusal(422, "invalid-request", f"radius_m may be at most {settings.max_radius_m:g}")
        if limit is not None and limit > settings.max_cars:
            raise Refusal(422, "invalid-request", f"limit may be at most {settings.max_cars}")
        types = frozenset(each for each in vehicle_types.split(",") if each)
        if not ASKED_TYPES.issuperset(types):
            raise Refusal(422, "invalid-request", f"vehicle_types may name {TYPE_NAMES}")
        query = NearbyQuery(lat, lon, limit or settings.max_cars, radius_m, None, types or None)
        # In threads: a wide circle costs ~20 ms the first time, and 5,000 cars in it as long each time; riders' updates
        # are not to wait for that.
        cover = await asyncio.to_thread(query.cover)
        snapshots = await self._drivers.snapshots(sorted(cover.regions))
        body, tag = await asyncio.to_thread(self._nearby, query, snapshots)
        return _answer(request, body, JSON, tag)

    def _nearby(self, query: NearbyQuery, snapshots: Sequence[RegionSnapshot]) -> tuple[bytes, str]:
        settings, now_ms = self._settings, self._clock.now_ms()
        markers = glance(query, snapshots, now_ms, settings.stale_after_ms, settings.gone_after_ms)
        body = b'{"server_time_ms":%d,"stale_after_ms":%d,"gone_after_ms":%d,"cars":[%b]}' % (
            now_ms,
            settings.stale_after_ms,
            settings.gone_after_ms,
            b",".join(encode_car(marker.car, now_ms, marker.stale) for marker in markers),
        )
        return body, _tag([(marker.car, marker.stale) for marker in markers])

    async def trip(self, request: Request, credentials: Credentials, trip_id: TripId) -> Response:
        """The trip, its car, how fresh that is, and its log. A share token reads its own trip, redacted."""
        principal = self._access.principal(credentials, RIDER_SCOPE, DISPATCH_SCOPE, SHARE_SCOPE)
        _acceptable(request, [JSON])
        snapshot = await self._access.trip(principal, trip_id)
        shared = SHARE_SCOPE in principal.scopes
        answer = trip_answer(snapshot, shared, self._clock.now_ms(), self._settings)
        tag = _tag([snapshot.epoch, snapshot.seq, answer.freshness, shared])
        return _answer(request, msgspec.json.encode(answer), JSON, tag)

    async def track(self, request: Request, credentials: Credentials, trip_id: TripId) -> Response:
        """Where the present driver has gone on the trip, as GeoJSON or GPX 1.1, as Accept says."""
        principal = self._access.principal(credentials, RIDER_SCOPE, DISPATCH_SCOPE)
        media_type = _acceptable(request, [GEOJSON, JSON, GPX])
        trip = (await self._access.trip(principal, trip_id)).trip
        fixes = await self._trips.track(trip_id)
        if trip.ended:
            # Some may have been read before the end was known: where the driver went then is nobody's business.
            fixes = [fix for fix in fixes if fix.fix_time_ms <= trip.history[-1].at_ms]
        # In a thread: 20,000 fixes take most of a second, and riders' updates are not to wait for that.
        body, tag = await asyncio.to_thread(_track, trip, fixes, media_type)
        return _answer(request, body, media_type, tag)

    async def driver(
        self,
        request: Request,
        credentials: Credentials,
        driver_id: Annotated[str, Path(pattern=f"^{ID_PATTERN}$", description="The driver's id.")],
    ) -> Response:
        """Why a driver is shown to riders, or is not: its last fixes and rejections, judged, and one sentence."""
        self._access.principal(credentials, DISPATCH_SCOPE)
        _acceptable(request, [JSON])
        settings = self._settings
        partition = partition_of(driver_id, settings.partitions)
        fixes = await self._records.driver(partition, driver_id)
        indexed = None
        if fixes:
            live = live_of(fixes, settings.max_speed_mps)
            indexed = await self._drivers.car(region_of(cell_of(live.lat, live.lon)), driver_id)
        wall_ms = int(self._wall_s() * 1_000)
        rejections = [
            Rejection(each.reason, each.received_at_ms, max(0, wall_ms - each.received_at_ms), each.fix_time_ms)
            for each in await rejections_of(self._client, driver_id)
        ]
        told = explain(driver_id, partition, fixes, indexed, rejections, self._clock.now_ms(), settings)
        tag = _tag([told.state, told.shown, fixes, [each.received_at_ms for each in rejections]])
        return _answer(request, msgspec.json.encode(told), JSON, tag)


def build_reads(reads: Reads) -> APIRouter:
    """The routes, and what OpenAPI says of them."""
    router = APIRouter(tags=["reads"])
    router.add_api_route(
        "/v1/nearby",
        reads.nearby,
        summary="Cars near a place",
        responses=answers({JSON: "Nearby"}) | problems(401, 403, 406, 422, 503),
    )
    router.add_api_route(
        "/v1/trips/{trip_id}",
        reads.trip,
        summary="A trip, its car and its log",
        responses=answers({JSON: "TripAnswer"}) | problems(401, 403, 404, 406, 410, 503),
    )
    router.add_api_route(
        "/v1/trips/{trip_id}/track",
        reads.track,
        summary="Where a trip's car has gone",
        responses=answers({GEOJSON: "Track", JSON: "Track", GPX: ""}) | problems(401, 403, 404, 406, 503),
    )
    router.add_api_route(
        "/v1/drivers/{driver_id}",
        reads.driver,
        summary="Why a driver is not shown",
        responses=answers({JSON: "Explanation"}) | problems(401, 403, 406, 422, 503),
    )
    return router


def _acceptable(request: Request, offered: Sequence[str]) -> str:
    # A list header may come in several lines; together they are one list (RFC 9110 5.3).
    accept = ",".join(request.headers.getlist("accept"))
    chosen = choose(accept, offered)
    if chosen is None:
        raise Refusal(406, "not-acceptable", f"this comes as {' or '.join(offered)}; Accept takes none of these")
    return chosen


def _track(trip: Trip, fixes: Sequence[TrackFix], media_type: str) -> tuple[bytes, str]:
    body = track_gpx(trip, fixes) if media_type == GPX else msgspec.json.encode(track_geojson(trip, fixes))
    return body, strong_tag(body)


def _tag(content: Any) -> str:
    return weak_tag(msgspec.msgpack.encode(content))


def _answer(request: Request, body: bytes, media_type: str, tag: str) -> Response:
    headers = {**_HEADERS, "etag": tag}
    if has_it(",".join(request.headers.getlist("if-none-match")) or None, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media_type)
