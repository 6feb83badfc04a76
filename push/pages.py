"""The HTTP side of push: the live map's page, its files and data, guest tokens, and /livez /readyz /metrics."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from redis.exceptions import RedisError, ResponseError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.clock import Clock
from infra.health import PATHS, Health
from infra.identity import TokenRefused, Verifier, mint
from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from infra.problems import problem
from push.assets import BUNDLED_BASE_MAP, LEAFLET, WEB, load_base_map, load_folder
from push.cells import cells_geojson
from push.openapi import with_schemas
from push.protocol import SUBPROTOCOL
from push.settings import PushSettings

log = logging.getLogger(__name__)

BASE_MAP_PATH = "/data/base-map.geojson"
#: The page of a shared trip. Its token is in the fragment, which no server ever sees.
SHARE_PATH = "/share"
#: Long enough that a visit rarely renews it, short enough that a leaked one is soon worthless.
GUEST_TOKEN_S = 600
GUEST_PREFIX = "guest-"
#: On opening, the rider stands in a circle this wide: dozens of a small fleet's cars are in it.
OPENING_RADIUS_M = 3_000.0
#: What may stand in a Host header: nothing else becomes part of an address or a policy.
HOST = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253})(:\d{1,5})?$")
#: Redis is back within a second or two of a failover; those who wait must not all come back at once.
RETRY_AFTER_S = 2
_SLUGS = {403: "forbidden", 404: "not-found", 405: "method-not-allowed", 422: "invalid-request", 500: "internal"}


def build_pages(settings: PushSettings, clock: Clock, health: Health, api: APIRouter | None = None) -> FastAPI:
    """The app on `push_http_port`, with the routes of `api`.

    Raises ValueError when `map_geojson` or `map_center` cannot be used.
    """
    files = load_folder(WEB, "/web/") | load_folder(LEAFLET, "/leaflet/")
    files["/"] = files.pop("/web/index.html")
    files[SHARE_PATH] = files.pop("/web/share.html")
    files[BASE_MAP_PATH] = load_base_map(Path(settings.map_geojson) if settings.map_geojson else BUNDLED_BASE_MAP)
    lat, lon = _center(settings.map_center)
    release = version("ridestream")
    guests = Verifier(settings.jwt_key, settings.jwt_algorithm, "rider") if settings.guest_riders else None

    app = FastAPI(
        title="ridestream push",
        version=release,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    # 300 cars near a place, 80 KB, become 9.3 KB in 0.5 ms; level 6 takes 0.9 ms for 8.5 KB, and riders wait meanwhile.
    app.add_middleware(GZipMiddleware, minimum_size=1_024, compresslevel=4)
    app.add_middleware(SecurityHeaders, settings=settings)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(RedisError, _on_redis_away)
    app.add_exception_handler(Exception, _on_fault)

    async def file(request: Request) -> Response:
        found = files.get(request.url.path)
        if found is None:
            raise HTTPException(404, "no such file")
        return found.respond(request)

    async def probe(request: Request) -> Response:
        status, content_type, body = health.respond(request.url.path)
        return Response(body, status, {"cache-control": "no-store"}, content_type)

    for path in ("/", SHARE_PATH, "/web/{name:path}", "/leaflet/{name:path}", "/data/{name:path}"):
        app.add_route(path, file)
    for path in sorted(PATHS):
        app.add_route(path, probe)

    @app.get("/v1/map-config", summary="What the live map needs to know")
    async def map_config(request: Request) -> Response:
        return _json(
            {
                "version": release,
                "ws_url": ws_url(settings, request.headers.get("host", ""), request.url.scheme),
                "subprotocol": SUBPROTOCOL,
                "guest_riders": settings.guest_riders,
                "center": {"lat": lat, "lon": lon},
                "radius_m": min(OPENING_RADIUS_M, settings.max_radius_m),
                "base_map": BASE_MAP_PATH,
                "trip_stale_after_ms": settings.trip_stale_after_ms,
                "trip_lost_after_ms": settings.trip_lost_after_ms,
                "stage_url": settings.stage_url,
                "server_time_ms": clock.now_ms(),
            }
        )

    @app.get("/v1/cells", summary="H3 cells around a place, as GeoJSON")
    def cells(  # in a thread: a wide circle costs ~20 ms, and riders' updates are not to wait for it
        lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
        lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)],
        radius_m: Annotated[float, Query(ge=0, allow_inf_nan=False)],
    ) -> Response:
        if radius_m > settings.max_radius_m:
            raise HTTPException(422, f"radius_m may be at most {settings.max_radius_m:g}")
        return _json(cells_geojson(lat, lon, radius_m), content_type="application/geo+json")

    @app.post("/v1/guest-tokens", status_code=201, summary="A short-lived rider token for a visitor of this page")
    async def guest_tokens(request: Request) -> Response:
        if not settings.guest_riders:
            raise HTTPException(404, "guest riders are off; set RIDESTREAM_GUEST_RIDERS=true or bring a rider token")
        if settings.jwt_algorithm != "HS256":
            raise HTTPException(404, "guest riders need RIDESTREAM_JWT_ALGORITHM=HS256; bring a rider token instead")
        if not is_own_page(request, settings):
            raise HTTPException(403, "guest tokens are handed to the live map's own page only")
        subject = _renewed(guests, request) or f"{GUEST_PREFIX}{secrets.token_hex(8)}"
        token = mint(settings.jwt_key, settings.jwt_algorithm, "rider", subject, "rider", time.time(), GUEST_TOKEN_S)
        return _json({"token": token, "subject": subject, "expires_in_s": GUEST_TOKEN_S}, 201)

    if api is not None:
        app.include_router(api)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(with_schemas(get_openapi(title=app.title, version=app.version, routes=app.routes)))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def ws_url(settings: PushSettings, host: str, scheme: str) -> str:
    """Where the page's socket goes: the setting, or push's port on the host the page itself was asked from."""
    if settings.public_ws_url:
        return settings.public_ws_url
    match = HOST.match(host)
    name = match[1] if match else settings.push_host
    return f"{'wss' if scheme == 'https' else 'ws'}://{name}:{settings.push_port}/v1/stream"


def is_own_page(request: Request, settings: PushSettings) -> bool:
    """Whether a browser says that this page asks, under a name that is ours.

    A foreign name that resolves to this machine (DNS rebinding) looks like the same origin to a browser, so a name
    must be known: a number, localhost, or the host of an allowed origin.
    """
    host = request.headers.get("host", "")
    match = HOST.match(host)
    if match is None or not _is_own_name(match[1].strip("[]"), settings):
        return False
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    return urlsplit(origin).netloc == host if origin is not None else site is not None


def _renewed(guests: Verifier | None, request: Request) -> str | None:
    """The guest whose token is being renewed: an open socket may be given a new token of the same subject only."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if guests is None or scheme.lower() != "bearer":
        return None
    try:
        subject = guests.verify(token.strip(), time.time()).subject
    except TokenRefused:
        return None
    return subject if subject.startswith(GUEST_PREFIX) else None


def _is_own_name(name: str, settings: PushSettings) -> bool:
    allowed = {urlsplit(origin.strip()).hostname for origin in settings.allowed_origins.split(",")}
    if name in allowed or name in ("localhost", settings.push_host):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _center(text: str) -> tuple[float, float]:
    lat, lon = (float(part) for part in text.split(","))
    if abs(lat) > 90 or abs(lon) > 180:
        raise ValueError("RIDESTREAM_MAP_CENTER must be lat,lon in degrees, like 40.7549,-73.9840")
    return lat, lon


def _json(value: Any, status: int = 200, content_type: str = "application/json") -> Response:
    """JSON that no cache keeps: it may hold a token or a place."""
    return Response(msgspec.json.encode(value), status, {"cache-control": "no-store"}, content_type)


def _problem(
    status: int, detail: str, errors: list[dict[str, str]] | None = None, slug: str = "", **headers: str
) -> Response:
    body = problem(status, slug or _SLUGS.get(status, "error"), detail, errors or ())
    return Response(body, status, {"cache-control": "no-store", **headers}, PROBLEM_TYPE)


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = "no such path" if error.detail == "Not Found" else str(error.detail)
    return _problem(error.status_code, detail, None, getattr(error, "slug", ""), **dict(error.headers or {}))


async def _on_redis_away(_request: Request, error: Exception) -> Response:
    # `Feed` says it once; what is not an absence (a script that fails) would be said nowhere else.
    # What Redis refuses it names (NOPERM and the command, the line of a script): no place, no token, and rarely longer.
    refused = f" ({str(error)[:100]})" if isinstance(error, ResponseError) else ""
    log.warning("a read failed: %s%s", type(error).__name__, refused)
    headers = {"retry-after": str(RETRY_AFTER_S)}
    return _problem(503, "the index does not answer; ask again in a moment", None, "unavailable", **headers)


async def _on_bad_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": ".".join(map(str, item["loc"])), "detail": str(item["msg"])} for item in error.errors()]
    return _problem(422, "a parameter is missing or out of range", errors)


async def _on_fault(_request: Request, _error: Exception) -> Response:
    return _problem(500, "this is a fault of the server; its log says more")


class SecurityHeaders:
    """Adds to every answer: only own scripts, only the own socket, no framing, no sniffing, no referrer.

    With a stage, the map may also read that, and frame the page of a shared trip as a rider's phone.
    """

    def __init__(self, app: ASGIApp, settings: PushSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        socket = urlsplit(ws_url(self._settings, host, scope["scheme"]))
        stage = self._settings.stage_url
        frames = "'self'" if stage else "'none'"
        framed = "'self'" if stage and scope["path"] == SHARE_PATH else "'none'"
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' {socket.scheme}://{socket.netloc}{' ' + stage if stage else ''}; "
            f"frame-src {frames}; base-uri 'none'; form-action 'none'; frame-ancestors {framed}"
        )
        added = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)
