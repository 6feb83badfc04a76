"""What a partition has lately read: pings for a trip whose record comes after them. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ingest.events import Ping

#: A worker that catches up reads some 40,000 pings a second and the trips' records at once with them: half a second.
#: References to pings that were just folded, ~6 MB while they stay.
RECENT_PINGS = 20_000


class RecentPings:
    """The last `most` pings, by frames."""

    def __init__(self, most: int = RECENT_PINGS) -> None:
        self._most, self._count = most, 0
        self._frames: deque[Sequence[Ping]] = deque()

    def add(self, pings: Sequence[Ping]) -> None:
        """Remember a frame, and forget the oldest beyond what is kept."""
        self._frames.append(pings)
        self._count += len(pings)
        while self._count > self._most and len(self._frames) > 1:
            self._count -= len(self._frames.popleft())

    def of(self, driver_id: str) -> list[Ping]:
        """What is remembered of a driver, in the order in which it was read."""
        return [ping for frame in self._frames for ping in frame if ping.driver_id == driver_id]
