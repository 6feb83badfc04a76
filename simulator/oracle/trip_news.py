"""What a rider of a trip has to know by now: the events that were said or found, and a newer fix of its car. Pure.

The clock of an event starts when whoever said it was answered, or when the fix was accepted that stream found it by;
and again for a rider who was away, when it is back and reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from simulator.dispatch.trip_answers import TripEvent
from simulator.oracle.sphere import distance_m
from simulator.oracle.truth import Truth
from simulator.riders.trip_view import TripCar


class Late(NamedTuple):
    """An event, since when it could be told, since when its rider reads, and when it was told (None: not yet)."""

    event: TripEvent
    known_ms: int
    since_ms: int
    told_ms: int | None = None

    def by_ms(self, stood_ms: int, now_ms: int = 0) -> int:
        """How long the rider waited; not while the simulator stood still, which was until `stood_ms`."""
        told_ms = now_ms if self.told_ms is None else self.told_ms
        return told_ms - max(self.known_ms, self.since_ms, stood_ms)

    def evidence(self, now_ms: int, stood_ms: int) -> dict[str, object]:
        """What shows it."""
        event = self.event
        return {
            "late_ms": self.by_ms(stood_ms, now_ms),
            "event": event.event_id,
            "event_type": event.type,
            "state": event.state,
            "known_ms": self.known_ms,
        }


class EventsDue:
    """What was said of one trip, and was not seen at its rider yet."""

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms, self._versions = settle_ms, 0
        self._due: list[tuple[TripEvent, int]] = []

    def said(self, history: Sequence[TripEvent], at_ms: int) -> None:
        """This is the trip's history, by an answer that came at `at_ms`."""
        self._due += [(event, at_ms) for event in history[self._versions :]]
        self._versions = max(self._versions, len(history))

    def late(self, told: Sequence[TripEvent], since_ms: int, now_ms: int) -> Iterator[Late]:
        """Those that a rider who reads since `since_ms`, and was told `told`, ought to know; each of them once."""
        if not self._due:
            return
        ids = {event.event_id for event in told}
        self._due = [(event, known_ms) for event, known_ms in self._due if event.event_id not in ids]
        before_ms = now_ms - self._settle_ms
        late = [Late(*each, since_ms) for each in self._due if max(each[1], since_ms) < before_ms]
        self._due = [each for each in self._due if max(each[1], since_ms) >= before_ms]
        yield from late


class Newer(NamedTuple):
    """A newer fix than is shown says that the car is `off_m` metres from there."""

    off_m: float
    evidence: dict[str, object]


def newer_fix(truth: Truth, driver: int, car: TripCar, from_ms: int, until_ms: int) -> Newer | None:
    """The newest fix that was accepted between `from_ms` and `until_ms`, if what is shown is older. Epoch ms."""
    fix = truth.settled_fix(driver, until_ms)
    if fix.judged_ms < from_ms or fix.fix_time_ms <= car.fix_time_ms:
        return None
    off_m = distance_m(fix.lat, fix.lon, car.lat, car.lon)
    evidence = {
        "off_m": off_m,
        "shown_at": (car.lat, car.lon),
        "fix_time_ms": car.fix_time_ms,
        "newer_at": (fix.lat, fix.lon),
        "newer_fix_time_ms": fix.fix_time_ms,
        "accepted_ms": fix.judged_ms,
    }
    return Newer(off_m, evidence)
