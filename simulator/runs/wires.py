"""Where a run meets the system and as whom, and how it sends: what a fleet, a replay and a scenario have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wires:
    """Addresses of ingest and of push's socket, and the tokens: `rider(rider_id)` gives that of a rider."""

    ingest_url: str
    stream_url: str
    fleet: Callable[[], str]
    rider: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Manner:
    """So many connections, at most so many pings a post, whether to be silent, and how long to wait for a system."""

    lanes: int
    post_max: int
    quiet: bool
    wait_s: float
