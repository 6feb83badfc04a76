"""Start engines, services, peers and load generators as pinned processes, and end exactly those."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from infra.local.engines import HOST, free_port, kafka_answers, redis_answers, tansu, valkey
from tests.bench.machine import cores

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
__all__ = ["HOST", "BenchError", "Sitting", "free_port", "listening", "ready", "wait_until"]


class BenchError(Exception):
    """A part of the benchmark did not start or did not finish; `args[0]` is one line."""


def wait_until(what: str, condition: Callable[[], bool], timeout_s: float = START_S) -> None:
    """Poll `condition`. Raises BenchError naming `what` when it does not hold in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.02)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def ready(port: int, path: str = "/readyz") -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Sitting:
    """All processes of one benchmark run. Leaving the context ends them, newest first."""

    def __init__(self) -> None:
        self.server_core, self.load_core = cores()
        self.jwt_key = secrets.token_urlsafe(48)
        self._running: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []
        self._directory = Path(tempfile.mkdtemp(prefix="ridestream-bench-"))
        self.environment = {
            **os.environ,
            "RIDESTREAM_JWT_KEY": self.jwt_key,
            "RIDESTREAM_JWT_ALGORITHM": "HS256",
            "RIDESTREAM_LOG_LEVEL": "warning",
            "PYTHONPATH": str(ROOT),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(
        self, name: str, command: list[str], core: int, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `command` pinned to `core`. Its stdout is a pipe; its stderr is kept for `complaint`."""
        log = (self._directory / f"{name}-{len(self._running)}-{secrets.token_hex(2)}.log").open("w+b")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self._running.append((name, process, log))
        return process

    def python(
        self, name: str, module: str, core: int, *arguments: object, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `python -m module arguments…` pinned to `core`."""
        return self.start(name, [sys.executable, "-m", module, *map(str, arguments)], core, environment)

    def complaint(self, process: subprocess.Popen[bytes]) -> str:
        """The name of a process and the last lines it wrote to stderr."""
        for name, candidate, log in self._running:
            if candidate is process:
                log.flush()
                log.seek(0)
                lines = log.read().decode(errors="replace").strip().splitlines()
                return f"{name} (exit code {process.poll()}): {' | '.join(lines[-8:]) or 'no message'}"
        return "a process that is gone"

    def await_port(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._await(process, lambda: listening(port))

    def await_ready(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Wait for /readyz on `port`."""
        self._await(process, lambda: ready(port))

    def _await(self, process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
        def alive_and_there() -> bool:
            if process.poll() is not None:
                raise BenchError(f"{self.complaint(process)}")
            return condition()

        try:
            wait_until("start", alive_and_there)
        except BenchError as error:
            raise BenchError(f"{error}; {self.complaint(process)}") from None

    def result(self, process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
        """Wait for a load generator to finish and read the JSON object on its last line of stdout."""
        try:
            out, _ = process.communicate(timeout=timeout_s)
            answer: dict[str, Any] = json.loads(out.decode().strip().splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            raise BenchError(f"no result from {self.complaint(process)}") from None
        return answer

    def kafka(self) -> tuple[str, subprocess.Popen[bytes]]:
        """Start the embedded broker on the load core; its bootstrap address and process."""
        port = free_port()
        process = self.start("kafka", tansu(port), self.load_core)
        self._await(process, lambda: kafka_answers(HOST, port))
        return f"{HOST}:{port}", process

    def redis(self) -> tuple[str, subprocess.Popen[bytes]]:
        """Start the embedded Redis on the load core; its URL and process."""
        port = free_port()
        process = self.start("redis", valkey(port), self.load_core)
        self._await(process, lambda: redis_answers(HOST, port))
        return f"redis://{HOST}:{port}/0", process

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        """End these processes: SIGTERM, then SIGKILL after 15 s."""
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for entry in [entry for entry in self._running if entry[1] in processes]:
            entry[2].close()
            self._running.remove(entry)

    def stop_all(self) -> None:
        for _, process, _ in reversed(list(self._running)):
            self.stop(process)
