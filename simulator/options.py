"""The command line of the simulator: its verbs, their options, and what they may hold."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from simulator.traces.trace import ALIASES, time_ms

EXIT_CODES = """exit codes:
  0    every ping has a verdict: accepted, or rejected for a reason that docs/wire publishes
  1    pings were not delivered or have no verdict, or riders saw the stream break a promise
  2    nothing was sent: bad usage, a file that cannot be read, no ingest, or a clock that does not suit
  130  stopped with Ctrl-C, after the summary
"""


class BadUsage(Exception):
    """The options do not make sense together, or nothing can be done with them; the message says why."""


def begins_ms(text: str) -> int:
    """The time that --start gives, epoch ms. Raises BadUsage."""
    try:
        return time_ms(text)
    except ValueError:
        raise BadUsage("--start takes ISO 8601 (2026-01-01T08:00:00Z) or epoch seconds or milliseconds") from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ridestream", description="Both ends of the system: a fleet of drivers, and riders who watch it."
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    fleet = verbs.add_parser(
        "simulate",
        help="drive a fleet on a road network and post its pings",
        description="Play a scenario and judge what riders were shown; or drive a fleet on the roads of Manhattan "
        "(© OpenStreetMap contributors) and post its pings, until Ctrl-C. The same seed drives the same cars.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fleet.add_argument(
        "scenario",
        nargs="?",
        help="play this scenario, shipped (--list) or a .toml file: trips, riders, faults, and an oracle that fails "
        "the run when a rider was shown something false; without one, a fleet drives about",
    )
    fleet.add_argument("--list", action="store_true", help="list the shipped scenarios, and end")
    fleet.add_argument(
        "--check",
        action="store_true",
        help="with a scenario: read it, its city and its requests, say what would be played or all that is wrong "
        "(exit code 2), and end; needs no system",
    )
    fleet.add_argument("--drivers", type=_positive, metavar="N", help="drivers (default: the scenario's, or 200)")
    fleet.add_argument("--seed", type=_whole, metavar="N", help="seed of all chance (default: the scenario's, or 7)")
    fleet.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="with a scenario: the report, HTML, and its JSON twin beside it "
        "(default: .ridestream/reports/SCENARIO.html)",
    )
    fleet.add_argument(
        "--alone",
        action="store_true",
        help="with a scenario: no other cars are in the system, so any other that is shown is a ghost",
    )
    fleet.add_argument("--no-report", action="store_true", help="with a scenario: write no report")
    fleet.add_argument("--reads-url", help="with a scenario: address of push's HTTP reads (default: this machine)")
    fleet.add_argument(
        "--stage-port", type=_positive, metavar="PORT", help="with a scenario: show the live map its stage on this port"
    )
    fleet.add_argument(
        "--interval-s", type=_seconds, metavar="S", help="without a scenario: report every S seconds (default: 1)"
    )
    fleet.add_argument("--duration-s", type=_seconds, metavar="S", help="stop after S seconds (default: at Ctrl-C)")
    fleet.add_argument(
        "--roads",
        nargs=2,
        type=Path,
        metavar=("NODES", "EDGES"),
        help="drive elsewhere: CSV tables id,lat,lon and from,to,speed_kph, strongly connected",
    )
    fleet.add_argument("--record", type=Path, metavar="FILE", help="also write the fixes to a CSV (.gz) for replay")
    fleet.add_argument(
        "--dry-run",
        action="store_true",
        help="send nothing: write --record as fast as it goes (needs --start, and --duration-s unless the scenario "
        "has one)",
    )
    fleet.add_argument("--start", metavar="TIME", help="with --dry-run: time of the first fixes, ISO 8601 or epoch")
    _common(fleet, riders="place N riders who watch 1 km around them, and time each move they see (default: 0)")

    trace = verbs.add_parser(
        "replay",
        help="post a recorded trace, as fast as it happened or faster",
        description="Post a recorded trace, a CSV (.gz) with columns for driver, time, latitude and longitude, each "
        "fix when the system's replay clock reaches its time. Start the services with the clock that --print-clock "
        "prints, then run the same command without it.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    trace.add_argument("file", type=Path, metavar="FILE", help="the trace")
    trace.add_argument(
        "--speed", type=_speed, metavar="X", help="times as fast as it happened (default: as the system's clock runs)"
    )
    trace.add_argument("--print-clock", action="store_true", help="print the RIDESTREAM_CLOCK for this replay, and end")
    trace.add_argument(
        "--start-in",
        type=_seconds,
        default=15.0,
        metavar="S",
        help="the printed clock starts S seconds from now, so that services can come up (default: 15)",
    )
    trace.add_argument(
        "--restamp",
        action="store_true",
        help="move the trace to now and replay it at its own speed, for services on the wall clock",
    )
    trace.add_argument(
        "--max", action="store_true", help="wait for no fix's time; the clock must stand at the trace's end"
    )
    trace.add_argument("--shuffle", type=_whole, metavar="SEED", help="with --max: send in a random order")
    trace.add_argument("--repeat", type=_positive, default=1, metavar="K", help="send each ping K times (default: 1)")
    trace.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help=f"the file calls FIELD ({', '.join(ALIASES)}) NAME; may be repeated",
    )
    trace.add_argument("--skip-bad-rows", action="store_true", help="leave out rows that cannot be read, and say so")
    _common(trace, riders="place N riders where vehicles were, who watch 1 km around them (default: 0)")
    return top


def _common(verb: argparse.ArgumentParser, riders: str) -> None:
    verb.add_argument("--url", help="address of ingest (default: RIDESTREAM_INGEST_URL, or this machine)")
    verb.add_argument(
        "--stream-url", help="WebSocket address of push (default: RIDESTREAM_STREAM_URL, or this machine)"
    )
    verb.add_argument("--token", help="token with scope `fleet` (default: RIDESTREAM_FLEET_TOKEN, or minted)")
    verb.add_argument("--riders", type=_whole, metavar="N", help=riders)
    verb.add_argument(
        "--connections", type=_positive, default=4, metavar="N", help="connections to ingest (default: 4)"
    )
    verb.add_argument(
        "--post-max", type=_positive, default=200, metavar="N", help="most pings in one request (default: 200)"
    )
    verb.add_argument(
        "--wait-s",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="wait for ingest to answer for S seconds (default: 10)",
    )
    verb.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    verb.add_argument("--quiet", action="store_true", help="show no progress")


def _positive(text: str) -> int:
    return _at_least(1, text)


def _whole(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}, not {text!r}")
    return value


def _seconds(text: str) -> float:
    if not 0 < (value := _number(text)) < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, more than 0, not {text!r}")
    return value


def _speed(text: str) -> float:
    # The clock writes its speed with six digits; asking for more would not be what the services run at.
    if not 0 < (value := float(f"{_number(text):g}")) <= 1e9:
        raise argparse.ArgumentTypeError(f"must be a number, more than 0 and at most 1e9, not {text!r}")
    return value


def _number(text: str) -> float:
    """Not a number where it is none: neither more nor less than anything."""
    try:
        return float(text)
    except ValueError:
        return math.nan
