"""Remember when each fix set out, so that its arrival at a rider can be timed. No clock: times are handed in."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.fixes import Fix

#: Fixes remembered; at 2,000 pings/s this is more than 30 s of them, and about 15 MB.
MOST_REMEMBERED = 65_536


class Departures:
    def __init__(self) -> None:
        self._left_s: dict[tuple[str, int], float] = {}

    def note(self, fixes: Iterable[Fix], now_s: float) -> None:
        """These fixes set out at monotonic time `now_s`. A repeated fix keeps its first; the oldest are forgotten."""
        for fix in fixes:
            self._left_s.setdefault((fix.driver_id, fix.fix_time_ms), now_s)
        while len(self._left_s) > MOST_REMEMBERED:
            del self._left_s[next(iter(self._left_s))]

    def took_ms(self, driver_id: str, fix_time_ms: int, now_s: float) -> float | None:
        """How long ago a fix set out, in ms; None when it is not remembered (somebody else's, or too long ago)."""
        left_s = self._left_s.get((driver_id, fix_time_ms))
        return None if left_s is None else (now_s - left_s) * 1_000
