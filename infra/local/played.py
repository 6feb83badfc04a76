"""The scenario that `ridestream run` is to play: looked at before anything is started, played, and let end itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from infra.local.plan import Misconfigured
from infra.local.processes import POLL_S, CannotRun
from infra.local.supervisor import Stopped

#: The exit code of one that was stopped, and nothing was broken until then: what a shell says of Ctrl-C, 128 + SIGINT.
STOPPED = 130
#: One that was stopped waits for answers that are out, and writes its report.
GRACE_S = 30.0


def checked(scenario: str, simulate_options: Sequence[str]) -> str:
    """What would be played, in the words of the simulator, which alone reads scenarios. Raises Misconfigured."""
    # In words also where the run itself is to end in JSON.
    options = [option for option in simulate_options if option != "--json"]
    answer = subprocess.run(  # noqa: S603  our own module
        [*_simulate(scenario, options), "--check"], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        words = answer.stderr.strip().split("\n")[-1].removeprefix("ridestream simulate: ")
        raise Misconfigured(f"--scenario: {words or 'it cannot be checked'}")
    return answer.stdout.strip()


def play(scenario: str, simulate_options: Sequence[str], env: Mapping[str, str], pause: Callable[[float], None]) -> int:
    """Play it on this terminal. Returns its exit code, also where `pause` raised Stopped. Raises CannotRun."""
    command = _simulate(scenario, simulate_options)
    with subprocess.Popen(command, env={**os.environ, **env}) as player:  # noqa: S603  our own module
        try:
            while player.poll() is None:
                pause(POLL_S)
        except Stopped:
            if not _end(player):
                raise CannotRun(f"the scenario did not end within {GRACE_S:g} s and was killed") from None
            # It dies of a signal only where it has nothing to judge yet.
            return STOPPED if player.returncode < 0 else player.returncode
        except BaseException:
            _end(player)
            raise
        return player.returncode


def _end(player: subprocess.Popen[bytes]) -> bool:
    """Ask it to end, and wait for what it has to tell. False: it had to be killed."""
    # It may have heard the same Ctrl-C.
    if player.poll() is None:
        player.send_signal(signal.SIGTERM)
    try:
        player.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        player.kill()
        player.wait()
        return False
    return True


def _simulate(scenario: str, simulate_options: Sequence[str]) -> list[str]:
    """The simulator's command; nobody else drives in this system."""
    return [sys.executable, "-m", "simulator", "simulate", scenario, "--alone", *simulate_options]
