"""The supply: which drivers could take somebody at a place, nearest first, as far as truth knows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from math import cos, radians
from typing import Protocol

from simulator.dispatch.rides import Place

#: Positions are taken as of so long ago: by then all phones that report have been heard.
AS_OF_MS = 2_000
#: Also on air so long ago: its fixes have had time to be shown, also of a phone that reports every five seconds.
HEARD_SINCE_MS = 8_000
#: A driver farther away is not asked: in a city it would take ten minutes to come.
NEARBY_M = 3_000.0
#: Metres in a degree of latitude, to compare distances of a few kilometres.
M_PER_DEGREE = 111_195.0


class Whereabouts(Protocol):
    """simulator/oracle/truth.py."""

    @property
    def driver_ids(self) -> Sequence[str]: ...

    def where(self, driver: int, at_ms: int) -> tuple[float, float] | None: ...


class Supply:
    """`on_air(driver, at_ms)` is whether its phone can post what riders may be shown (simulator/phones/phones.py)."""

    def __init__(self, truth: Whereabouts, on_air: Callable[[int, int], bool]) -> None:
        self._truth, self._on_air = truth, on_air

    def driver_id(self, driver: int) -> str:
        return self._truth.driver_ids[driver]

    def near(self, place: Place, now_ms: int, busy: Container[int]) -> list[int]:
        """Drivers on air within NEARBY_M who are not `busy`, by how far they were AS_OF_MS ago; ties by number."""
        at_ms = now_ms - AS_OF_MS
        lon_m = M_PER_DEGREE * cos(radians(place.lat))
        found = []
        for driver in range(len(self._truth.driver_ids)):
            if driver in busy:
                continue
            here = self._truth.where(driver, at_ms)
            if here is None:
                continue
            north_m, east_m = (here[0] - place.lat) * M_PER_DEGREE, (here[1] - place.lon) * lon_m
            square_m2 = north_m * north_m + east_m * east_m
            if square_m2 <= NEARBY_M * NEARBY_M and self._is_heard(driver, now_ms):
                found.append((square_m2, driver))
        return [driver for _, driver in sorted(found)]

    def _is_heard(self, driver: int, now_ms: int) -> bool:
        return all(self._on_air(driver, now_ms - ago_ms) for ago_ms in (AS_OF_MS, HEARD_SINCE_MS))
