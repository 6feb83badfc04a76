"""`python -m simulator.motion TRACE...`: how the vehicles of traces move, side by side, to see whether a fleet is real.

What is printed and drawn are distributions; no position leaves a trace.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path

import msgspec

from simulator.motion.figures import NO_CAR_MPS, Figures, Motion, figures_of, motion_of
from simulator.motion.plots import PlotsMissing, draw
from simulator.roads.network import open_table
from simulator.traces.trace import TraceError, read_trace

OK, USAGE = 0, 2


def main(argv: list[str] | None = None) -> int:
    """Read, compare, print and draw. Returns the exit code."""
    options = _parser().parse_args(argv)
    names = options.name or [path.name.removesuffix(".gz").removesuffix(".csv") for path in options.trace]
    try:
        if len(names) != len(options.trace) or len(set(names)) < len(names):
            raise ValueError("give --name once for each trace, each another")
        seen = {
            name: _motion(path, options.interval_s, options.up_to_mps)
            for name, path in zip(names, options.trace, strict=True)
        }
        figures = [figures_of(name, each) for name, each in seen.items()]
        if options.plot:
            draw(seen, options.plot)
    except (TraceError, ValueError, PlotsMissing) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename or ''}: {error.strerror or error}")
    print(msgspec.json.format(msgspec.json.encode(figures)).decode() if options.json else table(figures))
    return OK


def table(figures: list[Figures]) -> str:
    """The figures as a Markdown table, a column for each trace."""
    rows = [
        ["", *(each.name for each in figures)],
        ["---", *("---:" for _ in figures)],
        ["legs / runs", *(f"{each.legs:,} / {each.runs:,}" for each in figures)],
        ["standing (below 1 m/s), share of time", *(f"{each.stop_share:.1%}" for each in figures)],
        ["stops per km", *(f"{each.stops_per_driven_km:.2f}" for each in figures)],
        ["time stood, s: p25, p50, p75, p90", *(_middle(each.stop_s_percentiles) for each in figures)],
        ["moving speed, m/s: mean", *(f"{each.mean_moving_mps:.1f}" for each in figures)],
        ["moving speed, m/s: p10, p25, p50, p75, p90", *(_wide(each.moving_mps_percentiles) for each in figures)],
        ["change of speed, m/s: standard deviation", *(f"{each.change_sigma_mps:.1f}" for each in figures)],
        ["straight on (below 15°)", *(f"{each.straight_share:.1%}" for each in figures)],
        ["turned (above 60°)", *(f"{each.turned_share:.1%}" for each in figures)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _motion(path: Path, interval_s: float, up_to_mps: float) -> Motion:
    try:
        with open_table(path) as lines:
            return motion_of(read_trace(lines).fixes, interval_s, up_to_mps)
    except TraceError as error:
        raise TraceError(f"{path.name}: {error}") from None
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
        raise TraceError(f"{path.name}: neither a CSV in UTF-8 nor a whole gzip of one") from None


def _middle(percentiles: dict[str, float]) -> str:
    return ", ".join(f"{percentiles[name]:.0f}" for name in ("p25", "p50", "p75", "p90")) if percentiles else "-"


def _wide(percentiles: dict[str, float]) -> str:
    return ", ".join(f"{percentiles[name]:.1f}" for name in ("p10", "p25", "p50", "p75", "p90"))


def _refuse(why: str) -> int:
    print(f"python -m simulator.motion: {why}", file=sys.stderr)
    return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.motion",
        description="Distributions of speed, turn and stopping of the vehicles of recorded traces, at one interval. A "
        "fleet records one with `ridestream simulate --dry-run --record`.",
    )
    parser.add_argument("trace", type=Path, nargs="+", help="a CSV (.gz), as `ridestream replay` reads it")
    parser.add_argument("--name", action="append", metavar="NAME", help="what to call a trace; once for each")
    parser.add_argument(
        "--interval-s", type=_positive, default=15.0, metavar="S", help="look once in S seconds (default: 15)"
    )
    parser.add_argument(
        "--up-to-mps",
        type=_positive,
        default=NO_CAR_MPS,
        metavar="V",
        help="leave out faster legs, motorways for example; 14 is what city streets see (default: 40, no car's speed)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them beside each other (.png or .svg)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < 1e6:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
