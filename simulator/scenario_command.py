"""`simulate SCENARIO`: play it, judge it, write its report, and say in the exit code whether its promises were kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop

from infra.settings import load
from simulator.demand.recorded import RequestsError, read_requests
from simulator.dispatch.dispatch import NoErrands
from simulator.options import BadUsage
from simulator.phones.faults import problems_of
from simulator.results import html, plots, twin
from simulator.results.machine import command_line, this_machine, versions
from simulator.results.plots import PlotsMissing
from simulator.riders.rider import RiderGone
from simulator.runs.report import FAILED, INTERRUPTED, OK
from simulator.scenarios.city import load_city
from simulator.scenarios.scenario import City, Scenario, ScenarioError
from simulator.scenarios.shipped import load_scenario, scenario_names
from simulator.settings import SimulatorSettings
from simulator.staging.cast import Manner, Wires
from simulator.staging.fingerprint import Fingerprint
from simulator.staging.play import Play, Played
from simulator.staging.stage import StageError
from simulator.staging.town import Town
from simulator.tokens import dispatch_bearer, fleet_bearer, local_key, reader_bearer, rider_bearer
from simulator.traces.trace import Recording

REPORTS = Path(".ridestream/reports")
#: A rehearsal is played in steps of this.
STEP_MS = 1_000


def listed() -> str:
    """The shipped scenarios, one a line."""
    found = [load_scenario(name) for name in scenario_names()]
    width = max(len(one.name) for one in found)
    return "\n".join(f"{one.name:<{width}}  {one.title}{_size(one)}" for one in found)


def _size(scenario: Scenario) -> str:
    time = "until stopped" if scenario.duration_s is None else f"{scenario.duration_s:g} s"
    return f" ({scenario.fleet.drivers:,} drivers, {scenario.riders.map:,} riders, {time})"


def check(options: argparse.Namespace) -> None:
    """Raises BadUsage when this cannot be played, before anything is written."""
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
    if options.dry_run and not (options.record and options.start):
        raise BadUsage("--dry-run needs --record, --start, and a duration (--duration-s)")
    try:
        scenario_of(options)
    except ScenarioError as error:
        raise BadUsage(str(error)) from None


def play(options: argparse.Namespace, recording: Recording | None, start_ms: int | None) -> int:
    """What `simulate SCENARIO` does. Returns the exit code. Raises BadUsage, and what talking to a system may raise."""
    try:
        scenario = scenario_of(options)
        if not options.dry_run:
            stage_port = options.stage_port or load(SimulatorSettings).stage_port or None
            return perform(scenario, options, _wires(options), stage_port, recording)
        if recording is None or start_ms is None or scenario.duration_s is None:
            raise BadUsage("--dry-run needs --record, --start, and a duration (--duration-s)")
        rehearse(scenario, start_ms, recording)
        return OK
    except (ScenarioError, RequestsError, StageError, PlotsMissing, RiderGone) as error:
        raise BadUsage(str(error)) from None


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
        (options.url or settings.posts_to()).rstrip("/"),
        options.stream_url or settings.watches_at(),
        (options.reads_url or settings.reads_at()).rstrip("/"),
        settings.measured_at(),
        fleet,
        dispatch,
        reader,
        lambda rider_id: rider_bearer("", key, algorithm, rider_id)(),
    )


def scenario_of(options: argparse.Namespace) -> Scenario:
    """The scenario that was asked for, with what the options say instead. Raises ScenarioError, OSError."""
    scenario = load_scenario(options.scenario, [_problems])
    scenario = scenario.with_(options.drivers, options.riders, options.seed, options.duration_s)
    if options.roads:
        nodes, edges = map(str, options.roads)
        scenario = scenario.at(City(nodes=nodes, edges=edges))
    return scenario


def _problems(scenario: Scenario) -> Iterator[str]:
    yield from problems_of(scenario.faults)


def perform(
    scenario: Scenario, options: argparse.Namespace, wires: Wires, stage_port: int | None, recording: Recording | None
) -> int:
    """Play it and write what came of it. Returns the exit code."""
    machine, report = this_machine(), _report_path(scenario, options)
    if report is not None:
        plots.require()
        report.parent.mkdir(parents=True, exist_ok=True)
    manner = Manner(
        options.connections,
        options.post_max,
        options.quiet,
        options.wait_s,
        stage_port,
        tuple(_origins(wires.reads_url)),
        options.alone,
    )
    recorded = read_requests(scenario.demand.file) if scenario.demand and scenario.demand.file else ()
    played: Played = uvloop.run(Play(scenario, load_city(scenario.city), recorded, wires, manner, recording).run())
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
        print(_summary(played), flush=True)
    if report is not None:
        report.write_text(html.page(document), encoding="utf-8")
        report.with_suffix(".json").write_bytes(twin.encode(document))
        if not options.json:
            print(f"report             {report} and {report.with_suffix('.json').name}")
    if played.denied is not None or not all(verdict.ok for verdict in verdicts):
        return FAILED
    return INTERRUPTED if played.interrupted else OK


def rehearse(scenario: Scenario, start_ms: int, recording: Recording) -> None:
    """Play it without a system, as one that shows the truth at once would let it go, and say what came of it."""
    assert scenario.duration_s is not None
    town, fingerprint, pings = Town(scenario, load_city(scenario.city)), Fingerprint(), 0
    town.begin(start_ms)
    recorded = read_requests(scenario.demand.file) if scenario.demand and scenario.demand.file else ()
    town.serve(NoErrands(), "rehearsal", recorded)
    end_ms = start_ms + round(scenario.duration_s * 1_000)
    while town.next_due_ms < end_ms:
        sendings = town.advance(min(town.next_due_ms + STEP_MS, end_ms - 1))
        recording.write([sending.fix for sending in sendings])
        for sending in sendings:
            fingerprint.add(sending, start_ms)
        pings += len(sendings)
    done = "" if town.dispatch is None else f"; {town.dispatch.done} of {town.dispatch.requested} trips done"
    print(
        f"recorded {pings:,} pings of {scenario.fleet.drivers:,} drivers{done}; fingerprint {fingerprint.hexdigest()}"
    )


def _report_path(scenario: Scenario, options: argparse.Namespace) -> Path | None:
    if options.no_report:
        return None
    return options.report if options.report is not None else REPORTS / f"{scenario.name}.html"


def _origins(reads_url: str) -> list[str]:
    """Where the live map may have been opened."""
    return [reads_url, reads_url.replace("127.0.0.1", "localhost")]


def _summary(played: Played) -> str:
    tally, trips = played.tally, played.trips
    lines = [
        f"sent          {tally.sent:>12,}  pings, fingerprint {played.fingerprint[:16]}",
        f"accepted      {tally.accepted:>12,}",
        f"rejected      {tally.rejected.total():>12,}",
    ]
    if trips:
        lines.append(
            f"trips         {trips['done']:>12,}  of {trips['requested']:,} requests, {trips['judged']} judged"
        )
    if played.denied is not None:
        lines.append(f"STOPPED: ingest refused: {played.denied}")
    broken = [verdict for verdict in played.verdicts if not verdict.ok]
    lines += [
        f"{verdict.name:<22} {verdict.found:,.1f}  (at most {verdict.bound:,g})"
        for verdict in played.verdicts
        if verdict.ok and verdict.found is not None and isinstance(verdict.bound, float)
    ]
    lines += [verdict.words(played.recorder.start_ms) for verdict in broken]
    kept = len(played.verdicts) - len(broken)
    if broken or played.denied is not None:
        lines.append(f"FAILED: {len(broken)} of {len(played.verdicts)} promises were broken")
    elif played.interrupted:
        lines.append(f"STOPPED before its end: {kept} promises were kept so far, and trips were not judged")
    else:
        lines.append(f"OK: all {kept} promises were kept")
    return "\n".join(lines)
