"""Write numbers, times and plain facts as a person reads them, and lists of facts as HTML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from simulator.results.table import Summary


def clock(at_s: float) -> str:
    """A time of the run: 1:05, or 1:02:05 in a run of hours."""
    minutes, seconds = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def amount(value: float, unit: str) -> str:
    """A number with its unit, as short as an axis needs it."""
    if unit == "ms" and value >= 1_000:
        return f"{value / 1_000:,.3g} s"
    if unit == "MiB" and value >= 1_024:
        return f"{value / 1_024:,.3g} GiB"
    digits = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    return f"{digits} {unit}" if unit in ("ms", "m", "MiB") else digits


def number(value: float | None) -> str:
    """A count or a bound, without its unit."""
    return "–" if value is None else f"{value:,.10g}"


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
        return f"{value:,.10g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return str(value)


def as_list(facts: Mapping[str, object]) -> str:
    """Facts by name, as an HTML list of pairs."""
    pairs = (f"<dt>{escape(str(name))}</dt><dd>{escape(plain(value))}</dd>" for name, value in facts.items())
    return f"<dl>{''.join(pairs)}</dl>" if facts else ""
