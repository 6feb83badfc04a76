"""Settings of the push service."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from infra.settings import ClockSettings, IdentitySettings, LogSettings, PartitionSettings, RedisSettings, Settings
from push.ladder import Thresholds
from push.outbox import MAX_CARS
from stream.settings import FoldSettings, FreshnessSettings, TripLogSettings


def _origin(url: str) -> str:
    """It becomes part of the pages' policy: nothing but an origin may."""
    if url and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", url):
        raise ValueError("must be scheme, host and port only, like http://127.0.0.1:8083")
    return url


class ShareSettings(Settings):
    """Links by which somebody without an account watches one trip."""

    share_key: Annotated[
        str,
        Field(
            repr=False,
            description="Secret of at least 32 bytes that signs share links, the same on every node; empty: derived "
            "from RIDESTREAM_JWT_KEY with HS256, and no links with other algorithms.",
        ),
    ] = ""
    share_lifetime_s: Annotated[
        int, Field(ge=1, description="A share link ends after this, unless its maker says otherwise.")
    ] = 14_400
    max_share_lifetime_s: Annotated[int, Field(ge=1, description="Longest time a share link can be good for.")] = 86_400
    max_shares_per_trip: Annotated[
        int, Field(ge=1, le=1_000, description="Most share links of one trip that are good at the same time.")
    ] = 20
    public_http_url: Annotated[
        str,
        Field(
            description="Where riders' browsers find push's pages, like https://ride.example; empty: derived from "
            "host and port. Share links begin with it.",
        ),
    ] = ""


class PushSettings(
    PartitionSettings,
    RedisSettings,
    ClockSettings,
    IdentitySettings,
    FreshnessSettings,
    FoldSettings,
    TripLogSettings,
    ShareSettings,
    LogSettings,
):
    """Everything `python -m push` reads."""

    push_host: Annotated[str, Field(description="Address push listens on.")] = "127.0.0.1"
    push_port: Annotated[int, Field(ge=1, le=65535, description="Port of the WebSocket endpoint /v1/stream.")] = 8081
    push_http_port: Annotated[
        int,
        Field(ge=1, le=65535, description="Port of the live map, its data, /livez, /readyz and /metrics."),
    ] = 8082
    public_ws_url: Annotated[
        str,
        Field(description="WebSocket address the live map connects to; empty: derived from host and port."),
    ] = ""
    stage_url: Annotated[
        str,
        AfterValidator(_origin),
        Field(
            description="Where the simulator says what it is doing, like http://127.0.0.1:8083: the live map then "
            "shows a city at work. Empty: it does not ask.",
        ),
    ] = ""
    allowed_origins: Annotated[
        str,
        Field(
            description="Comma separated Origins that browsers may connect from; empty: the live map's own. "
            "Native apps send none and are always allowed."
        ),
    ] = ""
    guest_riders: Annotated[
        bool,
        Field(description="Hand the live map's visitors short-lived rider tokens (needs HS256); off in production."),
    ] = False
    map_geojson: Annotated[
        str,
        Field(
            description="Base map of the live map, .geojson or .geojson.gz as python -m push.basemap makes it; "
            "empty: Manhattan, which comes with the package."
        ),
    ] = ""
    map_center: Annotated[
        str,
        Field(
            pattern=r"^-?\d{1,2}(\.\d+)?,-?\d{1,3}(\.\d+)?$",
            description="Where the live map opens, as lat,lon in degrees.",
        ),
    ] = "40.7549,-73.9840"
    tick_ms: Annotated[
        float,
        Field(
            gt=0,
            le=1_000,
            description="Shortest time between two updates of one subscription. More of it spares phones' batteries.",
        ),
    ] = 4.0
    max_tick_ms: Annotated[
        float, Field(gt=0, le=5_000, description="Ticks lengthen up to this when the node is busy.")
    ] = 100.0
    max_radius_m: Annotated[float, Field(gt=0, le=20_000, description="Largest radius a rider may watch.")] = 5_000.0
    max_rings: Annotated[int, Field(ge=0, le=80, description="Most H3 rings a rider may watch.")] = 20
    max_cars: Annotated[int, Field(ge=1, le=MAX_CARS, description="Most cars in one subscription.")] = MAX_CARS
    max_subscriptions: Annotated[int, Field(ge=1, description="Most subscriptions on one connection.")] = 8
    max_connections: Annotated[int, Field(ge=1, description="Most connections on one node.")] = 20_000
    max_connections_per_rider: Annotated[
        int, Field(ge=1, description="Most connections of one rider (token subject) on one node.")
    ] = 100
    max_messages_per_s: Annotated[
        float, Field(gt=0, description="Sustained client messages per second on one connection.")
    ] = 20.0
    heartbeat_s: Annotated[float, Field(gt=0, description="Longest silence of the server towards a rider.")] = 5.0
    auth_timeout_s: Annotated[float, Field(gt=0, description="A client must authenticate within this.")] = 5.0
    write_limit_bytes: Annotated[
        int,
        Field(ge=1_024, description="While more than this waits in a rider's socket buffer, positions conflate."),
    ] = 8_192
    send_buffer_bytes: Annotated[
        int,
        Field(ge=4_096, description="Kernel send buffer of one connection (SO_SNDBUF; Linux doubles it)."),
    ] = 32_768
    no_pong_after_s: Annotated[
        float,
        Field(
            gt=0,
            description="A connection that answers nothing, not even pings, for this long is closed with 4012.",
        ),
    ] = 20.0
    snapshot_wait_s: Annotated[
        float,
        Field(
            ge=0,
            description="A first snapshot waits this long for regions that are still being read; a trip that is not "
            "known, or not the rider's, is refused after this.",
        ),
    ] = 2.0
    unwatched_for_s: Annotated[
        float, Field(ge=0, description="A region that nobody looks at is dropped after this long.")
    ] = 30.0
    stalled_after_s: Annotated[
        float,
        Field(gt=0, description="A rider whose socket takes nothing for this long is closed with 4008."),
    ] = 30.0
    slow_target_ms: Annotated[
        int,
        Field(
            ge=50,
            le=60_000,
            description="Of a rider with a trip, or whose socket was full: no more positions are on their way than it "
            "reads in about this, because what waits in a buffer grows old.",
        ),
    ] = 1_000
    slow_after_s: Annotated[
        float,
        Field(
            gt=0,
            description="Such a rider who takes longer for 4 KiB, for this long, gets positions at the slow rate; a "
            "few seconds, so that one bad moment of a phone's network is not enough.",
        ),
    ] = 3.0
    slow_interval_ms: Annotated[
        int,
        Field(
            ge=1,
            description="The slow rate: a position of the trip, and news of the map, this often. Trip events and "
            "freshness still come at once.",
        ),
    ] = 2_000
    slow_drop_map_after_s: Annotated[
        float,
        Field(
            gt=0,
            description="A rider at the slow rate who takes more than twice as long for 4 KiB, for this long, keeps "
            "its trip and loses its map: a map of 40 cars would take 5 s or more, and the trip waits behind it.",
        ),
    ] = 10.0
    drain_s: Annotated[float, Field(ge=0, description="A stopping node spreads its closes over this.")] = 10.0

    @property
    def thresholds(self) -> Thresholds:
        """Of the slow ladder."""
        return Thresholds(
            self.slow_target_ms / 1_000,
            self.slow_after_s,
            self.slow_drop_map_after_s,
            self.slow_interval_ms / 1_000,
            self.stalled_after_s,
        )
