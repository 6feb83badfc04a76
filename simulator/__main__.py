"""`python -m simulator simulate | replay`: both ends of the system, a fleet of drivers and riders who watch it."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from random import Random

import uvloop

from infra.settings import SettingsError, load
from simulator.fleet.fleet import PHASE_MS, Fleet
from simulator.options import BadUsage, begins_ms, parser
from simulator.posting.clocks import NoIngest, WrongClock
from simulator.roads.network import RoadNetwork, RoadsError, load_manhattan, load_network, open_table
from simulator.runs.recordings import recording
from simulator.runs.replay import Plan, replay, setting
from simulator.runs.report import FAILED, INTERRUPTED, OK, USAGE
from simulator.runs.run import FleetManner
from simulator.runs.simulate import rehearse, simulate
from simulator.runs.wires import Wires
from simulator.settings import SimulatorSettings
from simulator.tokens import fleet_bearer, local_key, rider_bearer
from simulator.traces.trace import ALIASES, TraceError, read_trace


def main(argv: list[str] | None = None) -> int:
    """Parse, run, and return the exit code."""
    options = parser().parse_args(argv)
    try:
        if options.verb == "replay":
            return _replay(options)
        return _scenario(options) if options.scenario or options.list else _simulate(options)
    except (BadUsage, NoIngest, WrongClock, RoadsError, TraceError, SettingsError) as error:
        print(f"ridestream {options.verb}: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        what = error.strerror or str(error) or type(error).__name__
        print(f"ridestream {options.verb}: {f'{error.filename}: ' if error.filename else ''}{what}", file=sys.stderr)
        return USAGE if error.filename else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _scenario(options: argparse.Namespace) -> int:
    # Only whoever plays one waits for what it takes: numpy, an oracle, thousands of riders.
    from simulator.scenario_command import listed, play, prepare, say

    if options.list:
        print(listed())
        return OK
    ready = prepare(options)
    if options.check:
        return say(ready, options)
    with recording(options.record) as kept:
        return play(ready, options, kept)


def _simulate(options: argparse.Namespace) -> int:
    if options.report or options.no_report or options.stage_port or options.reads_url or options.check:
        raise BadUsage("--report, --no-report, --reads-url, --stage-port and --check go with a scenario")
    if options.dry_run and not (options.record and options.duration_s and options.start):
        raise BadUsage("--dry-run needs --record, --duration-s and --start")
    if options.start and not options.dry_run:
        raise BadUsage("--start is for --dry-run; a fleet that posts drives now")
    start_ms = begins_ms(options.start) if options.start else 0
    interval_ms = round((options.interval_s or 1.0) * 1_000)
    if interval_ms < PHASE_MS:
        raise BadUsage(f"--interval-s is at least {PHASE_MS / 1_000:g}")
    manner, wires = (None, None) if options.dry_run else (_manner(options), _wires(options))
    roads: RoadNetwork = load_network(*options.roads) if options.roads else load_manhattan()
    # The one source of chance; everything that needs some is handed it, or a generator seeded from it.
    random = Random(7 if options.seed is None else options.seed)  # noqa: S311 - a simulation must repeat
    fleet = Fleet(roads, options.drivers or 200, random, interval_ms)
    with recording(options.record) as kept:
        if manner is None or wires is None:
            assert kept is not None
            drivers, fixes = options.drivers or 200, rehearse(fleet, start_ms, options.duration_s, kept)
            members = {"result": "recorded", "drivers": drivers, "pings": fixes}
            words = f"recorded {fixes:,} fixes of {drivers:,} drivers in {options.record}"
            print(json.dumps(members) if options.json else words)
            return OK
        posting = simulate(roads, fleet, random, options.duration_s, wires, manner, kept)
        code: int = uvloop.run(posting)
        return code


def _replay(options: argparse.Namespace) -> int:
    if options.restamp and (options.max or options.speed not in (None, 1.0)):
        raise BadUsage("--restamp replays at the trace's own speed; leave out --speed and --max")
    if options.shuffle is not None and not options.max:
        raise BadUsage("--shuffle needs --max: fixes that wait for their time go in its order")
    with open_table(options.file) as lines:
        try:
            trace = read_trace(lines, _columns(options.column), options.skip_bad_rows)
        except TraceError as error:
            raise TraceError(f"{options.file.name}: {error}") from None
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
            raise TraceError(f"{options.file.name}: neither a CSV in UTF-8 nor a whole gzip of one") from None
    plan = Plan(options.speed, options.max, options.restamp, options.shuffle, options.repeat, options.start_in)
    if options.print_clock:
        print(setting(trace, plan))
        return OK
    if trace.skipped and not options.quiet:
        print(f"{options.file.name}: left out {trace.skipped:,} rows that could not be read", file=sys.stderr)
    random = Random(0)  # noqa: S311 - only backoff and where riders stand
    code: int = uvloop.run(replay(trace, plan, random, _wires(options), _manner(options)))
    return code


def _wires(options: argparse.Namespace) -> Wires:
    settings = load(SimulatorSettings)
    key, algorithm = settings.jwt_key or local_key(), settings.jwt_algorithm
    try:
        fleet = fleet_bearer(options.token or settings.fleet_token, key, algorithm)
        if options.riders:
            rider_bearer(settings.rider_token, key, algorithm, "simulator")  # can one be made?
    except ValueError as error:
        raise BadUsage(str(error)) from None
    ingest_url = (options.url or settings.posts_to()).rstrip("/")
    stream_url = options.stream_url or settings.watches_at()
    if not ingest_url.startswith(("http://", "https://")):
        raise BadUsage("--url must start with http:// or https://")
    if not stream_url.startswith(("ws://", "wss://")):
        raise BadUsage("--stream-url must start with ws:// or wss://")
    return Wires(
        ingest_url, stream_url, fleet, lambda rider: rider_bearer(settings.rider_token, key, algorithm, rider)()
    )


def _manner(options: argparse.Namespace) -> FleetManner:
    if options.post_max > 1_000:
        raise BadUsage("--post-max is at most 1000, as ingest takes")
    sends = options.connections, options.post_max, options.quiet, options.wait_s
    return FleetManner(*sends, options.riders or 0, options.json)


def _columns(pairs: list[str]) -> dict[str, str]:
    columns = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(columns.values()) or not columns.keys() <= ALIASES.keys():
        raise BadUsage(f"--column takes FIELD=NAME, with FIELD one of {', '.join(ALIASES)}")
    return columns


if __name__ == "__main__":
    sys.exit(main())
