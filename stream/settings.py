"""Settings that the stream job and the readers of its index share, and those of the job alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infra.settings import ClockSettings, KafkaSettings, LogSettings, RedisSettings, Settings


class FreshnessSettings(Settings):
    """When a silent driver stops being live, and when it stops being shown. Event time, from the fix."""

    stale_after_ms: Annotated[
        int, Field(ge=100, description="A car whose newest fix is older than this is shown as stale.")
    ] = 30_000
    gone_after_ms: Annotated[
        int,
        Field(ge=200, description="A car whose newest fix is older than this leaves the index and the map."),
    ] = 120_000
    trip_stale_after_ms: Annotated[
        int,
        Field(
            ge=100,
            description="A trip's car whose newest fix is older than this is shown to its rider as stale. A fix that "
            "is older when it is read says nothing about now: it fires no arrival and no zone event.",
        ),
    ] = 15_000
    trip_lost_after_ms: Annotated[
        int,
        Field(ge=200, description="A trip's car whose newest fix is older than this is shown to its rider as lost."),
    ] = 60_000


class FoldSettings(Settings):
    """What a driver's fixes are believed by."""

    max_speed_mps: Annotated[
        float,
        Field(
            gt=0,
            description="A fix that implies a higher speed since the one before it is an impossible jump.",
        ),
    ] = 55.0


class TripLogSettings(Settings):
    """What is kept of a trip's events."""

    trip_log_events: Annotated[
        int, Field(ge=1, le=100_000, description="Events kept in a trip's log, from which a rider's app is resumed.")
    ] = 1_000


class TripSettings(TripLogSettings):
    """How trips are joined with their drivers' pings."""

    arrival_radius_m: Annotated[
        float, Field(gt=0, description="Two fixes in a row within this of a stop are an arrival there.")
    ] = 60.0
    departure_radius_m: Annotated[
        float,
        Field(gt=0, description="A car must have been further than this from a stop before it can arrive there again."),
    ] = 150.0
    detour_factor: Annotated[
        float, Field(ge=1, description="Roads are longer than the straight line by this, where a trip has no route.")
    ] = 1.3
    default_speed_mps: Annotated[
        float, Field(gt=0, description="What an ETA assumes of a car that has not been seen driving yet.")
    ] = 7.0
    trip_kept_ms: Annotated[
        int,
        # ingest's ledger forgets it then (ENDED_TTL_MS), and takes its id for another trip.
        Field(
            ge=1_000,
            le=86_400_000,
            description="A trip that has ended, its log and its track are forgotten after this, at most a day.",
        ),
    ] = 86_400_000
    zones_geojson: Annotated[
        str, Field(description="GeoJSON file of the zones whose entering and leaving is told; empty: none.")
    ] = ""


class StreamSettings(
    KafkaSettings, RedisSettings, ClockSettings, FreshnessSettings, FoldSettings, TripSettings, LogSettings
):
    """Everything `python -m stream worker` reads."""

    consumer_group: Annotated[str, Field(description="Kafka consumer group of the workers.")] = "ridestream"
    forget_after_ms: Annotated[
        int,
        Field(ge=1_000, description="A driver silent for this long is forgotten altogether (event time)."),
    ] = 86_400_000
    fetch_max_wait_ms: Annotated[
        int,
        Field(
            ge=1,
            le=1_500,
            description="Longest wait of one Kafka fetch. The embedded broker waits about a quarter of it even "
            "when there is data, so it bounds the delay of a ping there.",
        ),
    ] = 5
    max_unwritten_pings: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            description="Pings folded but not yet written to Redis; beyond this the worker stops reading. "
            "The same on every worker.",
        ),
    ] = 16_000
    redis_timeout_s: Annotated[
        float, Field(gt=0, description="A Redis that is silent for this long counts as away; it is asked again.")
    ] = 5.0
    commit_interval_s: Annotated[
        float, Field(gt=0, description="How often the group's offsets are committed to Kafka.")
    ] = 1.0
    session_timeout_s: Annotated[
        float, Field(gt=0, description="A killed worker's partitions move to the others after this long.")
    ] = 10.0
    rebalance_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            description="How long a rebalance waits for members to join. The embedded broker waits that long "
            "whenever somebody joins.",
        ),
    ] = 3.0
    stall_after_s: Annotated[
        float,
        Field(
            gt=0,
            description="Lag without progress for this long ends the worker, so that it is started again.",
        ),
    ] = 30.0
    stream_metrics_host: Annotated[str, Field(description="Address of the worker's metrics.")] = "127.0.0.1"
    stream_metrics_port: Annotated[
        int,
        Field(ge=0, le=65535, description="Port of /livez, /readyz and /metrics of the worker; 0 picks one."),
    ] = 8090
