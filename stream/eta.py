"""How long a car needs to its next stop, from how fast it has been getting nearer. Pure.

The pace is an average of progress over time, in which what is long ago counts less: after `PACE_TAU_S` of seconds a
third. Feed it live fixes in the order of their fix times.
"""

from __future__ import annotations

from math import exp

import msgspec

#: About one cycle of a traffic light (60 to 120 s, NACTO's Urban Street Design Guide): a red light is no traffic jam.
PACE_TAU_S = 120.0
#: A car that stands still is taken to go on, at this share of the default speed.
MIN_SHARE = 0.25


class Pace(msgspec.Struct, array_like=True):
    """How fast a car gets nearer to its stops. `speed_mps` of None has not been seen driving yet."""

    speed_mps: float | None = None
    way: str = ""
    fix_time_ms: int = 0
    remaining_m: float = 0.0

    def feed(
        self, way: str, fix_time_ms: int, remaining_m: float, default_speed_mps: float, max_speed_mps: float
    ) -> None:
        """The car had `remaining_m` to go then; what was measured along another `way` is not compared with it."""
        elapsed_s = (fix_time_ms - self.fix_time_ms) / 1000
        if way == self.way and elapsed_s > 0:
            # Driving away from a stop is standing still, and a leap along the route is no more than a car can do.
            seen_mps = min(max((self.remaining_m - remaining_m) / elapsed_s, 0.0), max_speed_mps)
            before_mps = default_speed_mps if self.speed_mps is None else self.speed_mps
            self.speed_mps = seen_mps + (before_mps - seen_mps) * exp(-elapsed_s / PACE_TAU_S)
        if way != self.way or elapsed_s > 0:
            self.way, self.fix_time_ms, self.remaining_m = way, fix_time_ms, remaining_m

    def eta_s(self, remaining_m: float, default_speed_mps: float) -> float:
        """Seconds for `remaining_m`."""
        speed_mps = default_speed_mps if self.speed_mps is None else self.speed_mps
        return remaining_m / max(speed_mps, MIN_SHARE * default_speed_mps)
