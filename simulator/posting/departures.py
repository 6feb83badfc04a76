"""Remember when each fix set out, so that its arrival at a rider can be timed. No clock: times are handed in.

A rider who sees a car leap from fix A to fix C saw nothing of the fixes posted in between until then: each has waited
from when it was due to C's receipt. Were only C timed, a system that stands still would be charged with one fix of each
car, and not with all that fell due meanwhile (coordinated omission).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from math import nan

from simulator.fleet.fixes import Fix
from simulator.phones.belief import SHOWN, Belief, refusal

#: So long a fix is remembered, whatever the rate: twice the longest stall that is to be timed in full. At 48 bytes a
#: fix that is 12 MB for 2,000 pings/s.
REMEMBERED_S = 120.0


class Departures:
    """Fixes must be noted in the order in which they are posted."""

    def __init__(self) -> None:
        self._drivers: dict[str, _Posted] = {}

    def note(self, fixes: Iterable[Fix], now_s: float) -> None:
        """These fixes set out at monotonic time `now_s`. A repeated fix keeps its first; the oldest are forgotten."""
        for fix in fixes:
            posted = self._drivers.get(fix.driver_id)
            if posted is None:
                posted = self._drivers[fix.driver_id] = _Posted()
            posted.add(fix, now_s)

    def took_ms(self, driver_id: str, before_ms: int, fix_time_ms: int, now_s: float) -> Sequence[float]:
        """How long ago, in ms, that set out which a rider is shown at `now_s` instead of the fix of `before_ms`.

        The fix of `fix_time_ms` comes first, and then each one between the two that should have moved the marker: not
        what ingest rejects, what is late or not to be believed (decision 0002), what was posted after the fix shown.
        Empty when that one is not remembered (somebody else's, or too long ago).
        """
        posted = self._drivers.get(driver_id)
        if posted is None:
            return ()
        fix_ms = posted.fix_ms
        # Nearly always it is the newest, and the one before it was shown before.
        at = len(fix_ms) - 1
        if fix_ms[at] != fix_time_ms:
            at = bisect_left(fix_ms, fix_time_ms)
            if at == len(fix_ms) or fix_ms[at] != fix_time_ms:
                return ()
        took_ms = (now_s - posted.due_s[at]) * 1_000
        if at == 0 or fix_ms[at - 1] <= before_ms:
            return (took_ms,)
        return (took_ms, *((now_s - due_s) * 1_000 for due_s in posted.passed_over(driver_id, before_ms, at)))


class _Posted:
    """What one phone posted, in order of fix time, one for each fix time, as columns."""

    __slots__ = ("_accuracy_m", "_last", "_lat", "_lon", "_noted", "_passed", "_turn", "due_s", "fix_ms")

    def __init__(self) -> None:
        self.fix_ms, self.due_s = array("q"), array("d")
        #: Which in the order of posting; 0 for what ingest rejects whenever it comes, which nobody waits for.
        self._turn, self._noted = array("q"), 0
        self._lat, self._lon, self._accuracy_m = array("d"), array("d"), array("f")
        #: The last question and its answer: all riders who see a driver's car leap see the same leap.
        self._last, self._passed = (0, 0), list[float]()

    def add(self, fix: Fix, due_s: float) -> None:
        fix_ms = self.fix_ms
        at = len(fix_ms)
        if at and fix.fix_time_ms <= fix_ms[-1]:
            at = bisect_left(fix_ms, fix.fix_time_ms)
            if fix_ms[at] == fix.fix_time_ms:
                return
        self._noted += 1
        fix_ms.insert(at, fix.fix_time_ms)
        self.due_s.insert(at, due_s)
        # Its age needs no look at a clock: had a rider been waiting for it, nothing newer came before nor older after.
        self._turn.insert(at, self._noted if refusal(fix, fix.fix_time_ms) is None else 0)
        self._lat.insert(at, fix.lat)
        self._lon.insert(at, fix.lon)
        self._accuracy_m.insert(at, nan if fix.accuracy_m is None else fix.accuracy_m)
        if self.due_s[0] < due_s - REMEMBERED_S:
            self._forget(due_s - REMEMBERED_S)

    def passed_over(self, driver_id: str, before_ms: int, at: int) -> list[float]:
        """When those set out, in monotonic s, that should have been shown between fix `before_ms` and number `at`."""
        leap = before_ms, self.fix_ms[at]
        if leap == self._last:
            return self._passed
        first = bisect_right(self.fix_ms, before_ms)
        since, until = 0, self._turn[at]
        belief = Belief()
        if first and self.fix_ms[first - 1] == before_ms:
            since = self._turn[first - 1]
            belief.weigh(self._fix(driver_id, first - 1), honest=True)
        between = sorted((self._turn[index], index) for index in range(first, at))
        self._passed = [
            self.due_s[index]
            for turn, index in between
            if since < turn < until and belief.weigh(self._fix(driver_id, index), honest=True) == SHOWN
        ]
        self._last = leap
        return self._passed

    def _fix(self, driver_id: str, at: int) -> Fix:
        return Fix(
            driver_id=driver_id,
            fix_time_ms=self.fix_ms[at],
            lat=self._lat[at],
            lon=self._lon[at],
            accuracy_m=None if (accuracy_m := self._accuracy_m[at]) != accuracy_m else accuracy_m,
        )

    def _forget(self, before_s: float) -> None:
        """Drop what set out before, as far as it is also the oldest by fix time."""
        stale = 0
        while self.due_s[stale] < before_s:
            stale += 1
        for column in (self.fix_ms, self.due_s, self._turn, self._lat, self._lon, self._accuracy_m):
            del column[:stale]
