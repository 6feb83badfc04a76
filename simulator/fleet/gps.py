"""What a phone's GPS makes of a true position: an error that drifts, and an accuracy that admits it. No clock."""

from __future__ import annotations

import math
from random import Random

#: Standard deviation of the error along one axis, for the best and the worst phone. Phones under open sky are
#: typically within 4.9 m (van Diggelen and Enge 2015, quoted by GPS.gov); streets between towers are worse.
BEST_SIGMA_M, WORST_SIGMA_M = 2.0, 6.0
#: The error forgets itself over about this time, as satellites and reflections change.
CORRELATION_S = 30.0
#: `accuracy_m` is the radius that holds 68 % of fixes (Android's definition). For a round Gaussian error that is
#: sqrt(-2 ln 0.32) = 1.51 sigma.
RADIUS_68_PER_SIGMA = math.sqrt(-2.0 * math.log(1.0 - 0.68))
#: Metres per degree of latitude, on the sphere that h3.great_circle_distance uses.
METRES_PER_DEGREE = math.radians(6_371_007.180918475)


class Receiver:
    """One phone. Its error is a first-order autoregressive (AR(1)) walk in metres north and east."""

    __slots__ = ("_east_m", "_north_m", "sigma_m")

    def __init__(self, random: Random) -> None:
        self.sigma_m = random.uniform(BEST_SIGMA_M, WORST_SIGMA_M)
        self._north_m = random.gauss(0.0, self.sigma_m)
        self._east_m = random.gauss(0.0, self.sigma_m)

    @property
    def accuracy_m(self) -> float:
        return self.sigma_m * RADIUS_68_PER_SIGMA

    def observe(self, lat: float, lon: float, elapsed_s: float, random: Random) -> tuple[float, float]:
        """The position the phone reports, `elapsed_s` after its last one, for a car that is at (lat, lon)."""
        keep = math.exp(-elapsed_s / CORRELATION_S)
        fresh_m = self.sigma_m * math.sqrt(1.0 - keep * keep)
        self._north_m = keep * self._north_m + random.gauss(0.0, fresh_m)
        self._east_m = keep * self._east_m + random.gauss(0.0, fresh_m)
        return (
            lat + self._north_m / METRES_PER_DEGREE,
            lon + self._east_m / (METRES_PER_DEGREE * math.cos(math.radians(lat))),
        )
