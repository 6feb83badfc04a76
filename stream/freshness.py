"""When a silent driver turns stale and when gone, by the age of the fix that is shown. No I/O, no clock."""

from __future__ import annotations

import heapq
from enum import StrEnum

from stream.settings import FreshnessSettings


class Freshness(StrEnum):
    """How far a shown position may be believed."""

    LIVE = "live"
    STALE = "stale"
    GONE = "gone"


def freshness_of(fix_time_ms: int, now_ms: int, settings: FreshnessSettings) -> Freshness:
    """The freshness of a fix: a limit belongs to what comes after it, so a fix of exactly that age is past it."""
    age_ms = now_ms - fix_time_ms
    if age_ms >= settings.gone_after_ms:
        return Freshness.GONE
    return Freshness.STALE if age_ms >= settings.stale_after_ms else Freshness.LIVE


class Deadlines:
    """Drivers by the time of a fix, oldest first, so that a sweep looks at those who are due and at no one else.

    A driver who keeps pinging costs nothing here: an entry stays as it was made, and is renewed when it comes due.
    """

    __slots__ = ("_heap", "_watched")

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._watched: dict[str, int] = {}

    def watch(self, driver_id: str, fix_time_ms: int) -> None:
        """Have `due` name the driver once this fix, or the one it was watched by already if older, is old enough."""
        known = self._watched.get(driver_id)
        if known is None or fix_time_ms < known:
            self._watched[driver_id] = fix_time_ms
            heapq.heappush(self._heap, (fix_time_ms, driver_id))

    def due(self, until_ms: int) -> list[str]:
        """Drivers watched by a fix at or before `until_ms`, once each. Who has a newer fix must be watched again."""
        found = []
        while self._heap and self._heap[0][0] <= until_ms:
            fix_time_ms, driver_id = heapq.heappop(self._heap)
            if self._watched.get(driver_id) == fix_time_ms:
                del self._watched[driver_id]
                found.append(driver_id)
        return found

    def __len__(self) -> int:
        return len(self._watched)
