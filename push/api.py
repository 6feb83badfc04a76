"""The read API beside the live map: reads and share links, for one app of FastAPI to include."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import redis.asyncio
from fastapi import APIRouter, Request

from infra.clock import Clock
from push.access import Access
from push.pages import HOST, SHARE_PATH
from push.reads import Reads, build_reads
from push.settings import PushSettings
from push.shares import Shares, Tokens
from push.sharing import Sharing, build_sharing
from stream.trip_index import TripIndex


def build_api(
    settings: PushSettings,
    clock: Clock,
    client: redis.asyncio.Redis,
    tokens: Tokens,
    shares: Shares,
    wall_s: Callable[[], float] = time.time,
) -> APIRouter:
    """The routes. `wall_s` tells when tokens expire. Raises ValueError when `public_http_url` cannot be used."""
    public = urlsplit(settings.public_http_url)
    if settings.public_http_url and (public.scheme not in ("http", "https") or not public.netloc or public.query):
        raise ValueError("RIDESTREAM_PUBLIC_HTTP_URL must be an address like https://ride.example")
    access = Access(tokens, shares, TripIndex(client), wall_s)
    api = APIRouter()
    api.include_router(build_reads(Reads(settings, clock, client, access, wall_s)))
    api.include_router(build_sharing(Sharing(settings, access, shares, wall_s, partial(share_page, settings))))
    return api


def share_page(settings: PushSettings, request: Request) -> str:
    """The address of the share page: under the public address, or under the host that was asked, if it can be one."""
    if settings.public_http_url:
        return settings.public_http_url.rstrip("/") + SHARE_PATH
    host = request.headers.get("host", "")
    if HOST.match(host) is None:
        host = f"{settings.push_host}:{settings.push_http_port}"
    return f"{request.url.scheme}://{host}{SHARE_PATH}"
