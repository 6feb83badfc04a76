"""What one phone reads at one moment, before anything goes wrong: the honest fix, and where the car truly is."""

from __future__ import annotations

from typing import NamedTuple

from simulator.fleet.fixes import Fix


class Report(NamedTuple):
    """One phone's reading, before any fault."""

    #: Number in the fleet, 0..n-1.
    driver: int
    #: What a good phone says; `fix.fix_time_ms` is when it was read.
    fix: Fix
    #: Where the car is, WGS84 degrees.
    true_lat: float
    true_lon: float
