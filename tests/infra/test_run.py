"""`ridestream run` as an operator meets it, with real engines and stand-ins for the services."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.local.engines import HOST, Engines, free_port
from infra.local.lock import only_run
from infra.local.processes import CannotRun
from infra.local.services import free_ports
from tests.infra import standins
from tests.infra.observing import DEADLINE_S, descendants, eventually, runs

pytestmark = pytest.mark.timeout(600)


class Operator:
    """Types `ridestream run` in a folder of its own and reads what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output, self.errors = folder, folder / "output", folder / "errors"
        self.ports = free_ports()
        self.process: subprocess.Popen[bytes] | None = None

    def type(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RIDESTREAM_")}
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", "run", *arguments],
                cwd=self.folder,
                env={**environment, **self.ports, **env},
                stdout=output,
                stderr=errors,
            )
        return self.process

    def says(self, what: str) -> None:
        """Wait for a line that matches, in what it said so far."""
        eventually(lambda: re.search(what, self.said()) or self._ended(), repr(what))
        assert re.search(what, self.said()), self.said()

    def said(self) -> str:
        return self.output.read_text() + self.errors.read_text()

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def ends(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    def pids(self) -> list[int]:
        """Everything it started: engines by the ports in their command lines, services by what they wrote down."""
        assert self.process is not None
        return sorted({*descendants(self.process.pid), *(int(path.read_text()) for path in self.folder.glob("*.pid"))})

    def env_of(self, room: str) -> dict[str, str]:
        """What a room was told, once its stand-in has written it down (nobody waits for the fleet)."""
        eventually((self.folder / f"{room}.pid").exists, f"{room} to start")
        return dict(line.partition("=")[::2] for line in (self.folder / f"{room}.env").read_text().split("\n"))


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    standins.build(tmp_path)
    operator = Operator(tmp_path)
    yield operator
    if operator.process is not None and operator.process.poll() is None:
        operator.process.terminate()
        operator.process.wait(DEADLINE_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_it_is_ended_no_process_is_left(operator: Operator, number: signal.Signals) -> None:
    if number is signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux ends children whose parent was killed")
    process = operator.type()
    operator.says(f"Live map: http://127.0.0.1:{operator.ports['RIDESTREAM_PUSH_HTTP_PORT']}/")
    started = operator.pids()
    assert len(started) >= 6  # two engines, three services, one fleet
    process.send_signal(number)
    assert operator.ends() == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    eventually(lambda: not any(runs(pid) for pid in started), "all its processes to end")
    assert not operator.errors.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("1", 1),  # a promise was broken until then
        ("130", 130),
        ("", 130),  # it had not begun, and knew no signal yet
    ],
)
def test_a_scenario_that_is_stopped_ends_the_run_with_its_exit_code(
    operator: Operator, number: signal.Signals, told: str, code: int
) -> None:
    process = operator.type("--scenario", "tunnel", STANDIN_SIMULATOR=told)
    operator.env_of("simulator")
    process.send_signal(number)
    assert operator.ends() == code
    assert not operator.errors.read_text()


def test_a_run_that_is_stopped_before_its_scenario_begins_says_that_it_was_stopped(operator: Operator) -> None:
    process = operator.type("--scenario", "tunnel")
    operator.says("✓ kafka")
    process.send_signal(signal.SIGINT)
    assert operator.ends() == 130


def test_a_second_run_in_the_same_folder_is_one_line_and_leaves_the_first_alone(operator: Operator) -> None:
    first = operator.type("--no-fleet")
    operator.says("Live map")
    home = operator.folder / ".ridestream"
    (home / "logs" / "mark.log").write_text("kept")
    files = {path: path.stat().st_ino for path in home.rglob("*")}
    key = (home / "jwt_key").read_text()

    command = [sys.executable, "-m", "infra.cli", "run", "--no-fleet"]
    second = subprocess.run(
        command,
        cwd=operator.folder,
        env={**os.environ, **free_ports()},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"ridestream run: another run with pid {first.pid} has this folder: "
        "end it, or start this one in another folder (and on other ports)\n"
    )
    assert first.poll() is None
    assert {path: path.stat().st_ino for path in home.rglob("*")} == files
    assert (home / "jwt_key").read_text() == key


def test_a_run_that_was_killed_does_not_keep_the_folder(operator: Operator) -> None:
    first = operator.type("--no-fleet")
    operator.says("✓ ingest")
    with pytest.raises(CannotRun, match=f"pid {first.pid} "), only_run(operator.folder / ".ridestream" / "lock"):
        pass
    started = operator.pids()
    first.kill()
    operator.ends()
    with only_run(operator.folder / ".ridestream" / "lock"):
        assert (operator.folder / ".ridestream" / "lock").read_text() == f"{os.getpid()}\n"
    eventually(lambda: not any(runs(pid) for pid in started), "all its processes to end")


def test_every_step_is_told_and_services_get_what_they_need(operator: Operator) -> None:
    operator.type("--drivers", "7")
    operator.says("Live map")
    steps = [line.split()[1] for line in operator.said().splitlines() if line.startswith("✓")]
    assert steps == ["kafka", "redis", "topics", "ingest", "stream", "push", "fleet"]
    env = operator.env_of("push")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", env["RIDESTREAM_KAFKA"])
    assert re.fullmatch(r"redis://127\.0\.0\.1:\d+/0", env["RIDESTREAM_REDIS"])
    assert len(env["RIDESTREAM_JWT_KEY"]) >= 32
    assert env["RIDESTREAM_GUEST_RIDERS"] == "true"
    assert {operator.env_of(room)["RIDESTREAM_JWT_KEY"] for room in standins.ROOMS} == {env["RIDESTREAM_JWT_KEY"]}
    assert (operator.folder / "simulator.args").read_text() == "simulate city --drivers 7 --no-report"
    key_file = operator.folder / ".ridestream" / "jwt_key"
    assert key_file.read_text() == env["RIDESTREAM_JWT_KEY"]
    assert key_file.stat().st_mode & 0o077 == 0
    assert operator.process is not None
    operator.process.terminate()
    assert operator.ends() == 0
    assert not key_file.exists()
    assert env["RIDESTREAM_JWT_KEY"] not in operator.said()


def test_engines_that_are_given_are_used_and_left_running(operator: Operator, tmp_path: Path) -> None:
    with Engines(tmp_path / "engines") as engines:
        process = operator.type("--no-fleet", **engines.env)
        operator.says("Live map")
        assert operator.env_of("stream")["RIDESTREAM_KAFKA"] == engines.kafka.address
        assert not (operator.folder / "simulator.args").exists()
        process.terminate()
        assert operator.ends() == 0
        assert engines.kafka.process.running
        assert engines.redis.process.running


def test_a_busy_port_is_one_line_that_names_port_service_and_setting(operator: Operator) -> None:
    with closing(socket.create_server((HOST, int(operator.ports["RIDESTREAM_PUSH_PORT"])))):
        operator.type()
        assert operator.ends() == 1
    port = operator.ports["RIDESTREAM_PUSH_PORT"]
    assert operator.said() == (
        f"ridestream run: port {port} is in use and push needs it: "
        "end what listens there, or set RIDESTREAM_PUSH_PORT to another\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("RIDESTREAM_KAFKA", "{host}:{port}", "no Kafka broker answers at"),
        ("RIDESTREAM_REDIS", "redis://user:secret@{host}:{port}/0", "no Redis answers at"),
    ],
)
def test_a_given_engine_that_does_not_answer_is_one_line(
    operator: Operator, variable: str, value: str, name: str
) -> None:
    operator.type(**{variable: value.format(host=HOST, port=free_port())})
    assert operator.ends() == 1
    [error] = operator.errors.read_text().splitlines()
    assert error.startswith(f"ridestream run: {name}")
    assert variable in error
    assert "secret" not in error


@pytest.mark.parametrize("how", ["die", "misconfigured"])
@pytest.mark.parametrize("room", standins.PORTS)
def test_a_service_that_dies_at_its_start_is_one_line_with_its_last_words(
    operator: Operator, room: str, how: str
) -> None:
    operator.type(**{f"STANDIN_{room.upper()}": how})
    assert operator.ends() == 1
    words = f"the last words of {room}" if how == "die" else f"ridestream {room}: RIDESTREAM_X: must be y"
    code = 1 if how == "die" else 2
    [error] = operator.errors.read_text().splitlines()
    assert error.startswith(f"ridestream run: {room} exited with {code}")
    assert error.endswith(f": {words} (log: .ridestream/logs/{room}.log)")
    eventually(lambda: not any(runs(pid) for pid in operator.pids()), "all its processes to end")


def test_a_worker_that_ends_itself_is_started_again(operator: Operator) -> None:
    process = operator.type(STANDIN_STREAM="die_once")
    operator.says("! stream exited with 70: watchdog: no progress .*; starting it again")
    eventually(lambda: len((operator.folder / "stream.starts").read_text().split()) == 2, "a second worker")
    assert process.poll() is None


def test_a_worker_that_ends_itself_again_and_again_ends_the_run(operator: Operator) -> None:
    operator.type(STANDIN_STREAM="die_often")
    assert operator.ends() == 1
    [error] = operator.errors.read_text().splitlines()
    assert error.startswith("ridestream run: stream exited with 70: watchdog: no progress")
    assert error.endswith("; started again 3 times before")


def test_a_fleet_that_fails_ends_the_run_and_one_that_finishes_does_not(operator: Operator) -> None:
    operator.type(STANDIN_SIMULATOR="die")
    assert operator.ends() == 1
    assert "fleet exited with 1: no road network" in operator.errors.read_text()
    process = operator.type(STANDIN_SIMULATOR="finish")
    operator.says("fleet has finished")
    assert process.poll() is None


def test_a_service_that_ignores_sigterm_does_not_keep_the_operator(operator: Operator) -> None:
    process = operator.type(STANDIN_PUSH="deaf")
    operator.says("Live map")
    started = operator.pids()
    process.send_signal(signal.SIGINT)
    operator.says("Stopping")
    process.send_signal(signal.SIGINT)  # a second Ctrl-C: do not even wait for the grace
    assert operator.ends() == 0
    assert not any(runs(pid) for pid in started)


def test_an_engine_that_dies_ends_the_run(operator: Operator) -> None:
    process = operator.type()
    operator.says("Live map")
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    [redis] = [
        int(line.split()[0])
        for line in listed.splitlines()
        if line.split()[1] == str(process.pid) and "-server" in line
    ]
    os.kill(redis, signal.SIGKILL)
    assert operator.ends() == 1
    assert "redis was ended by SIGKILL" in operator.errors.read_text()


def test_a_replay_gives_every_service_the_recordings_clock(operator: Operator) -> None:
    trace = operator.folder / "trace.csv"
    trace.write_text("driver,time,lat,lon\n")
    operator.type("--replay", str(trace), "--speed", "60")
    operator.says("Live map")
    clocks = {operator.env_of(room)["RIDESTREAM_CLOCK"] for room in standins.ROOMS}
    [clock] = clocks
    assert re.fullmatch(r"replay:event_start_ms=1000,event_end_ms=61000,speed=60,wall_start_ms=\d{13}", clock)
    assert (operator.folder / "simulator.args").read_text() == f"replay {trace} --speed 60"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--replay", "missing.csv"], "ridestream run: --replay: there is no file missing.csv"),
        (
            ["--replay", "empty.csv"],
            "ridestream run: --replay: the times of empty.csv cannot be read: ridestream replay: the file is empty",
        ),
        (["--drivers", "0"], "ridestream run: --drivers must be at least 1 (or say --no-fleet)"),
    ],
)
def test_an_argument_that_cannot_work_is_one_line(operator: Operator, arguments: list[str], error: str) -> None:
    (operator.folder / "empty.csv").touch()
    operator.type(*arguments)
    assert operator.ends() == 2
    assert operator.errors.read_text() == error + "\n"
    assert not operator.output.read_text()


@pytest.mark.parametrize("leader", ["itself", "make"])
def test_closing_the_terminal_leaves_no_process(operator: Operator, leader: str) -> None:
    """The whole way: a terminal, its hangup, and writes to a terminal that is no longer there.

    The kernel tells only the terminal's first program of the hangup, and make does not pass it on.
    """
    command = [sys.executable, "-m", "infra.cli", "run"]
    if leader == "make":
        (operator.folder / "Makefile").write_text(f"run:\n\t@exec {shlex.join(command)}\n")
        command = ["make", "run"]
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.chdir(operator.folder)
        os.execvpe(command[0], command, {**os.environ, **operator.ports, "TERM": "xterm-256color"})
    said = b""
    while b"Live map" not in said:
        said += os.read(terminal, 4_096)
    started = descendants(pid)
    assert len(started) >= 6
    os.close(terminal)
    os.waitpid(pid, 0)
    eventually(lambda: not any(runs(each) for each in started), "all its processes to end")
