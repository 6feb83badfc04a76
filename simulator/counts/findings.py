"""Findings: what the oracle holds against the system, counted by kind, with the first of each to look at.

A finding is one lie or one silence, seen once: it names when, who saw it, which car it was about and the evidence,
so that a person can go and look. All are counted; only the first `KEPT` of a kind are kept, because a system that is
broken is broken thousands of times a second. Pure.
"""

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

KEPT = 20
"""Findings of one kind that are kept to show: enough to see a pattern, few enough to read."""


class Kind(StrEnum):
    """What can be found. Each is told, with how it is judged, in docs/oracle.md."""

    GHOST = "ghost"
    MISSING = "missing"
    BACKWARDS = "backwards"
    STALE_AS_LIVE = "stale_shown_as_live"
    POSITION_ERROR = "position_error"
    FIX_ALTERED = "fix_altered"
    TRIP_EVENT_LOST = "trip_event_lost"
    TRIP_EVENT_DOUBLED = "trip_event_doubled"
    TRIP_EVENT_OUT_OF_ORDER = "trip_event_out_of_order"
    TRIP_EVENT_LATE = "trip_event_late"
    TRIP_EVENT_FALSE = "trip_event_false"
    PROGRESS_ERROR = "progress_error"
    PING_UNACCOUNTED = "ping_unaccounted"
    PING_LOST = "ping_lost"
    PING_DOUBLED = "ping_doubled"
    WIRE = "wire"
    RIDER_LOST = "rider_lost"
    TRIP_FAILED = "trip_failed"
    LATENCY = "latency"


class Finding(NamedTuple):
    """One thing found."""

    kind: Kind
    at_ms: int
    """When it was seen, epoch milliseconds."""
    who: str
    """Who saw it: a rider, a trip, or `fleet` for what concerns all."""
    driver_id: str
    """The car it is about; empty when it is about none."""
    evidence: dict[str, object]
    """What shows it: times, distances, what was expected."""

    def words(self, start_ms: int = 0) -> str:
        """One line for a person; `start_ms` is when the run began."""
        about = f" about {self.driver_id}" if self.driver_id else ""
        shown = ", ".join(f"{name} {_plain(value)}" for name, value in self.evidence.items())
        return f"{self.kind} at {(self.at_ms - start_ms) / 1_000:.1f} s, {self.who}{about}: {shown}"


class Findings:
    """All that was found in one run."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.first: dict[Kind, Finding] = {}
        self._some: dict[Kind, list[Finding]] = {}

    def note(self, kind: Kind, at_ms: int, who: str, driver_id: str, **evidence: object) -> None:
        """Count one finding, and keep it if it is among the first of its kind."""
        self.counts[kind] += 1
        kept = self._some.setdefault(kind, [])
        if len(kept) < KEPT:
            finding = Finding(kind, at_ms, who, driver_id, evidence)
            kept.append(finding)
            self.first.setdefault(kind, finding)

    def is_full(self, kind: Kind) -> bool:
        """Whether no more evidence of this kind is kept, so that none need be gathered."""
        return len(self._some.get(kind, ())) >= KEPT

    def some(self, kind: Kind) -> list[Finding]:
        """The first findings of a kind, in the order they were noted."""
        return list(self._some.get(kind, ()))


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"({', '.join(f'{each:.6f}' for each in value)})" if isinstance(value, tuple) else str(value)
