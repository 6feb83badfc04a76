"""What time it is for a fix: the wall's, or that of a replayed recording. Only `now_ms` reads the machine's clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Event time now, in epoch milliseconds."""

    def now_ms(self) -> int: ...


class WallClock:
    """Event time is the machine's time: production."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class ReplayClock:
    """Event time runs `speed` times as fast as the wall, between the recording's start and end, and holds there.

    Every process that is given the same four numbers agrees on the time without talking to another, also after
    a restart. Before `wall_start_ms` the clock holds at `event_start_ms`; once it reaches `event_end_ms` it holds.
    """

    event_start_ms: int
    event_end_ms: int
    speed: float
    wall_start_ms: int

    def at(self, wall_ms: float) -> int:
        """The event time at a wall time, both epoch milliseconds."""
        elapsed_ms = max(0.0, wall_ms - self.wall_start_ms) * self.speed
        return min(self.event_end_ms, self.event_start_ms + int(elapsed_ms))

    def wall_ms_of(self, event_ms: int) -> float:
        """The wall time at which the clock first shows `event_ms` (within the recording)."""
        return self.wall_start_ms + (event_ms - self.event_start_ms) / self.speed

    def now_ms(self) -> int:
        return self.at(time.time_ns() / 1_000_000)

    def __str__(self) -> str:
        return (
            f"replay:event_start_ms={self.event_start_ms},event_end_ms={self.event_end_ms},"
            f"speed={self.speed:g},wall_start_ms={self.wall_start_ms}"
        )


def parse_clock(text: str) -> WallClock | ReplayClock:
    """Read a RIDESTREAM_CLOCK value. Raises ValueError that says what it may hold."""
    if text == "wall":
        return WallClock()
    kind, _, rest = text.partition(":")
    parts = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
    try:
        if kind != "replay" or set(parts) != {"event_start_ms", "event_end_ms", "speed", "wall_start_ms"}:
            raise ValueError
        clock = ReplayClock(
            event_start_ms=int(parts["event_start_ms"]),
            event_end_ms=int(parts["event_end_ms"]),
            speed=float(parts["speed"]),
            wall_start_ms=int(parts["wall_start_ms"]),
        )
        if not (0 < clock.speed <= 1e9) or clock.event_end_ms < clock.event_start_ms:
            raise ValueError
    except ValueError:
        raise ValueError(
            "RIDESTREAM_CLOCK must be `wall` or "
            "`replay:event_start_ms=N,event_end_ms=N,speed=X,wall_start_ms=N` with end >= start and 0 < X <= 1e9"
        ) from None
    return clock
