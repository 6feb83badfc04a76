"""Decide whether a service that ended is started again. Pure: no clock, no process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Our services' exit code for a setting they cannot work with (and argparse's for its arguments).
MISCONFIGURED = 2


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """A worker that ends itself (its watchdog saw no progress) gets another try; one that cannot run does not."""

    restarts: int = 3
    within_s: float = 60.0
    #: Between an end and the next start, so that whatever was wrong has a moment to pass.
    backoff_s: float = 1.0

    def starts_again(self, exit_code: int, restarted_at_s: Sequence[float], now_s: float) -> bool:
        """Whether to start it again at `now_s`, after the earlier restarts at `restarted_at_s` (one clock, seconds)."""
        recent = sum(1 for at_s in restarted_at_s if now_s - at_s < self.within_s)
        return exit_code != MISCONFIGURED and recent < self.restarts
