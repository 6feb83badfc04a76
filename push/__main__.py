"""`python -m push`: settings, mirrors, feeds from Redis, riders on WebSockets, reads, the live map, /metrics: run."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from infra.clock import parse_clock
from infra.health import Health
from infra.identity import Verifier
from infra.settings import SettingsError, load
from infra.telemetry import announce_build, configure_logging
from push.api import build_api
from push.feed import redis_client
from push.metrics import FeedMetrics, RiderMetrics
from push.mirror import Mirror
from push.pages import build_pages
from push.region_feed import RegionFeed
from push.rider import listen
from push.server import PushServer
from push.settings import PushSettings
from push.shares import Shares, Tokens, share_key
from push.trip_feed import TripFeed
from push.trip_mirror import TripMirror

log = logging.getLogger("push")

#: Container objects between two looks for garbage in cycles, of which the hot path makes none. With Python's 700 a
#: look comes every few ticks and goes through every car and rider.
GC_ALLOCATIONS = 50_000


class PagesServer(uvicorn.Server):
    """uvicorn's, without its signal handlers: riders are drained first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: PushSettings, riders_socket: socket.socket, pages_socket: socket.socket) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Exit code 0, or 1 when something ended that must not.

    Raises SettingsError when the live map cannot be built from the settings.
    """
    clock = parse_clock(settings.clock)
    mirror = Mirror(settings.stale_after_ms, settings.gone_after_ms)
    trips = TripMirror(settings.trip_stale_after_ms, settings.trip_lost_after_ms, settings.trip_log_events)
    client = redis_client(settings.redis)
    tokens = build_tokens(settings)
    shares = Shares(client, share_key(settings), settings.max_shares_per_trip)
    announce_build("push")

    # Drain order is spread by chance, and nothing that anybody is told depends on it.
    rng = random.Random()  # noqa: S311
    server = PushServer(settings, clock, tokens.verify, mirror, trips, shares.good_of, RiderMetrics(), rng)
    regions_feed = RegionFeed(client, mirror, server.wake, settings.unwatched_for_s, FeedMetrics())
    trips_feed = TripFeed(client, trips, server.wake, settings.unwatched_for_s, FeedMetrics(kind="trip"))
    health = Health(lambda: "this process is draining" if server.draining else regions_feed.away or trips_feed.away)
    try:
        app = build_pages(settings, clock, health, build_api(settings, clock, client, tokens, shares))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    pages = PagesServer(
        uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
        )
    )

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    feeding = [asyncio.create_task(feed.run()) for feed in (regions_feed, trips_feed)]
    await server.start(regions_feed, trips_feed, riders_socket)
    serving_pages = asyncio.create_task(pages.serve(sockets=[pages_socket]))
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    log.info("listening", extra={"port": settings.push_port, "http_port": settings.push_http_port})

    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((stopped, *feeding, serving_pages), return_when=asyncio.FIRST_COMPLETED)
    broken = not stopped.done()
    log.info("draining")
    await server.drain()
    pages.should_exit = True
    for feed in feeding:
        feed.cancel()
    for outcome in await asyncio.gather(*feeding, serving_pages, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("a part of push ended", exc_info=outcome)
    await client.aclose()
    log.info("drained")
    return 1 if broken else 0


def main() -> int:
    """Exit code: 0 drained, 1 failed, 2 misconfigured."""
    try:
        settings = load(PushSettings)
        parse_clock(settings.clock)
        build_tokens(settings)
        with (
            bind(settings.push_host, settings.push_port, settings.send_buffer_bytes) as riders_socket,
            bind(settings.push_host, settings.push_http_port) as pages_socket,
        ):
            configure_logging("push", settings.log_level)
            code: int = uvloop.run(serve(settings, riders_socket, pages_socket))
            return code
    except ValueError as error:
        print(f"ridestream push: {error}", file=sys.stderr)
        return 2


def build_tokens(settings: PushSettings) -> Tokens:
    """Raises ValueError that names the setting when a key cannot be used."""
    return Tokens(Verifier(settings.jwt_key, settings.jwt_algorithm, "rider"), share_key(settings))


def bind(host: str, port: int, send_buffer_bytes: int | None = None) -> socket.socket:
    try:
        return listen(host, port, send_buffer_bytes)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


if __name__ == "__main__":
    sys.exit(main())
