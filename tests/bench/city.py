"""The fleet the benchmarks use: drivers that move over a city of many regions, the same for both sides. Seeded."""

from __future__ import annotations

import random
from math import cos, pi, radians, sin

from ingest.events import Ping

#: A square of ~33 km around Manhattan: ~40 regions of 36 km².
CENTRE_LAT, CENTRE_LON, HALF_SIDE_DEG = 40.75, -73.97, 0.15
SPEED_MPS = 8.0
M_PER_DEG = 111_195.0


class Fleet:
    """`drivers` drivers on straight lines, each at a place and heading of its own."""

    def __init__(self, drivers: int, seed: int = 1) -> None:
        rng = random.Random(seed)
        self._lon_scale = cos(radians(CENTRE_LAT))
        self.starts = [
            (
                CENTRE_LAT + rng.uniform(-HALF_SIDE_DEG, HALF_SIDE_DEG),
                CENTRE_LON + rng.uniform(-HALF_SIDE_DEG, HALF_SIDE_DEG) / self._lon_scale,
                rng.uniform(0, 2 * pi),
            )
            for _ in range(drivers)
        ]

    def ping(self, driver: int, fix_time_ms: int, elapsed_s: float) -> Ping:
        """The driver's ping `elapsed_s` after it set out."""
        lat, lon, heading = self.starts[driver]
        moved_deg = SPEED_MPS * elapsed_s / M_PER_DEG
        return Ping(
            driver_id=f"driver-{driver:05d}",
            fix_time_ms=fix_time_ms,
            lat=round(lat + moved_deg * cos(heading), 6),
            lon=round(lon + moved_deg * sin(heading) / self._lon_scale, 6),
            received_at_ms=fix_time_ms + 40,
            ping_id=f"{driver:06x}-{int(elapsed_s):04x}",
            accuracy_m=6.5,
            heading_deg=round(heading * 180 / pi, 1),
            speed_mps=SPEED_MPS,
        )
