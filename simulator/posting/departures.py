"""Remember when each fix set out, so that its arrival at a rider can be timed. No clock: times are handed in."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.fleet.fixes import Fix

#: Fixes remembered at most, and half as many at least; at 2,000 pings/s that is 33 s of them and 30 MB.
MOST_REMEMBERED = 131_072


class Departures:
    def __init__(self) -> None:
        # Two generations: to forget the oldest one by one would cost a walk over all that were forgotten before.
        self._left_s: dict[tuple[str, int], float] = {}
        self._before_s: dict[tuple[str, int], float] = {}

    def note(self, fixes: Iterable[Fix], now_s: float) -> None:
        """These fixes set out at monotonic time `now_s`. A repeated fix keeps its first; the oldest are forgotten."""
        for fix in fixes:
            key = fix.driver_id, fix.fix_time_ms
            if key not in self._before_s:
                self._left_s.setdefault(key, now_s)
            if len(self._left_s) >= MOST_REMEMBERED // 2:
                self._left_s, self._before_s = {}, self._left_s

    def took_ms(self, driver_id: str, fix_time_ms: int, now_s: float) -> float | None:
        """How long ago a fix set out, in ms; None when it is not remembered (somebody else's, or too long ago)."""
        key = driver_id, fix_time_ms
        left_s = self._left_s.get(key)
        if left_s is None:
            left_s = self._before_s.get(key)
            if left_s is None:
                return None
        return (now_s - left_s) * 1_000
