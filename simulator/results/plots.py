"""Draw a panel as SVG that takes its colours from the page around it, with faults shaded. matplotlib only draws here.

matplotlib is an extra (`report`) and takes half a second to import, so it is imported when something is drawn. Ask
`require` before a run of minutes whose report would fail at its end.
"""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING

from simulator.results.facts import amount, clock, tick_s
from simulator.results.panels import COLOURS, Panel, column
from simulator.results.twin import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches at 72 points. Every panel has the same frame, so that one cursor fits them all (report.js knows it).
_WIDTH, _HEIGHT = 5.6, 2.0
FRAME = (0.085, 0.125, 0.89, 0.835)
_FONT_SIZE = 7.5
#: Colours that nobody would choose: each becomes a variable of report.css.
_INK, _FAINT, _GRID, _FAULT, _BOUND = "#010101", "#020202", "#030303", "#040404", "#050505"
_LINES = [f"#0a0b{number:02x}" for number in range(COLOURS)]
_VARIABLES = {
    _INK: "--ink", _FAINT: "--faint", _GRID: "--grid", _FAULT: "--fault", _BOUND: "--bad",
    **{colour: f"--c{number}" for number, colour in enumerate(_LINES)},
}  # fmt: skip
_COLOUR = re.compile("|".join(_VARIABLES))
#: Where a logarithmic axis has marks in each decade: the more decades, the fewer.
_MARKS = ((1, 2, 5), (1, 3), (1,))
_MISSING = "the report's plots need matplotlib: pip install 'ridestream[report]', or run without a report"


class PlotsMissing(Exception):
    """matplotlib is not installed; the message says what to do."""


def require() -> None:
    """Raises PlotsMissing when nothing can be drawn here."""
    try:
        import matplotlib  # noqa: F401 - asked for, not used
    except ImportError:
        raise PlotsMissing(_MISSING) from None


def draw(report: Document, panel: Panel, between: tuple[float, float] | None = None) -> str:
    """One panel as an `<svg>` element. `between` is the vertical range of panels that share their scale."""
    require()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: dict[str, object] = {
        "svg.fonttype": "none",
        # The same run draws the same bytes; ids of two panels on one page differ.
        "svg.hashsalt": panel.title,
        "font.size": _FONT_SIZE,
        "axes.linewidth": 0.5,
        "path.simplify_threshold": 0.2,
    }
    with rc_context(settings):  # type: ignore[arg-type]
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        axes = figure.add_axes(FRAME)
        _shade(axes, report)
        _lines(axes, report, panel)
        _scales(axes, report, panel, between)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_a_page(drawn.getvalue())


def _lines(axes: Axes, report: Document, panel: Panel) -> None:
    middles_s = [at_s + report.bin_s / 2 for at_s in report.time_s]
    known = [(line, column(report, line)) for line in panel.lines]
    drawn = [(line, values) for line, values in known if any(value is not None for value in values)]
    for depth, (line, values) in enumerate(drawn):
        # A rate that is met lies on the one that asks for it: broad and pale under thin.
        asked = panel.unit == "per_s" and depth == 0 and len(drawn) > 1
        # A lone second between two gaps is a point: a line would not show it.
        lone = [
            index
            for index, value in enumerate(values)
            if value is not None and _at(values, index - 1) is None and _at(values, index + 1) is None
        ]
        axes.plot(
            middles_s,
            [math.nan if value is None else value for value in values],
            color=_LINES[line.colour],
            linewidth=3.2 if asked else 1.1,
            alpha=0.35 if asked else 1.0,
            solid_joinstyle="round",
            marker="o" if lone else None,
            markersize=2.0,
            markevery=lone,
            zorder=3 + depth,
        )
    if panel.bound is not None:
        axes.axhline(panel.bound, color=_BOUND, linewidth=0.8, linestyle=(0, (4, 2)), zorder=2)


def _at(values: list[float | None], index: int) -> float | None:
    return values[index] if 0 <= index < len(values) else None


def _shade(axes: Axes, report: Document) -> None:
    for fault in report.faults:
        axes.axvspan(fault.from_s, fault.until_s, color=_FAULT, alpha=0.14, linewidth=0, zorder=0)
        axes.axvline(fault.from_s, color=_FAULT, linewidth=0.6, alpha=0.8, zorder=1)
    for verdict in report.verdicts:
        if not verdict.ok and verdict.first is not None:
            axes.axvline(verdict.first.at_s, color=_BOUND, linewidth=1, linestyle=(0, (1, 1.5)), zorder=2)


def _scales(axes: Axes, report: Document, panel: Panel, between: tuple[float, float] | None) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

    axes.set_xlim(0, report.ends_at_s)
    axes.xaxis.set_major_locator(MultipleLocator(tick_s(report.ends_at_s)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at_s, _: clock(at_s)))
    if panel.logarithmic and between is not None:
        axes.set_yscale("log")
        low, high = between
        axes.set_ylim(low / 1.4, max(high, panel.bound or 0) * 1.4)
        axes.yaxis.set_major_locator(
            LogLocator(10, subs=_MARKS[0] if high / low < 20 else _MARKS[1] if high / low < 1_000 else _MARKS[2])
        )
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], (panel.bound or 0) * 1.1, 1e-3))
        whole = panel.unit in ("", "per_s")
        axes.yaxis.set_major_locator(
            MaxNLocator(4, steps=[1, 2, 2.5, 5, 10] if not whole else [1, 2, 5, 10], integer=whole)
        )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, panel.unit)))
    axes.grid(axis="y", color=_GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, length=0, pad=4)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)


def _for_a_page(svg: str) -> str:
    """Leave out what only a file of its own needs, and let the page give size, font and colours."""
    inner = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, close, body = inner.partition(">")
    head = re.sub(r' (?:width|height|version)="[^"]*"', "", head)
    body = re.sub(r"font: (?:\w+ )*?([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    return (
        head + ' aria-hidden="true"' + close + _COLOUR.sub(lambda found: f"var({_VARIABLES[found[0]]})", body).strip()
    )
