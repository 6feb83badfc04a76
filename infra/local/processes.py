"""Run child processes: each in its own group, with its own log file, and gone when we are. It knows no service."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

#: How often a waiting loop looks again. A poll costs microseconds; 50 ms is below what a person notices.
POLL_S = 0.05
#: From <sys/prctl.h>: the signal that the kernel sends us when our parent ends, however it ends.
PR_SET_PDEATHSIG = 1

#: Of a log: enough for its last line to be whole, though it be a JSON line with a long traceback.
TAIL_BYTES = 262_144
#: Last words are part of one line on a terminal.
MAX_WORDS = 200

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class CannotRun(Exception):
    """Something on this machine keeps us from running; `args[0]` is one line for the operator."""


class ProcessFailed(CannotRun):
    """A process ended, or did not become ready; `args[0]` is one line with its last words and where its log is."""


class Process:
    """One child process. Start it, wait until it is ready, end it; or use it as a context manager.

    On Linux the kernel kills it when the *thread* that started it ends, even by kill -9: start it from the main
    thread, or from one that lives as long. Elsewhere only an orderly exit of ours ends it.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        grace_s: float = 10.0,
    ) -> None:
        """`env` is added to our own environment; `grace_s` is how long it may take to end after SIGTERM."""
        self.name, self.argv, self.log, self.grace_s = name, list(argv), log, grace_s
        self.env = dict(env or {})
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it (again), its output appended to the log. Raises ProcessFailed when it cannot be executed."""
        if self.running:
            raise RuntimeError(f"{self.name} is already running")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        with self.log.open("ab") as output:
            try:
                self._popen = subprocess.Popen(  # noqa: S603  the command is ours or the operator's own
                    self.argv,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **self.env},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    # The child of a fork may run this: the library is already loaded and it takes no lock.
                    preexec_fn=None if _LIBC is None else lambda: _die_with(parent),
                )
            except OSError as error:
                raise ProcessFailed(f"{self.name} cannot be started: {error}") from None
        return self

    @property
    def pid(self) -> int:
        """Its process id, and its process group's. Raises RuntimeError before the first start."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs (or was never started), else its exit code, negative for a signal."""
        return None if self._popen is None else self._popen.poll()

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def wait_until(
        self,
        ready: Callable[[], bool],
        timeout_s: float,
        pause: Callable[[float], object] = time.sleep,
    ) -> Self:
        """Ask `ready` until it says yes. Raises ProcessFailed when the process ends first or time runs out.

        `pause` sleeps between two looks; it may raise to give up waiting.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.running:
                raise ProcessFailed(self.epitaph("before it was ready"))
            if ready():
                return self
            if time.monotonic() >= deadline:
                raise ProcessFailed(f"{self.name} was not ready within {timeout_s:g} s{self._words()}")
            pause(POLL_S)

    def wait(self, timeout_s: float, pause: Callable[[float], object] = time.sleep) -> int:
        """Wait for it to end by itself and return its exit code. Raises ProcessFailed when it does not."""
        deadline = time.monotonic() + timeout_s
        while (code := self.returncode) is None:
            if time.monotonic() >= deadline:
                raise ProcessFailed(f"{self.name} did not finish within {timeout_s:g} s{self._words()}")
            pause(POLL_S)
        return code

    def terminate(self) -> None:
        """Ask it, and whatever it started, to end (SIGTERM). Does not wait; harmless when it has ended."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and whatever it started, at once (SIGKILL), and reap it."""
        self._signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()

    def stop(self, grace_s: float | None = None) -> int | None:
        """SIGTERM, wait for `grace_s`, then SIGKILL. Returns the exit code; None if it was never started."""
        self.terminate()
        if self._popen is not None:
            try:
                self._popen.wait(self.grace_s if grace_s is None else grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.returncode

    def last_line(self) -> str:
        """The last line it wrote that is not blank, or ''. Reads only the end of the log."""
        try:
            with self.log.open("rb") as log:
                start = max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES)
                log.seek(start)
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        if start:
            del lines[0]  # its beginning is missing
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def epitaph(self, when: str = "") -> str:
        """One line: how it ended, its last words, its log."""
        code = self.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with {code}"
        # Who is killed says nothing of it: its last line is about something else.
        words = f" (log: {self.log})" if code == -signal.SIGKILL else self._words()
        return f"{self.name} {how}{' ' * bool(when)}{when}{words}"

    def _words(self) -> str:
        last = last_words(self.last_line())
        return (f": {last}" if last else "") + f" (log: {self.log})"

    def _signal(self, number: signal.Signals) -> None:
        # Only while our child is unreaped is its id surely its own.
        if self._popen is not None and self._popen.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def last_words(line: str) -> str:
    """What a log's last line says, for a person, in at most MAX_WORDS characters.

    Of a JSON log line (infra.telemetry) its `event`, and `reason` and `error` where it has them; never its traceback.
    """
    with suppress(ValueError, RecursionError):
        fields = json.loads(line)
        if isinstance(fields, dict) and "event" in fields:
            line = ": ".join(str(fields[name]) for name in ("event", "reason", "error") if fields.get(name))
    line = " ".join(line.split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"


def stop_all(processes: Sequence[Process], hurry: Callable[[], bool] = lambda: False) -> None:
    """End several at once: SIGTERM to all, SIGKILL to each that is still there after its grace.

    When `hurry` says yes, nobody is waited for any longer.
    """
    for process in processes:
        process.terminate()
    asked = time.monotonic()
    for process in processes:
        while process.running and not hurry() and time.monotonic() < asked + process.grace_s:
            time.sleep(POLL_S)
        process.kill()


def _die_with(parent: int) -> None:
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended between fork and prctl
        os._exit(1)
