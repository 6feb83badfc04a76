"""Which plots the report has, in which order, and which line of which series each of them shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.results.recorder import ACCEPTED, HOPS, POSITION_ERROR, REJECTED, SENT, STALENESS, TOLD
from simulator.results.twin import Document

#: The verdicts whose bound is a line in a plot (simulator/oracle): scenario's `bounds`.
LATENCY_BOUND, POSITION_BOUND = "latency_p99_ms", "position_error_p99_m"
#: Colours are numbered here and given by report.css, for light and for dark.
COLOURS = 7

_ORDER = ("ingest", "stream", "push", "simulator", "machine")
#: Of these, and of any other. Red is for what is wrong.
_SERVICE_COLOURS = (0, 1, 2, 4, 6, 5)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a column of a series, its label in the legend, and the number of its colour."""

    series: str
    column: str
    label: str
    colour: int


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot. Panels of one `scale` share their vertical axis."""

    title: str
    #: One sentence under the title: what is timed or counted, from where to where.
    says: str
    unit: str
    lines: tuple[Line, ...]
    logarithmic: bool = False
    scale: str = ""
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Plots under one heading."""

    title: str
    panels: tuple[Panel, ...]


_HOP_TITLES = {
    "ingest": ("ingest", "From when a ping was due to ingest's verdict, as a phone waits for it."),
    "indexed": ("indexed", "From ingest's receipt to the index, as the job says."),
    "pushed": ("pushed", "From ingest's receipt to the riders' sockets, as push says (a sample)."),
    "received": ("received", "From when a ping was due to the rider who is shown it: the whole way."),
}


def groups_of(report: Document) -> list[Group]:
    """The plots of a run, without those that would be empty."""
    latency = _bound(report, LATENCY_BOUND)
    hops = [
        Panel(*_HOP_TITLES[hop], "ms", _percentiles(hop), True, "hops", latency if hop == "received" else None)
        for hop in HOPS
    ]
    rates = [
        Panel(
            "Pings",
            "Due, accepted and rejected a second.",
            "per_s",
            (
                Line(SENT, "rate", "due", 0),
                Line(ACCEPTED, "rate", "accepted", 1),
                Line(REJECTED, "rate", "rejected", 3),
            ),
        ),
        Panel("Shown to riders", "Positions of cars that reached riders a second.", "per_s", (_rate(TOLD, "cars"),)),
    ]
    truth = [
        Panel("Age of what is shown", "How old the fix is by which a rider sees a car.", "ms", _percentiles(STALENESS)),
        Panel(
            "Position error",
            "How far a car is shown from where it is at that moment.",
            "m",
            _percentiles(POSITION_ERROR),
            bound=_bound(report, POSITION_BOUND),
        ),
    ]
    people = [
        Panel(
            "Riders and trips",
            "Riders who are connected, trips under way, requests without a driver.",
            "",
            _levels(report, ("riders", "trips_under_way", "requests_waiting")),
        ),
        Panel(
            "Queues",
            "What waits: pings without a verdict, and Kafka records that are not applied.",
            "",
            _services(report, ("waiting_pings", "unacked_pings", "lag_records")),
        ),
    ]
    use = [
        Panel(
            "CPU",
            "Share of one core that each process uses, and that all of the machine does.",
            "cores",
            _services(report, ("cpu_cores",)),
        ),
        Panel("Memory", "Resident memory of each process.", "MiB", _services(report, ("memory_mib",))),
    ]
    found = [
        ("How long each hop takes", hops),
        ("What riders are shown, against the truth", truth),
        ("Throughput", [*rates, *people]),
        ("What it costs", use),
    ]
    groups = [Group(title, tuple(panel for panel in panels if _drawn(report, panel))) for title, panels in found]
    return [group for group in groups if group.panels]


def limits(report: Document, panels: Iterable[Panel], scale: str, low: float) -> tuple[float, float]:
    """The least and the most that panels of one scale show; `low` is the least that is worth showing."""
    values = [value for panel in panels if panel.scale == scale for value in _values(report, panel)]
    positive = [value for value in values if value >= low]
    return (min(positive, default=low), max(positive, default=low * 10))


def column(report: Document, line: Line) -> list[float | None]:
    """The numbers of a line; empty when the run has none."""
    series = report.series.get(line.series)
    return [] if series is None else series.columns.get(line.column, [])


def _percentiles(name: str) -> tuple[Line, ...]:
    return (Line(name, "p50", "p50", 0), Line(name, "p90", "p90", 1), Line(name, "p99", "p99", 2))


def _rate(name: str, label: str) -> Line:
    return Line(name, "rate", label, 0)


def _levels(report: Document, names: tuple[str, ...]) -> tuple[Line, ...]:
    known = [name for name in names if name in report.series]
    return tuple(Line(name, "mean", name.replace("_", " "), number % COLOURS) for number, name in enumerate(known))


def _services(report: Document, names: tuple[str, ...]) -> tuple[Line, ...]:
    """Lines of levels that each service tells: `memory_mib/push`. A service has one colour in all plots."""
    lines = []
    for level in names:
        told_by = [name.partition("/")[2] for name in report.series if name.partition("/")[0] == level]
        for service in sorted(told_by, key=_place):
            label = service if len(names) == 1 else f"{level.replace('_', ' ')}{' of ' if service else ''}{service}"
            name = f"{level}/{service}" if service else level
            lines.append(Line(name, "mean", label, _colour(service)))
    return tuple(lines)


def _place(service: str) -> tuple[int, str]:
    """Services in the order that a ping meets them, each worker after its like; the simulator and the machine last."""
    first = next((place for place, name in enumerate(_ORDER) if service.startswith(name)), len(_ORDER))
    return (first, service)


def _colour(service: str) -> int:
    return _SERVICE_COLOURS[min(_place(service)[0], len(_SERVICE_COLOURS) - 1)]


def _bound(report: Document, name: str) -> float | None:
    return next((verdict.bound for verdict in report.verdicts if verdict.name == name), None)


def _values(report: Document, panel: Panel) -> list[float]:
    return [value for line in panel.lines for value in column(report, line) if value is not None]


def _drawn(report: Document, panel: Panel) -> bool:
    return bool(_values(report, panel))
