"""What one phone sent, when, and what ingest said of each fix. No clock, no chance. Times are epoch ms.

Kept as columns, about 60 bytes a fix, since a fleet of 2,000 sends two million fixes in a quarter of an hour.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from math import isnan, nan
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from simulator.phones.phones import Sending

#: The verdict of a fix that has none yet; any other is the index of a word.
_UNJUDGED = -1


class Sent(NamedTuple):
    """One fix that a phone sent, and what ingest said of it."""

    lat: float
    lon: float
    #: False when the position or the time is not the car's.
    honest: bool
    #: "shown", "kept" or the reason code of a rejection (simulator/phones/phones.py).
    expect: str
    sent_ms: int
    #: When the verdict came; None while there is none.
    judged_ms: int | None
    #: Why it was rejected; None when it was accepted, or is not judged yet.
    reason: str | None
    #: As the phone said, to seven digits; None or "" where it did not.
    heading_deg: float | None = None
    speed_mps: float | None = None
    accuracy_m: float | None = None
    vehicle_type: str = ""


class Settled(msgspec.Struct, frozen=True, gc=False):
    """From `judged_ms` on, this is the newest accepted fix that is to be shown."""

    judged_ms: int
    fix_time_ms: int
    lat: float
    lon: float


NOTHING = Settled(0, 0, float("nan"), float("nan"))


class Outbox:
    """The fixes of one phone in order of fix time, one for each fix time.

    Of two fixes with one time the system keeps the one that came first, so here too the first one stands; but one that
    is to be shown takes the place of one that is not (a mocked fix, say, that ingest rejects).
    """

    __slots__ = ("_columns", "_fix_ms", "_kept_ms", "_sent_ms", "_steps", "_words")

    def __init__(self, kept_ms: int, words: list[str]) -> None:
        """Entries are forgotten `kept_ms` after they were sent. `words` are shared by all outboxes; "" is first."""
        self._kept_ms, self._words = kept_ms, words
        self._fix_ms, self._sent_ms = array("q"), array("q")
        # lat, lon, honest, expect, sent_ms, judged_ms, verdict, heading_deg, speed_mps, accuracy_m, vehicle_type: as in
        # Sent, words as their index, NaN for None.
        self._columns: tuple[array[Any], ...] = (
            *(array("d"), array("d"), array("b"), array("b")),
            *(self._sent_ms, array("q"), array("b")),
            *(array("f"), array("f"), array("f"), array("b")),
        )
        #: In order of both times: who was judged later and is older never settles.
        self._steps: list[Settled] = []

    def add(self, sending: Sending, at_ms: int) -> None:
        """The phone posts this fix at `at_ms`."""
        fix, fix_ms = sending.fix, self._fix_ms
        row = (
            *(fix.lat, fix.lon, sending.honest, self._word(sending.expect), at_ms, 0, _UNJUDGED),
            nan if fix.heading_deg is None else fix.heading_deg,
            nan if fix.speed_mps is None else fix.speed_mps,
            nan if fix.accuracy_m is None else fix.accuracy_m,
            self._word(fix.vehicle_type),
        )
        if not fix_ms or fix.fix_time_ms > fix_ms[-1]:
            fix_ms.append(fix.fix_time_ms)
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
            self._forget(at_ms - self._kept_ms)
            return
        index = self._index(fix.fix_time_ms)
        if index is None:
            index = bisect_left(self._fix_ms, fix.fix_time_ms)
            self._fix_ms.insert(index, fix.fix_time_ms)
            for column, value in zip(self._columns, row, strict=True):
                column.insert(index, value)
            self._forget(at_ms - self._kept_ms)
        elif sending.expect == "shown" and self._sent(index).expect != "shown":
            for column, value in zip(self._columns, row, strict=True):
                column[index] = value

    def judge(self, fix_time_ms: int, reason: str | None, at_ms: int) -> Settled | None:
        """Ingest's verdict came. A copy may be accepted after another was refused; accepted is never taken back.

        Returns the fix if it is now the newest of those accepted that are to be shown.
        """
        index = self._index(fix_time_ms)
        if index is None:
            return None
        lat, lon, _, expect, _, judged_ms, verdict = self._columns[:7]
        before = verdict[index]
        if before != _UNJUDGED and (self._words[before] == "" or reason is not None):
            return None
        judged_ms[index], verdict[index] = at_ms, self._word(reason or "")
        if reason is None and self._words[expect[index]] == "shown":
            return self._settle(Settled(at_ms, fix_time_ms, lat[index], lon[index]))
        return None

    def find(self, fix_time_ms: int) -> Sent | None:
        """What was sent with this fix time."""
        index = self._index(fix_time_ms)
        return None if index is None else self._sent(index)

    def between(self, from_ms: int, until_ms: int) -> list[tuple[int, Sent]]:
        """(fix time, what was sent) for `from_ms` <= fix time <= `until_ms`, oldest first."""
        indices = range(bisect_left(self._fix_ms, from_ms), bisect_right(self._fix_ms, until_ms))
        return [(self._fix_ms[index], self._sent(index)) for index in indices]

    def settled(self, horizon_ms: int) -> Settled:
        """The newest fix to be shown of those accepted by `horizon_ms`."""
        for step in reversed(self._steps):
            if step.judged_ms <= horizon_ms:
                return step
        return NOTHING

    def _settle(self, step: Settled) -> Settled | None:
        if self._steps and step.fix_time_ms <= self._steps[-1].fix_time_ms:
            return None
        self._steps.append(step)
        # The last one that was settled before is still the answer for a horizon in between.
        while len(self._steps) > 1 and self._steps[1].judged_ms < step.judged_ms - self._kept_ms:
            del self._steps[0]
        return step

    def _index(self, fix_time_ms: int) -> int | None:
        index = bisect_left(self._fix_ms, fix_time_ms)
        return index if index < len(self._fix_ms) and self._fix_ms[index] == fix_time_ms else None

    def _sent(self, index: int) -> Sent:
        lat, lon, honest, expect, sent_ms, judged_ms, verdict, heading, speed, accuracy, vehicle = [
            column[index] for column in self._columns
        ]
        judged = verdict != _UNJUDGED
        reason = (self._words[verdict] or None) if judged else None
        return Sent(
            lat,
            lon,
            bool(honest),
            self._words[expect],
            sent_ms,
            judged_ms if judged else None,
            reason,
            None if isnan(heading) else heading,
            None if isnan(speed) else speed,
            None if isnan(accuracy) else accuracy,
            self._words[vehicle],
        )

    def _word(self, word: str) -> int:
        try:
            return self._words.index(word)
        except ValueError:
            self._words.append(word)
            return len(self._words) - 1

    def _forget(self, before_ms: int) -> None:
        """Drop what was sent before, as far as it is also the oldest by fix time."""
        stale = 0
        while self._sent_ms[stale] < before_ms:
            stale += 1
        if stale:
            for column in (self._fix_ms, *self._columns):
                del column[:stale]
