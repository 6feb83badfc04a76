"""When a car is about to arrive at its next stop, and when it has: told once, never because of one bad fix. Pure."""

from __future__ import annotations

from collections.abc import Container

import msgspec

from ingest.trips import APPROACHING, ARRIVED

#: A rider is told so many seconds before: time to go down, and time to look up.
THRESHOLDS_S = (300, 60)
#: Live fixes in a row that must agree. One may be false, and two false ones in a row at a stop are somebody's will.
AGREEING_FIXES = 2


class Found(msgspec.Struct, frozen=True):
    """Something that happens now. `key` makes it unique within an assignment."""

    type: str
    key: str
    eta_s: int | None = None


class Approach(msgspec.Struct, array_like=True):
    """The way to one stop, as far as it was looked at. `place` is the stop's name, "" where there is none.

    A stop where the car stands anyway when it leaves the one before it (a round trip) is arrived at only once the car
    has been further away than the departure radius: `armed` says that it may arrive. The counts are of fixes in a row:
    within the arrival radius, outside the departure radius, and nearer in time than each of THRESHOLDS_S.
    """

    place: str = ""
    armed: bool = True
    inside: int = 0
    outside: int = 0
    near: list[int] = msgspec.field(default_factory=lambda: [0] * len(THRESHOLDS_S))

    def head_for(self, place: str, armed: bool) -> None:
        """A new way begins."""
        self.place, self.armed = place, armed
        self.interrupt()

    def interrupt(self) -> None:
        """The fixes so far and those to come are not in a row."""
        self.inside, self.outside, self.near = 0, 0, [0] * len(THRESHOLDS_S)

    def look(
        self, distance_m: float, eta_s: float, told: Container[str], arrival_radius_m: float, departure_radius_m: float
    ) -> list[Found]:
        """A live fix of now: `distance_m` from the stop as the crow flies. `told` has the keys found before."""
        self.inside = self.inside + 1 if distance_m <= arrival_radius_m else 0
        self.outside = self.outside + 1 if distance_m > departure_radius_m else 0
        self.near = [count + 1 if eta_s <= limit else 0 for count, limit in zip(self.near, THRESHOLDS_S, strict=True)]
        self.armed = self.armed or self.outside >= AGREEING_FIXES
        arrived = f"arrived:{self.place}"
        if not self.armed or arrived in told:
            return []
        if self.inside >= AGREEING_FIXES:
            return [Found(ARRIVED, arrived)]
        # The last threshold that is passed is the news; after it the ones before it are none.
        for limit_s, count in sorted(zip(THRESHOLDS_S, self.near, strict=True)):
            key = f"approaching:{self.place}:{limit_s}"
            if key in told:
                return []
            if count >= AGREEING_FIXES:
                return [Found(APPROACHING, key, round(eta_s))]
        return []
