"""What a session wants done: the actions that the server carries out for one rider, in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from push.nearby import Query
from push.protocol import CLOSE_REASONS


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message now. `type` is for the counters."""

    type: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """The rider is who it says; greet it. `id` is that of its `auth` message."""

    id: str | None


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer a `ping` with the time."""

    id: str | None


@dataclass(frozen=True, slots=True)
class Watch:
    """Start the subscription `sub`."""

    sub: str
    query: Query


@dataclass(frozen=True, slots=True)
class WatchTrip:
    """Start the subscription `sub`. `recover` is the (epoch, offset) of the last event that the rider knows."""

    sub: str
    trip_id: str
    recover: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Look:
    """The subscription `sub` looks elsewhere from now on."""

    sub: str
    query: Query


@dataclass(frozen=True, slots=True)
class Unwatch:
    """End the subscription `sub`."""

    sub: str


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection."""

    code: int
    reason: str


Action = Send | Welcome | Pong | Watch | WatchTrip | Look | Unwatch | Close


def close(code: int, detail: str = "") -> Close:
    """A close frame holds a code and at most 123 bytes of reason."""
    return Close(code, (detail or CLOSE_REASONS[code]).encode()[:123].decode(errors="ignore"))
