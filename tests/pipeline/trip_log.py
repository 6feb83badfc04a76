"""A trip's log as Redis has it, in the words of the WebSocket's events."""

from __future__ import annotations

from typing import Any

import msgspec
import redis

from stream.trip_channels import log_key, unpack_event
from tests.pipeline.system import System


def log_of(system: System, trip_id: str) -> list[dict[str, Any]]:
    """All events that are kept, oldest first."""
    with redis.Redis.from_url(system.env["RIDESTREAM_REDIS"]) as client:
        return [
            {"offset": int(id_.split(b"-")[0]), **msgspec.to_builtins(unpack_event(fields[b"e"]))}
            for id_, fields in client.xrange(log_key(trip_id))
        ]
