"""What the system promises its riders, what a run found of that, and whether that is within the bounds. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from simulator.counts.findings import Finding, Findings, Kind
from simulator.scenarios.bounds import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What is judged by, and the margins. docs/oracle.md says where they come from."""

    #: As push's `welcome` says.
    stale_after_ms: int = 30_000
    gone_after_ms: int = 120_000
    #: What ingest has accepted is on every screen after so long; the same grace for what time alone brings.
    settle_ms: int = 3_000
    #: A car that is nearer than this to the rim of a circle, or to the last rank, may be shown or not. It takes up what
    #: the drift of a phone's GPS adds to a way driven at `max_speed_mps`: ~1.5 m a fix with the worst phones (gps.py).
    margin_m: float = 15.0
    #: A marker that is farther than this from where the car is known to be is a car that is not there. A block is 80 m.
    ghost_error_m: float = 100.0
    #: No car drives faster: 108 km/h, in a town. stream believes 55 m/s, of GPS leaps.
    max_speed_mps: float = 30.0
    #: When the run began; what was sent before is not judged.
    start_ms: int = 0
    #: Whether the system serves this run alone: then a driver whom nobody knows is a ghost, else somebody else's.
    alone: bool = False
    #: How often the oracle looks at all screens.
    sweep_ms: int = 1_000


@dataclass(slots=True, kw_only=True)
class Figures:
    """What was measured in a run, beside the findings. None: the scenario has none of it."""

    #: From the moment a ping was due to the rider who is told.
    latency_p99_ms: float | None = None
    #: Of all cars shown as live, against the truth.
    position_error_p99_m: float | None = None
    #: How often a screen was judged. None when nobody watches the map; 0 is no reason to be content.
    screens_judged: int | None = None
    #: How often it must have been judged at least, for the other verdicts to mean something.
    screens_least: int = 1
    #: Of the ETAs that riders of trips were told, in seconds; judged where the scenario bounds it.
    eta_error_p90_s: float | None = None
    #: Of the cars that riders of trips are shown as live; judged where the scenario bounds it.
    trip_position_error_p99_m: float | None = None
    #: How many trips were judged to their end, and how many must have been. None: nobody asked for one, or it is too
    #: soon to say.
    trips_judged: int | None = None
    trips_least: int = 1
    #: Somebody stopped the run before its end: what was not measured until then breaks nothing.
    stopped: bool = False
    #: The worst case of each, to show where a bound is broken.
    slowest: Finding | None = None
    farthest: Finding | None = None


class Verdict(NamedTuple):
    """One bound, and what was found."""

    name: str
    bound: float
    #: None when there was nothing to measure.
    found: float | None
    ok: bool
    #: The first case, or the worst.
    first: Finding | None = None

    @property
    def at_least(self) -> bool:
        """The bound is the least that passes, not the most."""
        return self.name in FLOORS

    def words(self, start_ms: int = 0) -> str:
        """One line for a person; `start_ms` is when the run began."""
        found = "nothing measured" if self.found is None else f"{self.found:g}"
        bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        told = f"{'ok' if self.ok else 'BROKEN'} {self.name}: {found}, {bound}"
        return told if self.ok or self.first is None else f"{told}; {self.first.words(start_ms)}"


SCREENS_JUDGED, TRIPS_JUDGED = "screens_judged", "trips_judged"
ETA_ERROR, TRIP_POSITION_ERROR = "eta_error_p90_s", "trip_position_error_p99_m"
#: How often must have been looked: a run in which nothing could be judged has not passed.
FLOORS = frozenset({SCREENS_JUDGED, TRIPS_JUDGED})


def judge(bounds: Bounds, findings: Findings, figures: Figures) -> list[Verdict]:
    """A verdict for each kind of finding and each figure. The run passes when all are ok."""
    return [*_on_findings(bounds, findings), *_on_figures(bounds, figures)]


def _on_findings(bounds: Bounds, findings: Findings) -> Iterator[Verdict]:
    for kind in Kind:
        bound, found = getattr(bounds, kind.value), findings.counts[kind]
        yield Verdict(kind.value, bound, found, found <= bound, findings.first.get(kind))


def _on_figures(bounds: Bounds, figures: Figures) -> Iterator[Verdict]:
    watched = figures.screens_judged is not None and not figures.stopped
    for name, found, worst in (
        ("latency_p99_ms", figures.latency_p99_ms, figures.slowest),
        ("position_error_p99_m", figures.position_error_p99_m, figures.farthest),
    ):
        bound = getattr(bounds, name)
        # Riders who saw nothing move are not riders who saw it in time.
        if found is not None or watched:
            yield Verdict(name, bound, found, found is not None and found <= bound, worst)
    # Of a run that somebody stopped no trip is judged, and nobody had to arrive.
    for name, bound, found in (
        (ETA_ERROR, bounds.eta_error_p90_s, figures.eta_error_p90_s),
        (TRIP_POSITION_ERROR, bounds.trip_position_error_p99_m, figures.trip_position_error_p99_m),
    ):
        if bound is not None and (found, figures.trips_judged) != (None, None):
            yield Verdict(name, bound, found, found is not None and found <= bound)
    for name, judged, wanted in (
        (SCREENS_JUDGED, figures.screens_judged, figures.screens_least),
        (TRIPS_JUDGED, figures.trips_judged, figures.trips_least),
    ):
        if judged is not None and (judged or not figures.stopped):
            least = max(1, wanted)
            yield Verdict(name, least, judged, judged >= least)
