"""`simulate SCENARIO`: play it, judge it, write its report, and say in the exit code whether its promises were kept."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from infra.settings import load
from simulator.demand.recorded import RequestsError
from simulator.options import BadUsage, begins_ms
from simulator.results import html, plots, twin
from simulator.results.machine import Machine, command_line, this_machine, versions
from simulator.results.plots import PlotsMissing
from simulator.riders.rider import RiderGone
from simulator.runs.reach import BadKey, NoPush, reach_ingest, reach_push, reach_reads
from simulator.runs.report import FAILED, INTERRUPTED, OK
from simulator.scenarios.scenario import Scenario, ScenarioError
from simulator.scenarios.shipped import load_scenario, scenario_names
from simulator.settings import SimulatorSettings
from simulator.staging.cast import Manner, Wires
from simulator.staging.play import Play, Played
from simulator.staging.ready import Ready, make_ready, read_scenario, size
from simulator.staging.rehearsal import rehearse
from simulator.staging.stage import StageError
from simulator.staging.summary import summary
from simulator.tokens import dispatch_bearer, fleet_bearer, local_key, reader_bearer, rider_bearer
from simulator.traces.trace import Recording

REPORTS = Path(".ridestream/reports")


def listed() -> str:
    """The shipped scenarios, one a line."""
    found = [load_scenario(name) for name in scenario_names()]
    width = max(len(one.name) for one in found)
    return "\n".join(f"{one.name:<{width}}  {one.title} ({size(one)})" for one in found)


def prepare(options: argparse.Namespace) -> Ready:
    """Read all that is to be played. Raises BadUsage when it cannot be, before anything is sent or written; OSError."""
    if options.interval_s is not None:
        raise BadUsage("--interval-s: the scenario says it (fleet.interval_s)")
    if options.start and not options.dry_run:
        raise BadUsage("--start is for --dry-run; a scenario that is played begins now")
    if options.report is not None and (
        options.no_report or options.report.is_dir() or options.report.suffix == ".json"
    ):
        raise BadUsage("--report takes the name of an HTML file (its JSON twin goes beside it), and no --no-report")
    if options.token:
        raise BadUsage("--token: a scenario needs tokens of many kinds, and mints them with RIDESTREAM_JWT_KEY")
    try:
        if not (options.no_report or options.dry_run):
            plots.require()
        scenario = read_scenario(options.scenario)
        scenario = scenario.with_(options.drivers, options.riders, options.seed, options.duration_s)
        ready = make_ready(scenario, options.roads)
    except (ScenarioError, PlotsMissing) as error:
        raise BadUsage(str(error)) from None
    if options.dry_run and not options.check:
        needed = {"--record": options.record, "--start": options.start, "--duration-s": ready.scenario.duration_s}
        if missing := [name for name, given in needed.items() if given is None]:
            raise BadUsage(f"--dry-run needs {' and '.join(missing)}")
        begins_ms(options.start)
    return ready


def say(ready: Ready, options: argparse.Namespace) -> int:
    """What `simulate SCENARIO --check` does with one that can be played."""
    print(_json(ready.as_json()) if options.json else ready.words())
    return OK


def play(ready: Ready, options: argparse.Namespace, recording: Recording | None) -> int:
    """What `simulate SCENARIO` does. Returns the exit code. Raises BadUsage, and what talking to a system may raise."""
    duration_s = ready.scenario.duration_s
    if options.dry_run:
        assert recording is not None and duration_s is not None  # noqa: PT018 - `prepare` has seen to it
        rehearsed = rehearse(ready, duration_s, begins_ms(options.start), recording)
        print(_json(rehearsed.as_json()) if options.json else rehearsed.words())
        return OK
    try:
        return _perform(ready, options, _wires(options), recording)
    except (NoPush, BadKey, RequestsError, StageError, RiderGone) as error:
        raise BadUsage(str(error)) from None


def _json(members: dict[str, object]) -> str:
    return msgspec.json.encode(members).decode()


def _wires(options: argparse.Namespace) -> Wires:
    settings = load(SimulatorSettings)
    key, algorithm = settings.jwt_key or local_key(), settings.jwt_algorithm
    try:
        fleet, dispatch = fleet_bearer("", key, algorithm), dispatch_bearer(key, algorithm)
        reader = reader_bearer(key, algorithm)
    except ValueError:
        raise BadUsage(
            "a scenario mints its tokens: set RIDESTREAM_JWT_KEY to the key that the services verify with (HS256), or "
            "start `make run` in this folder"
        ) from None
    return Wires(
        ingest_url=(options.url or settings.posts_to()).rstrip("/"),
        stream_url=options.stream_url or settings.watches_at(),
        fleet=fleet,
        rider=lambda rider_id: rider_bearer("", key, algorithm, rider_id)(),
        reads_url=(options.reads_url or settings.reads_at()).rstrip("/"),
        metrics_urls=settings.measured_at(),
        dispatch=dispatch,
        reader=reader,
    )


def _perform(ready: Ready, options: argparse.Namespace, wires: Wires, recording: Recording | None) -> int:
    """Play it and write what came of it. Returns the exit code."""
    scenario = ready.scenario
    machine, report = this_machine(), _report_path(scenario, options)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
    manner = Manner(
        options.connections,
        options.post_max,
        options.quiet,
        options.wait_s,
        options.stage_port or load(SimulatorSettings).stage_port or None,
        tuple(_origins(wires.reads_url)),
        options.alone,
    )
    try:
        uvloop.run(_reach(scenario, wires, manner))
        played: Played = uvloop.run(Play(scenario, ready.roads, ready.recorded, wires, manner, recording).run())
    except KeyboardInterrupt:
        print("ridestream simulate: stopped before anything could be judged; there is no report", file=sys.stderr)
        return INTERRUPTED
    with undisturbed():
        return _tell(played, scenario, machine, options, report)


async def _reach(scenario: Scenario, wires: Wires, manner: Manner) -> None:
    """See that everything is there that will be asked. Raises NoIngest, NoPush, BadKey."""
    await reach_ingest(wires.ingest_url, manner.wait_s, manner.quiet)
    await reach_push(wires.stream_url, wires.rider("simulator"), manner.wait_s, manner.quiet)
    if scenario.demand is not None:
        await reach_reads(wires.reads_url, wires.reader(), manner.wait_s, manner.quiet)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whoever pressed Ctrl-C twice has the report all the same: it is written in a second or two."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(
    played: Played, scenario: Scenario, machine: Machine, options: argparse.Namespace, report: Path | None
) -> int:
    """Print what came of it, and write the report. Returns the exit code."""
    verdicts = played.verdicts
    document = twin.document(
        twin.Run(
            title=scenario.title,
            scenario=scenario.name,
            scenario_toml=scenario.text,
            seed=scenario.seed,
            command=command_line(sys.argv[1:]),
        ),
        played.recorder,
        played.tally,
        verdicts,
        {str(kind): played.judgement.findings.some(kind) for kind in played.judgement.findings.counts},
        played.riders,
        {**played.trips, "pings_sha256": played.fingerprint, "behind_schedule_ms": round(played.behind_ms, 1)},
        machine,
        versions(),
        played.interrupted,
    )
    if options.json:
        print(twin.encode(document).decode(), end="")
    else:
        print(summary(played), flush=True)
    if report is not None:
        report.write_text(html.page(document), encoding="utf-8")
        report.with_suffix(".json").write_bytes(twin.encode(document))
        if not options.json:
            print(f"report             {report} and {report.with_suffix('.json').name}")
    if played.denied is not None or not all(verdict.ok for verdict in verdicts):
        return FAILED
    return INTERRUPTED if played.interrupted else OK


def _report_path(scenario: Scenario, options: argparse.Namespace) -> Path | None:
    if options.no_report:
        return None
    return options.report if options.report is not None else REPORTS / f"{scenario.name}.html"


def _origins(reads_url: str) -> list[str]:
    """Where the live map may have been opened."""
    return [reads_url, reads_url.replace("127.0.0.1", "localhost")]
