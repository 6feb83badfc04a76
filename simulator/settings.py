"""Settings of the simulator."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infra.settings import IdentitySettings, Settings


class SimulatorSettings(IdentitySettings, Settings):
    """Everything `python -m simulator` reads from the environment; its options go before."""

    ingest_port: Annotated[int, Field(ge=1, le=65535, description="Port ingest listens on.")] = 8080
    push_port: Annotated[int, Field(ge=1, le=65535, description="Port of the WebSocket endpoint /v1/stream.")] = 8081
    push_http_port: Annotated[int, Field(ge=1, le=65535, description="Port of push's HTTP reads.")] = 8082
    stream_metrics_port: Annotated[int, Field(ge=1, le=65535, description="Port of the worker's /metrics.")] = 8090
    stage_port: Annotated[
        int,
        Field(ge=0, le=65535, description="Port on which a scenario shows the live map its stage; 0: it does not."),
    ] = 0
    ingest_url: Annotated[
        str,
        Field(description="Address the simulator posts to; empty: http://127.0.0.1 and ingest's port."),
    ] = ""
    stream_url: Annotated[
        str,
        Field(description="WebSocket address its riders connect to; empty: ws://127.0.0.1, push's port, /v1/stream."),
    ] = ""
    reads_url: Annotated[
        str,
        Field(description="Address of push's HTTP reads; empty: http://127.0.0.1 and push's HTTP port."),
    ] = ""
    fleet_token: Annotated[
        str,
        Field(
            repr=False,
            description="Bearer token with the scope `fleet` that the simulator posts with; empty: it mints its own "
            "with RIDESTREAM_JWT_KEY (HS256).",
        ),
    ] = ""
    rider_token: Annotated[
        str,
        Field(repr=False, description="Bearer token of its riders; empty: it mints its own with RIDESTREAM_JWT_KEY."),
    ] = ""

    def posts_to(self) -> str:
        return self.ingest_url or f"http://127.0.0.1:{self.ingest_port}"

    def watches_at(self) -> str:
        return self.stream_url or f"ws://127.0.0.1:{self.push_port}/v1/stream"

    def reads_at(self) -> str:
        return self.reads_url or f"http://127.0.0.1:{self.push_http_port}"

    def measured_at(self) -> dict[str, str]:
        """Where each service tells its metrics."""
        worker = f"http://127.0.0.1:{self.stream_metrics_port}"
        return {"ingest": self.posts_to(), "stream": worker, "push": self.reads_at()}
