"""Settings of the ingest service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infra.settings import ClockSettings, IdentitySettings, KafkaSettings, LogSettings, RedisSettings, Settings


class AdmissionSettings(Settings):
    """What makes one ping acceptable on its own."""

    max_future_ms: Annotated[
        int,
        Field(ge=0, description="A fix further ahead of the clock than this is rejected as `future_fix`."),
    ] = 60_000
    max_age_ms: Annotated[
        int,
        Field(ge=1_000, description="A fix older than this is rejected as `too_old` (offline buffers fit in)."),
    ] = 86_400_000
    max_accuracy_m: Annotated[
        float, Field(gt=0, description="A fix less accurate than this is rejected as `low_accuracy`.")
    ] = 200.0
    accept_mock: Annotated[
        bool, Field(description="Accept fixes that the phone marks as mocked (otherwise `mock_location`).")
    ] = False


class IngestSettings(KafkaSettings, RedisSettings, ClockSettings, IdentitySettings, AdmissionSettings, LogSettings):
    """Everything `python -m ingest` reads."""

    ingest_host: Annotated[str, Field(description="Address ingest listens on.")] = "127.0.0.1"
    ingest_port: Annotated[int, Field(ge=1, le=65535, description="Port ingest listens on.")] = 8080
    frame_linger_ms: Annotated[
        float, Field(ge=0, le=1_000, description="How long a frame waits for more pings of its partition.")
    ] = 5.0
    frame_max_pings: Annotated[
        int, Field(ge=1, le=1_000, description="A frame with this many pings is sent at once.")
    ] = 500
    max_unacked_pings: Annotated[
        int,
        Field(ge=1_000, description="Pings waiting for Kafka; beyond this ingest answers 503 (bounded memory)."),
    ] = 100_000
    ack_timeout_s: Annotated[
        float, Field(gt=0, description="How long a request waits for Kafka before it is answered 503.")
    ] = 5.0
    redis_timeout_s: Annotated[
        float, Field(gt=0, description="A Redis that is silent for this long counts as away; it is asked again.")
    ] = 5.0
    body_timeout_s: Annotated[
        float,
        Field(gt=0, description="How long a client may take to send its body before it is answered 408."),
    ] = 10.0
    drain_s: Annotated[float, Field(ge=0, description="How long a stopping service finishes what it holds.")] = 10.0
