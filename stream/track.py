"""The track of one trip's driver: all fixes by time, and the distance driven, in whatever order they arrive. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from math import nan

import h3.api.basic_int as h3

from ingest.events import Ping
from stream.positions import is_possible
from stream.trip_channels import TrackFix

#: Fixes of one track in memory: a fix a second for five and a half hours, in 1 MB.
MAX_FIXES = 20_000
#: A car is not said to have moved by less than a phone's error under open sky (gps.gov: 4.9 m).
MIN_STEP_M = 5.0
#: How many fixes lie between two sums that are kept, so that a late fix does not have everything counted again.
_MARK_EVERY = 64


def track_fix(ping: Ping) -> TrackFix:
    """What a track keeps of a ping."""
    return TrackFix(ping.fix_time_ms, ping.lat, ping.lon, ping.accuracy_m, ping.speed_mps, ping.altitude_m)


class Track:
    """A set of fixes with distinct times, and what can be said of it; only the set counts, never the order of arrival.

    Of two fixes of one time the lesser by content is kept, as in `stream.positions.precedence`. A track that grows
    beyond `max_fixes` keeps the first fix of each interval of `step_ms`, which doubles until they are few enough: the
    intervals of a smaller set are among those of a larger one, so this too depends on nothing but the set.
    """

    __slots__ = (
        "_accuracies_m",
        "_altitudes_m",
        "_lats",
        "_lons",
        "_marks",
        "_max_fixes",
        "_max_speed_mps",
        "_speeds_mps",
        "_times",
        "step_ms",
    )

    def __init__(self, max_speed_mps: float, max_fixes: int = MAX_FIXES) -> None:
        self._max_speed_mps, self._max_fixes = max_speed_mps, max_fixes
        self.step_ms = 1
        self._times = array("q")
        self._lats, self._lons, self._accuracies_m = array("d"), array("d"), array("d")
        self._speeds_mps, self._altitudes_m = array("d"), array("d")
        #: (fixes looked at, distance until there, the fix from which the next step is measured), all of them final.
        self._marks: list[tuple[int, float, int]] = [(1, 0.0, 0)]

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[TrackFix]:
        return map(self._fix, range(len(self._times)))

    def add(self, fix: TrackFix) -> bool:
        """Take a fix in; whether the track is another one now."""
        times = self._times
        at = len(times) if not times or fix.fix_time_ms > times[-1] else bisect_left(times, fix.fix_time_ms)
        if at < len(times) and times[at] == fix.fix_time_ms:
            if _content(fix) >= _content(self._fix(at)):
                return False
            self._delete(at)
        elif self.step_ms > 1:
            interval = fix.fix_time_ms // self.step_ms
            if at > 0 and times[at - 1] // self.step_ms == interval:
                return False
            if at < len(times) and times[at] // self.step_ms == interval:
                self._delete(at)
        self._insert(at, fix)
        if len(times) > self._max_fixes:
            self._thin_out()
        return True

    def remove(self, times_ms: Iterable[int]) -> None:
        """Forget the fixes of these times."""
        for time_ms in times_ms:
            at = bisect_left(self._times, time_ms)
            if at < len(self._times) and self._times[at] == time_ms:
                self._delete(at)

    @property
    def times_ms(self) -> Sequence[int]:
        """When its fixes were taken, in order."""
        return self._times

    def at(self, times_ms: Iterable[int]) -> list[TrackFix]:
        """The fixes of these times, as far as they are kept, oldest first."""
        found = []
        for time_ms in sorted(times_ms):
            at = bisect_left(self._times, time_ms)
            if at < len(self._times) and self._times[at] == time_ms:
                found.append(self._fix(at))
        return found

    @property
    def distance_m(self) -> float:
        """How far the car went, along great circles from fix to fix.

        A fix that neither the one before nor the one after it vouches for is left out, and so is a step that no car
        can make. A step shorter than the accuracy of its ends (and than MIN_STEP_M) is not made yet: it is measured
        again to the next fix, so a car that stands still does not drive in circles and one that crawls gets there.
        """
        last = len(self._times) - 1
        if last < 1:
            return 0.0
        looked_at, distance_m, anchor = self._marks[-1]
        while looked_at < last:
            before, fix, after = self._fix(looked_at - 1), self._fix(looked_at), self._fix(looked_at + 1)
            if self._possible(before, fix) or self._possible(fix, after):
                distance_m, anchor = self._step(distance_m, anchor, looked_at)
            looked_at += 1
            if looked_at == last or looked_at % _MARK_EVERY == 0:
                # Of the sums between two full marks only the newest is kept.
                if len(self._marks) > 1 and self._marks[-1][0] % _MARK_EVERY:
                    del self._marks[-1]
                self._marks.append((looked_at, distance_m, anchor))
        return self._step(distance_m, anchor, last)[0]

    def _step(self, distance_m: float, anchor: int, to: int) -> tuple[float, int]:
        before, after = self._fix(anchor), self._fix(to)
        step_m = h3.great_circle_distance((before.lat, before.lon), (after.lat, after.lon), unit="m")
        if step_m < max(MIN_STEP_M, before.accuracy_m or 0.0, after.accuracy_m or 0.0):
            return distance_m, anchor
        return (distance_m + step_m if self._possible(before, after) else distance_m), to

    def _possible(self, before: TrackFix, after: TrackFix) -> bool:
        return is_possible(before, after, self._max_speed_mps)

    def _fix(self, at: int) -> TrackFix:
        return TrackFix(
            self._times[at],
            self._lats[at],
            self._lons[at],
            _known(self._accuracies_m[at]),
            _known(self._speeds_mps[at]),
            _known(self._altitudes_m[at]),
        )

    def _insert(self, at: int, fix: TrackFix) -> None:
        self._times.insert(at, fix.fix_time_ms)
        self._lats.insert(at, fix.lat)
        self._lons.insert(at, fix.lon)
        self._accuracies_m.insert(at, nan if fix.accuracy_m is None else fix.accuracy_m)
        self._speeds_mps.insert(at, nan if fix.speed_mps is None else fix.speed_mps)
        self._altitudes_m.insert(at, nan if fix.altitude_m is None else fix.altitude_m)
        self._forget_sums(at)

    def _delete(self, at: int) -> None:
        for column in (self._times, self._lats, self._lons, self._accuracies_m, self._speeds_mps, self._altitudes_m):
            del column[at]
        self._forget_sums(at)

    def _forget_sums(self, changed: int) -> None:
        # A fix was judged by the one after it: what was looked at before a mark must end two short of the change.
        while len(self._marks) > 1 and self._marks[-1][0] >= changed:
            self._marks.pop()

    def _thin_out(self) -> None:
        fixes = list(self)
        while len(fixes) > self._max_fixes:
            self.step_ms *= 2
            first: dict[int, TrackFix] = {}
            for fix in fixes:
                first.setdefault(fix.fix_time_ms // self.step_ms, fix)
            fixes = list(first.values())
        for column in (self._times, self._lats, self._lons, self._accuracies_m, self._speeds_mps, self._altitudes_m):
            del column[:]
        for fix in fixes:
            self._insert(len(self._times), fix)


def _known(value: float) -> float | None:
    return value if value == value else None


def _content(fix: TrackFix) -> tuple[float, ...]:
    optional = (fix.accuracy_m, fix.speed_mps, fix.altitude_m)
    return (fix.lat, fix.lon, *(-1e9 if value is None else value for value in optional))
