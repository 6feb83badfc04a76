"""Write numbers, times and plain facts as a person reads them, and lists of facts as HTML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from simulator.results.table import Summary

_TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200)


def clock(at_s: float) -> str:
    """A time of the run: 1:05, or 1:02:05 in a run of hours."""
    minutes, seconds = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def tick_s(end_s: float) -> float:
    """How far apart the marks of a time axis are: round seconds, minutes or hours, and not more than ten."""
    return next((step_s for step_s in _TICKS_S if end_s <= 10 * step_s), max(86_400.0, end_s / 10))


def amount(value: float, unit: str) -> str:
    """A number with its unit, as short as an axis needs it."""
    if unit == "ms" and value >= 1_000:
        return f"{value / 1_000:,.3g} s"
    if unit == "MiB" and value >= 1_024:
        return f"{value / 1_024:,.3g} GiB"
    if unit == "cores":
        return f"{value:.0%}" if value >= 0.1 or value == 0 else f"{value:.1%}"
    digits = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{digits} {unit}" if unit in ("ms", "m", "MiB") else digits


def number(value: float | None) -> str:
    """A count, or a bound to a tenth, without its unit."""
    return "–" if value is None else _short(value)


def percentile(summary: Summary | None, column: str) -> str:
    """One percentile of a summary, with its unit."""
    value = None if summary is None else getattr(summary, column)
    return "–" if summary is None or value is None else amount(value, summary.unit)


def plain(value: object) -> str:
    """Whatever somebody noted, as text."""
    if value is None or isinstance(value, bool):
        return "–" if value is None else "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        # What shows a lie may be in the last digits: 6 decimals of a latitude are 0.1 m.
        return f"{value:,.10g}" if abs(value) < 1 else f"{value:,.6f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return str(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def as_list(facts: Mapping[str, object]) -> str:
    """Facts by name, as an HTML list of pairs."""
    pairs = (f"<dt>{escape(str(name))}</dt><dd>{escape(plain(value))}</dd>" for name, value in facts.items())
    return f"<dl>{''.join(pairs)}</dl>" if facts else ""
