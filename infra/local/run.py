"""`ridestream run`: start the whole pipeline and a fleet on this machine, say where the map is, and end it cleanly."""

from __future__ import annotations

import argparse
import dataclasses
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from infra.clock import ReplayClock, parse_clock
from infra.local.engines import (
    HOST,
    TANSU,
    VALKEY,
    Engine,
    EngineKind,
    check_kafka,
    check_redis,
    free_port,
    port_is_free,
)
from infra.local.lock import only_run
from infra.local.plan import KAFKA_PORT, REDIS_PORT, Misconfigured, Plan, plan, port_in
from infra.local.played import STOPPED, checked, play
from infra.local.processes import CannotRun
from infra.local.services import INGEST, PUSH, SERVICES, STREAM, Service, task
from infra.local.supervisor import OnExit, Stopped, Supervisor

#: The scenario that is played where no other is asked for, and the port of its stage.
DEMO, STAGE_PORT = "city", 8083
HOME = Path(".ridestream")
LOGS = HOME / "logs"
LOCK = HOME / "lock"
#: `ridestream token` reads it, so that tokens for a local run can be made without knowing its random key.
KEY_FILE = HOME / "jwt_key"
#: A replay's clock starts this long after we do, so that the services are ready when the recording begins.
REPLAY_LEAD_MS = 15_000
#: A service that was asked to stop gets this long: its drain (1 s here) and its shutdown.
GRACE_S = 6.0
FLEET_GRACE_S = 3.0
#: kafka-python gives up on a broker after 10 s; importing takes another second or two on a busy machine.
TOPICS_WITHIN_S = 30.0


def main(argv: list[str]) -> int:
    """Run until stopped. Returns the exit code: 0 stopped, 1 could not run or failed, 2 misconfigured.

    With a scenario it is the scenario's, also of one that was stopped (docs/simulator.md).
    """
    options = _parser().parse_args(argv)
    try:
        # First of all: the logs, the key and most likely the ports are another run's while there is one.
        with only_run(LOCK):
            return _run(options, Console(highlight=False, soft_wrap=True))
    except (Misconfigured, CannotRun, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _stopped(options)  # before anything was started


def _run(options: argparse.Namespace, console: Console) -> int:
    """Returns when asked to stop, or what a scenario's end says. Raises Misconfigured, CannotRun, OSError."""
    plan_ = plan(os.environ, SERVICES, secrets.token_urlsafe(32))
    _check_ports(plan_)
    fleet = _fleet(options)
    if options.scenario is not None:
        _say(console, checked(options.scenario, options.simulate_options))
    clock = _replay_clock(options)
    env = dict(plan_.env) | ({"RIDESTREAM_CLOCK": str(clock)} if clock else {})
    if fleet is not None and DEMO in fleet:
        env |= _stage(os.environ)
    with suppress(OSError):
        for log in LOGS.glob("*.log"):
            log.unlink()
    with _key_file(env["RIDESTREAM_JWT_KEY"]), Supervisor(lambda line: _say(console, f"! {line}")) as held:
        held.stop_on_request()
        try:
            Run(held, console, plan_, env).start(fleet)
            if options.scenario is not None:
                return play(options.scenario, options.simulate_options, env, held.pause)
            held.watch()
        except Stopped:
            _say(console, "Stopping ...")
    return _stopped(options)


def _stopped(options: argparse.Namespace) -> int:
    """The exit code of a run that was asked to stop before it had anything to judge."""
    return 0 if options.scenario is None else STOPPED


class Run:
    """The steps of a start, each with its line of progress."""

    def __init__(self, held: Supervisor, console: Console, plan_: Plan, env: Mapping[str, str]) -> None:
        self._held, self._console, self._plan, self._env = held, console, plan_, dict(env)

    def start(self, fleet: tuple[str, ...] | None) -> None:
        """Bring everything up in order. `fleet` is the simulator's command. Raises CannotRun, Stopped."""
        started_s = time.monotonic()
        self._kafka()
        self._redis()
        with self._step("topics") as done:
            with task("topics", "ingest", "topics", env=self._env, log_dir=LOGS) as topics:
                if topics.wait(TOPICS_WITHIN_S, self._held.pause) != 0:
                    raise CannotRun(topics.epitaph())
            done("created in Kafka")
        # All at once: each spends most of its start importing, and the worker most of the rest in its group.
        services = {kind.name: Service(kind, self._env, LOGS, grace_s=GRACE_S).start() for kind in SERVICES}
        for service in services.values():
            self._held.hold("services", service)
        for kind, what in (
            (INGEST, f"POST http://127.0.0.1:{self._plan.port('RIDESTREAM_INGEST_PORT')}/v1/pings and /v1/trips"),
            (STREAM, "one worker has all partitions"),
            (PUSH, f"ws://127.0.0.1:{self._plan.port('RIDESTREAM_PUSH_PORT')}/v1/stream"),
        ):
            # The spinner has a thread, so it turns only where nothing is forked.
            with self._step(kind.name) as done, self._console.status(f"{kind.name} is starting ..."):
                services[kind.name].wait_ready(pause=self._held.pause)
                done(what)
        for service in services.values():
            self._held.may_restart(service)
        if fleet is not None:
            with self._step("fleet") as done:
                process = task("fleet", *fleet, env=self._env, log_dir=LOGS, grace_s=FLEET_GRACE_S).start()
                self._held.hold("fleet", process, OnExit.FINISH)
                done(" ".join(fleet))
        address = f"http://127.0.0.1:{self._plan.port('RIDESTREAM_PUSH_HTTP_PORT')}/"
        _say(self._console, f"\nLive map: {address}", style="bold")
        _say(self._console, f"Ready in {time.monotonic() - started_s:.1f} s. Ctrl-C stops everything. Logs: {LOGS}/")

    def _kafka(self) -> None:
        with self._step("kafka") as done:
            if self._plan.kafka is not None:
                check_kafka(self._plan.kafka)
                done(f"given, at {self._plan.kafka}")
            else:
                engine = self._engine(TANSU, KAFKA_PORT)
                self._env["RIDESTREAM_KAFKA"] = engine.address
                done(f"embedded, in memory, at {engine.address}")

    def _redis(self) -> None:
        with self._step("redis") as done:
            if self._plan.redis is not None:
                check_redis(self._plan.redis)
                done("given, by RIDESTREAM_REDIS")  # its address may hold a password
            else:
                engine = self._engine(VALKEY, REDIS_PORT)
                self._env["RIDESTREAM_REDIS"] = f"redis://{engine.address}/0"
                done(f"embedded, in memory, at {engine.address}")

    def _engine(self, kind: EngineKind, port: int) -> Engine:
        engine = Engine.start(kind, LOGS, port, self._held.pause)
        self._held.hold("engines", engine.process)
        return engine

    @contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        """A line of progress, printed when what this yields is called with what has been reached."""
        started_s = time.monotonic()

        def done(reached: str) -> None:
            taken_s = time.monotonic() - started_s
            _say(self._console, f"✓ {name:<7} {reached} ({taken_s:.1f} s)", style="green")

        yield done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ridestream run",
        description="Start Kafka, Redis, the services and a simulated city on this machine; print the live map's "
        "address; run until Ctrl-C. Engines are embedded and in memory unless RIDESTREAM_KAFKA or RIDESTREAM_REDIS "
        "names one that runs. Ports are those of docs/configuration.md.",
    )
    parser.add_argument("--drivers", type=int, default=200, metavar="N", help="drivers in the city (default: 200)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="replay a recorded trace instead of a fleet")
    parser.add_argument("--speed", type=float, default=60.0, metavar="X", help="speed of the replay (default: 60)")
    parser.add_argument(
        "--scenario",
        metavar="NAME",
        help="play a scenario (`ridestream simulate --list`) instead, end with it and with its exit code, also when "
        "stopped; what stands after `--` is for `ridestream simulate`",
    )
    parser.add_argument(
        "simulate_options", nargs="*", metavar="-- OPTIONS", help="with --scenario: options of simulate"
    )
    parser.add_argument("--no-fleet", action="store_true", help="start no fleet: send pings yourself")
    return parser


def _fleet(options: argparse.Namespace) -> tuple[str, ...] | None:
    if options.simulate_options and options.scenario is None:
        raise Misconfigured(f"{options.simulate_options[0]}: options of simulate go with --scenario")
    if options.no_fleet or options.scenario is not None:
        return None
    if options.replay is not None:
        if not options.replay.is_file():
            raise Misconfigured(f"--replay: there is no file {options.replay}")
        return ("simulator", "replay", str(options.replay), "--speed", f"{options.speed:g}")
    if options.drivers < 1:
        raise Misconfigured("--drivers must be at least 1 (or say --no-fleet)")
    # The report of a demo is the map.
    return ("simulator", "simulate", DEMO, "--drivers", str(options.drivers), "--no-report")


def _stage(environ: Mapping[str, str]) -> dict[str, str]:
    """Where the demo tells the live map what it plays."""
    port = port_in(environ, "RIDESTREAM_STAGE_PORT", STAGE_PORT)
    if not port_is_free(port) and "RIDESTREAM_STAGE_PORT" not in environ:
        port = free_port()
    return {"RIDESTREAM_STAGE_PORT": str(port), "RIDESTREAM_STAGE_URL": f"http://{HOST}:{port}"}


def _replay_clock(options: argparse.Namespace) -> ReplayClock | None:
    """The clock that every service must follow while the trace is replayed; only the simulator reads traces."""
    if options.replay is None or options.no_fleet:
        return None
    command = [sys.executable, "-m", "simulator", "replay", "--print-clock", str(options.replay)]
    answer = subprocess.run(  # noqa: S603  our own module
        [*command, "--speed", f"{options.speed:g}"], capture_output=True, text=True, check=False
    )
    try:
        clock = parse_clock(answer.stdout.strip())
    except ValueError:
        clock = None
    if answer.returncode != 0 or not isinstance(clock, ReplayClock):
        words = answer.stderr.strip().split("\n")[-1] or "it printed no clock"
        raise Misconfigured(f"--replay: the times of {options.replay} cannot be read: {words}")
    return dataclasses.replace(clock, wall_start_ms=time.time_ns() // 1_000_000 + REPLAY_LEAD_MS)


def _check_ports(plan_: Plan) -> None:
    for kind in SERVICES:
        for variable in kind.ports:
            if not port_is_free(plan_.port(variable)):
                raise CannotRun(
                    f"port {plan_.port(variable)} is in use and {kind.name} needs it: "
                    f"end what listens there, or set {variable} to another"
                )


@contextmanager
def _key_file(key: str) -> Iterator[None]:
    HOME.mkdir(parents=True, exist_ok=True)
    KEY_FILE.unlink(missing_ok=True)
    with open(os.open(KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    try:
        yield
    finally:
        KEY_FILE.unlink(missing_ok=True)


def _say(console: Console, line: str, style: str = "") -> None:
    with suppress(OSError):  # the terminal may be gone
        console.print(line, style=style, markup=False)


def _fail(error: Exception) -> int:
    with suppress(OSError):
        print(f"ridestream run: {error}", file=sys.stderr)
    return 2 if isinstance(error, Misconfigured) else 1
