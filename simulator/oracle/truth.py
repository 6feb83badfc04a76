"""What is true of each driver: where its car is, and what its phone has sent and got accepted. No clock, no chance.

The oracle asks it two things. *Was this shown rightly?* needs the past of one driver: `where`, `was_sent`. *What should
be shown now?* needs the newest fix of every driver at once: `settled`, `newest`. Times are epoch ms, and the `at_ms` of
one driver's calls never go back.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.phones.outboxes import Outbox, Sent, Settled

if TYPE_CHECKING:
    from simulator.phones.phones import Sending

__all__ = ["TRACK_KEPT_S", "Fixes", "Sent", "Truth"]

#: Tracks and sendings are kept for this long: a trip across the city, its pickup included, is over by then, so that it
#: can be judged at its end. With the outboxes about 70 bytes a fix: 125 MB for 2,000 drivers at 1 Hz, 13 MB for 200.
TRACK_KEPT_S = 900
#: Past the newest position that is known, a car keeps its course for this long (a report at 1 Hz, and some delay) ...
COASTS_MS = 1_500
#: ... and then stands, for so long: phones that stand report less often. Later nothing is known.
UNKNOWN_AFTER_MS = 30_000


class Fixes(NamedTuple):
    """One fix for each driver, by number: NaN, NaN and 0 where there is none."""

    lat: npt.NDArray[np.float64]
    lon: npt.NDArray[np.float64]
    fix_time_ms: npt.NDArray[np.int64]


class Truth:
    """The true positions, sendings and verdicts of a fleet."""

    def __init__(self, driver_ids: Sequence[str]) -> None:
        self.driver_ids = list(driver_ids)
        self.number = {driver_id: number for number, driver_id in enumerate(self.driver_ids)}
        drivers, words = range(len(self.driver_ids)), [""]
        self._tracks = [_Track() for _ in drivers]
        self._outboxes = [Outbox(TRACK_KEPT_S * 1_000, words) for _ in drivers]
        unknown = np.full(len(drivers), np.nan)
        self._newest = Fixes(unknown, unknown.copy(), np.zeros(len(drivers), dtype=np.int64))
        # What settled by `_horizon_ms`, and what will: (judged_ms, tie, driver, step). Looks at screens go on in time.
        self._settled, self._horizon_ms = self.newest(), 0
        self._to_settle: list[tuple[int, int, int, Settled]] = []
        self._order = count()

    def moved(self, driver: int, at_ms: int, lat: float, lon: float) -> None:
        """The car is at (lat, lon) at `at_ms`."""
        self._tracks[driver].add(at_ms, lat, lon)

    def sent(self, sending: Sending, at_ms: int) -> None:
        """The phone posts this fix at `at_ms`."""
        driver, fix, newest = sending.driver, sending.fix, self._newest
        self._outboxes[driver].add(sending, at_ms)
        if sending.expect == "shown" and fix.fix_time_ms > newest.fix_time_ms[driver]:
            newest.lat[driver], newest.lon[driver] = fix.lat, fix.lon
            newest.fix_time_ms[driver] = fix.fix_time_ms

    def judged(self, driver: int, fix_time_ms: int, reason: str | None, at_ms: int) -> None:
        """Ingest's verdict came at `at_ms`: why it rejected the fix, or None when it accepted it."""
        step = self._outboxes[driver].judge(fix_time_ms, reason, at_ms)
        if step is not None:
            heappush(self._to_settle, (at_ms, next(self._order), driver, step))

    def where(self, driver: int, at_ms: int) -> tuple[float, float] | None:
        """True (lat, lon) at `at_ms`, on the straight line between two known positions; None when it is not known."""
        return self._tracks[driver].at(at_ms)

    def was_sent(self, driver: int, fix_time_ms: int) -> Sent | None:
        """What this driver's phone sent with this fix time; None when it sent none, or longer ago than is kept."""
        return self._outboxes[driver].find(fix_time_ms)

    def sent_between(self, driver: int, from_ms: int, until_ms: int) -> list[tuple[int, Sent]]:
        """(fix time, what was sent) of each fix with `from_ms` <= fix time <= `until_ms`, oldest fix first."""
        return self._outboxes[driver].between(from_ms, until_ms)

    def settled(self, now_ms: int, settle_ms: int) -> Fixes:
        """For each driver the newest fix to be shown of those accepted at or before `now_ms - settle_ms`."""
        horizon_ms, ahead = now_ms - settle_ms, self._to_settle
        if horizon_ms < self._horizon_ms:
            found = [outbox.settled(horizon_ms) for outbox in self._outboxes]
            times = np.array([fix.fix_time_ms for fix in found], dtype=np.int64)
            return Fixes(np.array([fix.lat for fix in found]), np.array([fix.lon for fix in found]), times)
        self._horizon_ms = horizon_ms
        lat, lon, fix_time_ms = self._settled
        while ahead and ahead[0][0] <= horizon_ms:
            _, _, driver, step = heappop(ahead)
            if step.fix_time_ms > fix_time_ms[driver]:
                lat[driver], lon[driver], fix_time_ms[driver] = step.lat, step.lon, step.fix_time_ms
        return Fixes(lat.copy(), lon.copy(), fix_time_ms.copy())

    def settled_fix(self, driver: int, horizon_ms: int) -> Settled:
        """One driver's newest fix to be shown of those accepted by `horizon_ms`; its `fix_time_ms` is 0 if none."""
        return self._outboxes[driver].settled(horizon_ms)

    def newest(self) -> Fixes:
        """For each driver the newest fix to be shown of those sent at all."""
        lat, lon, fix_time_ms = self._newest
        return Fixes(lat.copy(), lon.copy(), fix_time_ms.copy())


class _Track:
    """Where one car was, in order of time."""

    __slots__ = ("_at_ms", "_lat", "_lon")

    def __init__(self) -> None:
        self._at_ms, self._lat, self._lon = array("q"), array("d"), array("d")

    def add(self, at_ms: int, lat: float, lon: float) -> None:
        times = self._at_ms
        if times and at_ms <= times[-1]:
            # A second word on the same moment (a job that begins, say) takes the place of the first.
            self._lat[-1], self._lon[-1] = lat, lon
            return
        times.append(at_ms)
        self._lat.append(lat)
        self._lon.append(lon)
        if times[0] < at_ms - TRACK_KEPT_S * 1_000:
            for column in (times, self._lat, self._lon):
                del column[0]

    def at(self, at_ms: int) -> tuple[float, float] | None:
        times = self._at_ms
        after = bisect_right(times, at_ms)
        if after == 0 or at_ms > times[-1] + UNKNOWN_AFTER_MS:
            return None
        if at_ms == times[after - 1] or len(times) == 1:
            return self._lat[after - 1], self._lon[after - 1]
        before = min(after - 1, len(times) - 2)
        share = (min(at_ms, times[-1] + COASTS_MS) - times[before]) / (times[before + 1] - times[before])
        lat, lon = self._lat[before], self._lon[before]
        return lat + (self._lat[before + 1] - lat) * share, lon + (self._lon[before + 1] - lon) * share
