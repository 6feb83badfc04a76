"""Draw the motion of several traces beside each other: a column for each trace, a row for each distribution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.motion.figures import STANDS_MPS, Motion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches, and dots per inch: two columns fill a page of documentation.
_WIDTH, _HEIGHT, _DPI = 4.4, 2.3, 110
_COLOUR = "#2a6f97"


class _Row(NamedTuple):
    """One distribution: what is drawn, over which bins, in which words."""

    values: list[float]
    bins: np.ndarray[tuple[int], np.dtype[np.float64]]
    words: str


class PlotsMissing(Exception):
    """matplotlib is not installed; the message says what to do."""


def draw(traces: Mapping[str, Motion], path: Path) -> None:
    """Write the plot to `path`, PNG or SVG as its name says. Raises PlotsMissing, ValueError (an unknown ending)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotsMissing("plots need matplotlib: pip install 'ridestream[report]', or leave out --plot") from None
    rows = {name: _rows(seen) for name, seen in traces.items()}
    count = max(len(each) for each in rows.values())
    figure = Figure(figsize=(_WIDTH * len(rows), _HEIGHT * count), dpi=_DPI, layout="constrained")
    grid = figure.subplots(count, len(rows), squeeze=False, sharey="row")
    for column, (name, each) in enumerate(rows.items()):
        grid[0][column].set_title(name, fontsize=10, fontweight="bold")
        for axes, row in zip((line[column] for line in grid), each, strict=True):
            _bars(axes, row)
    # Without the version of the library and the time: the same traces give the same file.
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, metadata=metadata)


def _rows(seen: Motion) -> list[_Row]:
    standing = sum(speed < STANDS_MPS for speed in seen.speed_mps) / len(seen.speed_mps)
    step = seen.interval_s
    return [
        _Row(seen.speed_mps, np.arange(0.0, 15.0, 1.0), f"speed of a leg, m/s (standing, below 1: {standing:.0%})"),
        _Row(seen.change_mps, np.arange(-12.5, 13.0, 1.0), "change of speed from leg to leg, both moving, m/s"),
        _Row(seen.turn_deg, np.arange(0.0, 181.0, 10.0), "change of course from leg to leg, both moving, degrees"),
        _Row(seen.stop_s, np.arange(step / 2, 12.1 * step, step), "time stood, s"),
    ]


def _bars(axes: Axes, row: _Row) -> None:
    shares, edges = np.histogram(row.values, row.bins)
    axes.bar(edges[:-1], shares / max(1, len(row.values)), np.diff(edges), align="edge", color=_COLOUR, linewidth=0)
    axes.set_xlabel(row.words, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
