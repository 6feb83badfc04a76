"""What the published rules make of a phone's fixes: refused, shown, or kept without being shown. No I/O, no clock.

The rules are those of docs/wire/pings.md and docs/decisions/0002-jumps-are-judged-pairwise.md, written down once more
from the documents, as an oracle must: with the system's own code it would believe whatever that says.
"""

from __future__ import annotations

import h3

from simulator.fleet.fixes import Fix
from simulator.fleet.gps import METRES_PER_DEGREE

#: What becomes of a fix that is accepted: it moves the marker, or it never does. Else it is a reason code.
SHOWN, KEPT = "shown", "kept"
#: The defaults of RIDESTREAM_MAX_FUTURE_MS, _MAX_AGE_MS, _MAX_ACCURACY_M and _MAX_SPEED_MPS.
MAX_FUTURE_MS, MAX_AGE_MS, MAX_ACCURACY_M, MAX_SPEED_MPS = 60_000, 86_400_000, 200.0, 55.0
#: By so many newest fixes of a driver the system judges (decision 0002).
NEWEST = 4


def refusal(fix: Fix, posted_at_ms: int) -> str | None:
    """The reason code by which ingest rejects the fix; None when it accepts it."""
    if fix.lat == 0.0 and fix.lon == 0.0:
        return "null_island"
    age_ms = posted_at_ms - fix.fix_time_ms
    if age_ms > MAX_AGE_MS:
        return "too_old"
    if -age_ms > MAX_FUTURE_MS:
        return "future_fix"
    if fix.accuracy_m is not None and not 0.0 <= fix.accuracy_m <= MAX_ACCURACY_M:
        return "low_accuracy"
    return "mock_location" if fix.is_mock else None


class Belief:
    """What the system knows of one driver after its accepted fixes: the newest four, and the one that is shown."""

    __slots__ = ("_fixes", "shown")

    def __init__(self) -> None:
        self._fixes: list[Fix] = []
        self.shown: Fix | None = None

    def weigh(self, fix: Fix, honest: bool) -> str | None:
        """Take in an accepted fix: SHOWN or KEPT. None: it must not be posted, and was not taken in.

        A false pair of fixes can make the system take back what it shows; then it depends on who looks from where
        what is on a screen, and there is nothing to hold it to. The same when two different fixes have one time. So:
        only the fix itself may come to be shown by its being posted, and nothing newer than it was.
        """
        fixes, shown = self._fixes, self.shown
        if not fixes or (fix.fix_time_ms > fixes[-1].fix_time_ms and is_possible(fixes[-1], fix)):
            fixes.append(fix)
            if len(fixes) > NEWEST:
                del fixes[0]
            self.shown = fix
            return SHOWN
        at = sum(1 for known in fixes if known.fix_time_ms <= fix.fix_time_ms)
        if at and fixes[at - 1].fix_time_ms == fix.fix_time_ms:
            return KEPT if fixes[at - 1] == fix else None
        if at == 0 and len(fixes) == NEWEST:
            return KEPT
        after = [*fixes[:at], fix, *fixes[at:]][-NEWEST:]
        believed = believed_of(after)
        assert shown is not None
        if believed is fix:
            if fix.fix_time_ms < shown.fix_time_ms:
                return None
            self._fixes, self.shown = after, fix
            return SHOWN
        if believed is not shown:
            return None
        if not honest and len(after) == NEWEST and believed is after[0]:
            return None  # the next true fix may be a jump from this one, and would push out the one that is shown
        self._fixes = after
        return KEPT


def believed_of(fixes: list[Fix]) -> Fix:
    """The newest fix that the one before it vouches for, else the oldest."""
    for at in range(len(fixes) - 1, 0, -1):
        if is_possible(fixes[at - 1], fixes[at]):
            return fixes[at]
    return fixes[0]


def is_possible(before: Fix, after: Fix) -> bool:
    """Whether a car gets from one to the other at 55 m/s: both errors are granted, and at least a second."""
    reach_m = MAX_SPEED_MPS * max(1.0, (after.fix_time_ms - before.fix_time_ms) / 1_000)
    # Along the meridian and then along the equator is never shorter than the great circle, and costs far less.
    if (abs(after.lat - before.lat) + abs(after.lon - before.lon)) * METRES_PER_DEGREE <= reach_m:
        return True
    reach_m += (before.accuracy_m or 0.0) + (after.accuracy_m or 0.0)
    return bool(h3.great_circle_distance((before.lat, before.lon), (after.lat, after.lon), unit="m") <= reach_m)
