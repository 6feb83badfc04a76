"""Hold processes in tiers: watch them, start again what may be, and end all of them in reverse order."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from types import FrameType, TracebackType
from typing import NoReturn, Self

from infra.local.processes import POLL_S, Process, ProcessFailed, stop_all
from infra.local.restarts import RestartPolicy


class Stopped(Exception):
    """The operator asked us to stop; not an error."""


class OnExit(Enum):
    """What the end of a process means for the run."""

    FAIL = auto()
    """It must live: the run fails."""
    RESTART = auto()
    """It is started again while the policy allows it; then the run fails."""
    FINISH = auto()
    """Exit code 0 is its proper end, and the rest goes on; any other fails the run."""


@dataclass(slots=True)
class _Held:
    process: Process
    on_exit: OnExit
    restarted_at_s: list[float] = field(default_factory=list)
    start_again_at_s: float | None = None
    finished: bool = False


class Supervisor:
    """A context manager; on exit everything it holds has ended. `report` takes one line for the operator."""

    #: Tiers end from the last to the first: what makes load, then what serves, then what they stand on.
    TIERS = ("engines", "services", "fleet")

    def __init__(self, report: Callable[[str], None], policy: RestartPolicy | None = None) -> None:
        self._report, self._policy = report, policy or RestartPolicy()
        self._tiers: dict[str, list[_Held]] = {tier: [] for tier in self.TIERS}
        self._stop_requests = 0
        self._terminal: select.poll | None = None

    def stop_on_request(self) -> None:
        """SIGINT, SIGTERM and the terminal's end request a stop; a second request does not wait for anybody."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup, which wants us to outlive it
            return
        signal.signal(signal.SIGHUP, self._on_signal)
        # The kernel tells only the session's leader. A shell passes it on; make, as a terminal's first program, not.
        if os.isatty(0):
            self._terminal = select.poll()
            self._terminal.register(0, 0)  # hangup and error are always reported

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request_stop()

    def request_stop(self) -> None:
        """Make the next `pause` raise Stopped. Safe in a signal handler: it takes no lock."""
        self._stop_requests += 1

    def pause(self, seconds: float) -> None:
        """Look at every process, then sleep: what everything that waits is given to wait with.

        Raises Stopped when a stop was requested, ProcessFailed when a process has ended for good.
        """
        if self._stop_requests or self._hung_up():
            raise Stopped
        self._look()
        time.sleep(seconds)

    def _hung_up(self) -> bool:
        # Not POLLNVAL, which macOS says of terminals that are well.
        events = [] if self._terminal is None else self._terminal.poll(0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in events)

    def hold(self, tier: str, process: Process, on_exit: OnExit = OnExit.FAIL) -> None:
        """Take responsibility for a process that was started."""
        self._tiers[tier].append(_Held(process, on_exit))

    def may_restart(self, process: Process) -> None:
        """From now on start this process again when it ends, as the policy allows: it has shown that it can run."""
        for held in self._all():
            if held.process is process:
                held.on_exit = OnExit.RESTART

    def watch(self) -> NoReturn:
        """Raises Stopped when asked to stop, ProcessFailed when a process has ended for good."""
        while True:
            self.pause(POLL_S)

    def _all(self) -> list[_Held]:
        return [held for tier in self._tiers.values() for held in tier]

    def _look(self) -> None:
        for held in self._all():
            if held.start_again_at_s is not None:
                if time.monotonic() >= held.start_again_at_s:
                    held.start_again_at_s = None
                    held.process.start()
            elif not held.finished and held.process.returncode is not None:
                self._ended(held, held.process.returncode)

    def _ended(self, held: _Held, exit_code: int) -> None:
        if held.on_exit is OnExit.FINISH and exit_code == 0:
            held.finished = True
            self._report(f"{held.process.name} has finished")
            return
        epitaph = held.process.epitaph()
        now_s = time.monotonic()
        if held.on_exit is not OnExit.RESTART:
            raise ProcessFailed(epitaph)
        if not self._policy.starts_again(exit_code, held.restarted_at_s, now_s):
            raise ProcessFailed(f"{epitaph}; started again {len(held.restarted_at_s)} times before")
        held.restarted_at_s.append(now_s)
        held.start_again_at_s = now_s + self._policy.backoff_s
        self._report(f"{epitaph}; starting it again")

    def close(self) -> None:
        """End everything, tier by tier from the last; within a tier all at once."""
        for tier in reversed(self._tiers.values()):
            processes = [held.process for held in tier]
            tier.clear()
            stop_all(processes, hurry=lambda: self._stop_requests > 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
