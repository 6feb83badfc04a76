"""What can happen to a fix on its way out: held, lost, late, posted twice, overtaken, silenced. No I/O, no clock."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from random import Random
from typing import ClassVar, Final, Literal, NamedTuple

import h3

from simulator.fleet.reports import Report
from simulator.phones.fault import FOREVER, Draft, Fate, Fault, Link, Window

Flush = Literal["in_order", "reversed", "shuffled"]
#: So many drives through a tunnel are remembered of each driver, for `silences`, which is asked about the last seconds.
REMEMBERED_DRIVES: Final = 8


class Circle(NamedTuple):
    """A place on the ground. Degrees, metres."""

    lat: float
    lon: float
    radius_m: float

    def holds(self, lat: float, lon: float) -> bool:
        return bool(h3.great_circle_distance((self.lat, self.lon), (lat, lon), unit="m") <= self.radius_m)


class Tunnel(Link):
    """Fixes are read and kept, and all posted at once when the phone is on air again: at the end, or out of `area`."""

    kind: ClassVar[str] = "tunnel"

    def __init__(self, window: Window, random: Random, area: Circle | None, flush: Flush, buffer: int) -> None:
        """`buffer`: the newest so many reports are kept, the others lost."""
        super().__init__(window)
        self._random, self._area, self._flush, self._buffer = random, area, flush, buffer
        self.watches = area is not None
        self._held: dict[int, list[Draft]] = {}
        #: Of each driver the moments at which it drove in, out, in, ...
        self._drives: dict[int, deque[int]] = {}
        self._waits = False

    def meet(self, draft: Draft, at_ms: int) -> Fate | None:
        driver = draft.reading.driver
        if not self.silences(driver, at_ms):
            return None
        self._held.setdefault(driver, []).append(draft)
        if self._waits or self.window.until_ms == FOREVER:
            return Fate()
        self._waits = True
        return Fate(wake_ms=self.window.until_ms)

    def see(self, report: Report) -> Fate | None:
        assert self._area is not None
        driver, at_ms = report.driver, report.fix.fix_time_ms
        if driver not in self.window.drivers:
            return None
        drives = self._drives.setdefault(driver, deque(maxlen=2 * REMEMBERED_DRIVES))
        was_inside = len(drives) % 2 == 1
        inside = self.window.covers(driver, at_ms) and self._area.holds(report.true_lat, report.true_lon)
        if inside == was_inside:
            return None
        if len(drives) == drives.maxlen:  # full means outside: forget a whole drive, so that odd still means inside
            drives.popleft()
            drives.popleft()
        drives.append(at_ms)
        return None if inside else self._release(driver, at_ms)

    def wake(self, at_ms: int) -> Fate:
        self._waits = False
        fates = [self._release(driver, at_ms) for driver in sorted(self._held)]
        return Fate([each for fate in fates for each in fate.on], [each for fate in fates for each in fate.lost])

    def _release(self, driver: int, at_ms: int) -> Fate:
        held = self._held.pop(driver, [])
        first = max(0, len(held) - self._buffer)
        lost, kept = held[:first], held[first:]
        if self._flush == "reversed":
            kept.reverse()
        elif self._flush == "shuffled":
            self._random.shuffle(kept)
        return Fate([(at_ms, draft) for draft in kept], lost)

    def silences(self, driver: int, at_ms: int) -> bool:
        if not self.window.covers(driver, at_ms):
            return False
        return self._area is None or bisect_right(self._drives.get(driver, ()), at_ms) % 2 == 1


class Loss(Link):
    """A report is never posted."""

    kind: ClassVar[str] = "loss"

    def __init__(self, window: Window, random: Random, rate: float) -> None:
        super().__init__(window)
        self._random, self._rate = random, rate

    def meet(self, draft: Draft, at_ms: int) -> Fate | None:
        if not self.window.covers(draft.reading.driver, at_ms) or self._random.random() >= self._rate:
            return None
        return Fate(lost=(draft,))

    def silences(self, driver: int, at_ms: int) -> bool:
        return self._rate >= 1.0 and self.window.covers(driver, at_ms)


class Delay(Link):
    """A report is posted later; `in_order`, a phone's later reports wait for it, as behind a slow uplink."""

    kind: ClassVar[str] = "delay"

    def __init__(self, window: Window, random: Random, delay_s: tuple[float, float], in_order: bool) -> None:
        super().__init__(window)
        self._random, self._delay_s, self._in_order = random, delay_s, in_order
        self._last_ms: dict[int, int] = {}

    def meet(self, draft: Draft, at_ms: int) -> Fate | None:
        driver = draft.reading.driver
        last_ms = self._last_ms.get(driver, at_ms)
        if self.window.covers(driver, at_ms):
            on_ms = at_ms + _milliseconds(self._delay_s, self._random)
        elif self._in_order and last_ms > at_ms:
            on_ms = at_ms  # the window is over, the queue is not
        else:
            return None
        if self._in_order:
            on_ms = self._last_ms[driver] = max(on_ms, last_ms)
        return Fate(((on_ms, draft),))


class Duplicate(Link):
    """A fix is posted again, unchanged, as a phone does that did not hear the answer."""

    kind: ClassVar[str] = "duplicate"

    def __init__(self, window: Window, random: Random, rate: float, copies: int, after_s: tuple[float, float]) -> None:
        super().__init__(window)
        self._random, self._rate, self._copies, self._after_s = random, rate, copies, after_s

    def meet(self, draft: Draft, at_ms: int) -> Fate | None:
        if not self.window.covers(draft.reading.driver, at_ms) or self._random.random() >= self._rate:
            return None
        draft.reading.copies += self._copies
        again = [(at_ms + _milliseconds(self._after_s, self._random), draft) for _ in range(self._copies)]
        return Fate(((at_ms, draft), *again))


class Reorder(Link):
    """A report is held for a while, and overtaken by later ones."""

    kind: ClassVar[str] = "reorder"

    def __init__(self, window: Window, random: Random, rate: float, hold_s: tuple[float, float]) -> None:
        super().__init__(window)
        self._random, self._rate, self._hold_s = random, rate, hold_s

    def meet(self, draft: Draft, at_ms: int) -> Fate | None:
        if not self.window.covers(draft.reading.driver, at_ms) or self._random.random() >= self._rate:
            return None
        return Fate(((at_ms + _milliseconds(self._hold_s, self._random), draft),))


class DeadPhone(Fault):
    """The phone is off: it reads nothing, and what it had not posted is not posted then. It may come back."""

    kind: ClassVar[str] = "dead_phone"

    def __init__(self, window: Window, random: Random) -> None:
        super().__init__(window)

    def silences(self, driver: int, at_ms: int) -> bool:
        return self.window.covers(driver, at_ms)


def _milliseconds(seconds: tuple[float, float], random: Random) -> int:
    return round(random.uniform(*seconds) * 1_000)
