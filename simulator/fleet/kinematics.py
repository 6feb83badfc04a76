"""How a car covers a stretch of road: it accelerates to the limit, keeps it, and brakes for what comes. No clock.

```
 speed      limit ________
                 /        \\   braking_mps2
        start   /          \\
               /            \\ end
               stretch_m -->
```

In closed form, so that a car's way does not depend on how often somebody looks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

#: Ordinary driving in towns: about 1.5 m/s² up and 2 m/s² down (ITE's clearance formula brakes at 3.05 m/s²).
ACCELERATION_MPS2 = 1.5
BRAKING_MPS2 = 2.0


class Phase(NamedTuple):
    """A time of constant acceleration."""

    duration_s: float
    start_mps: float
    mps2: float

    def moved_m(self, elapsed_s: float) -> float:
        return (self.start_mps + self.mps2 * elapsed_s / 2.0) * elapsed_s

    def speed_mps(self, elapsed_s: float) -> float:
        return max(0.0, self.start_mps + self.mps2 * elapsed_s)


def braking_m(speed_mps: float) -> float:
    """The way a car needs to stand."""
    return speed_mps**2 / (2.0 * BRAKING_MPS2)


def fastest_start_mps(end_mps: float, stretch_m: float) -> float:
    """The highest speed at the start of a stretch from which braking meets `end_mps` at its end."""
    return math.sqrt(end_mps**2 + 2.0 * BRAKING_MPS2 * stretch_m)


def fastest_end_mps(start_mps: float, stretch_m: float) -> float:
    """The highest speed that can be reached at the end of a stretch."""
    return math.sqrt(start_mps**2 + 2.0 * ACCELERATION_MPS2 * stretch_m)


def cover(stretch_m: float, start_mps: float, limit_mps: float, end_mps: float) -> list[Phase]:
    """The phases in which a stretch is covered fastest.

    `end_mps` can be reached and is within the limit; `start_mps` may be above the limit (which just fell).
    """
    if stretch_m <= 0.0:
        return []
    up, down = ACCELERATION_MPS2, BRAKING_MPS2
    if start_mps > limit_mps:
        slowing_m = (start_mps**2 - limit_mps**2) / (2.0 * down)
        if slowing_m < stretch_m:
            slowing = Phase((start_mps - limit_mps) / down, start_mps, -down)
            return [slowing, *cover(stretch_m - slowing_m, limit_mps, limit_mps, end_mps)]
    # Rounding may ask for a little more braking than there is.
    if start_mps**2 - end_mps**2 >= 2.0 * down * stretch_m:
        return [Phase(2.0 * stretch_m / (start_mps + end_mps), start_mps, (end_mps**2 - start_mps**2) / 2 / stretch_m)]
    highest = math.sqrt((2.0 * up * down * stretch_m + down * start_mps**2 + up * end_mps**2) / (up + down))
    peak_mps = max(start_mps, end_mps, min(limit_mps, highest))
    steady_m = stretch_m - (peak_mps**2 - start_mps**2) / (2.0 * up) - (peak_mps**2 - end_mps**2) / (2.0 * down)
    phases = (
        Phase((peak_mps - start_mps) / up, start_mps, up),
        Phase(max(0.0, steady_m) / peak_mps, peak_mps, 0.0),
        Phase((peak_mps - end_mps) / down, peak_mps, -down),
    )
    return [phase for phase in phases if phase.duration_s > 0.0]
