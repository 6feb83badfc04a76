"""Wait for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.05


class NotYet(AssertionError):
    """A condition did not come true in time."""


def until(condition: Callable[[], object], within_s: float, what: Callable[[], object] | str) -> float:
    """Poll until `condition` holds and return how long that took, in seconds. Raises NotYet, saying `what`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > within_s:
            raise NotYet(f"not within {within_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL_S)
    return time.monotonic() - started
