"""What a phone can read wrong: a leap, a mocked or a frozen place, no place at all, another time. No I/O, no clock."""

from __future__ import annotations

import math
from random import Random
from typing import ClassVar

from msgspec.structs import replace

from simulator.fleet.fixes import Fix
from simulator.fleet.gps import METRES_PER_DEGREE
from simulator.phones.belief import MAX_FUTURE_MS
from simulator.phones.fault import Misreading, Window

#: At least so many reports lie between two leaps of a phone, and before its first. Among the four fixes by which the
#: system judges (decision 0002) there is then always a pair that agrees, so a leap is never taken for the truth.
REPORTS_BETWEEN_LEAPS = 4
#: A skewed clock is off by up to this much more. Fleets report on whole tenths of a second, so that a phone whose clock
#: is set right again never uses a fix time twice: which of two fixes of one time counts, nothing says.
SKEW_CRUMBS_MS = 99


class Teleport(Misreading):
    """Now and then one fix lies far away in some direction, as reflections and spoofers have it."""

    kind: ClassVar[str] = "teleport"

    def __init__(self, window: Window, random: Random, rate: float, distance_m: float) -> None:
        super().__init__(window)
        self._random, self._rate, self._distance_m = random, rate, distance_m
        self._since: dict[int, int] = {}

    def misread(self, driver: int, at_ms: int, fix: Fix) -> Fix:
        if driver not in self.window.drivers:
            return fix
        since = self._since.get(driver, 0)
        leaps = (
            since >= REPORTS_BETWEEN_LEAPS and self.window.covers(driver, at_ms) and self._random.random() < self._rate
        )
        self._since[driver] = 0 if leaps else since + 1
        return _elsewhere(fix, self._distance_m, self._random) if leaps else fix


class Mock(Misreading):
    """Another app makes the place up, and the phone says so."""

    kind: ClassVar[str] = "mock"

    def __init__(self, window: Window, random: Random, rate: float, distance_m: float) -> None:
        super().__init__(window)
        self._random, self._rate, self._distance_m = random, rate, distance_m

    def misread(self, driver: int, at_ms: int, fix: Fix) -> Fix:
        if not self.window.covers(driver, at_ms) or self._random.random() >= self._rate:
            return fix
        return replace(_elsewhere(fix, self._distance_m, self._random), is_mock=True)

    def silences(self, driver: int, at_ms: int) -> bool:
        return self._rate >= 1.0 and self.window.covers(driver, at_ms)


class ZeroPosition(Misreading):
    """Latitude and longitude are exactly 0, which phones say before they have a fix."""

    kind: ClassVar[str] = "zero_position"

    def __init__(self, window: Window, random: Random, rate: float) -> None:
        super().__init__(window)
        self._random, self._rate = random, rate

    def misread(self, driver: int, at_ms: int, fix: Fix) -> Fix:
        if not self.window.covers(driver, at_ms) or self._random.random() >= self._rate:
            return fix
        return replace(fix, lat=0.0, lon=0.0)

    def silences(self, driver: int, at_ms: int) -> bool:
        return self._rate >= 1.0 and self.window.covers(driver, at_ms)


class Stuck(Misreading):
    """The first fix of the window is said again and again, each time with the time of now."""

    kind: ClassVar[str] = "stuck"

    def __init__(self, window: Window, random: Random) -> None:
        super().__init__(window)
        self._stuck_at: dict[int, Fix] = {}

    def misread(self, driver: int, at_ms: int, fix: Fix) -> Fix:
        if not self.window.covers(driver, at_ms):
            return fix
        stuck_at = self._stuck_at.setdefault(driver, fix)
        return fix if stuck_at is fix else replace(stuck_at, fix_time_ms=fix.fix_time_ms, ping_id=fix.ping_id)

    def silences(self, driver: int, at_ms: int) -> bool:
        return self.window.covers(driver, at_ms)


class ClockSkew(Misreading):
    """The phone's clock is ahead (or behind, where `skew_s` is negative), and with it the time of each fix."""

    kind: ClassVar[str] = "clock_skew"

    def __init__(self, window: Window, random: Random, skew_s: float) -> None:
        super().__init__(window)
        self.skew_s = skew_s
        sign = -1 if skew_s < 0 else 1
        self._skew_ms = {
            driver: round(skew_s * 1_000) + sign * random.randint(1, SKEW_CRUMBS_MS)
            for driver in sorted(window.drivers)
        }

    def misread(self, driver: int, at_ms: int, fix: Fix) -> Fix:
        if not self.window.covers(driver, at_ms):
            return fix
        return replace(fix, fix_time_ms=fix.fix_time_ms + self._skew_ms[driver])

    def silences(self, driver: int, at_ms: int) -> bool:
        if driver not in self.window.drivers:
            return False
        # A clock that was ahead leaves newer times behind it, and true fixes are late until they have caught up.
        skew_ms = self._skew_ms[driver]
        late_ms = skew_ms if 0 < skew_ms <= MAX_FUTURE_MS else 0
        return self.window.from_ms <= at_ms < self.window.until_ms + late_ms


def _elsewhere(fix: Fix, distance_m: float, random: Random) -> Fix:
    """The same fix so far away in some direction; 6 decimals are 0.1 m."""
    bearing = random.uniform(0.0, 2.0 * math.pi)
    narrow = math.cos(math.radians(fix.lat))
    return replace(
        fix,
        lat=round(fix.lat + distance_m * math.cos(bearing) / METRES_PER_DEGREE, 6),
        lon=round(fix.lon + distance_m * math.sin(bearing) / (METRES_PER_DEGREE * narrow), 6),
    )
