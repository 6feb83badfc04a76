"""Wait for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import redis

POLL_S = 0.05
#: What a condition raises about something that is not there yet, or no longer.
NOT_THERE = (LookupError, StopIteration, AttributeError, TypeError, OSError, httpx.TransportError, redis.RedisError)


class NotYet(AssertionError):
    """A condition did not come true in time."""


def until(condition: Callable[[], object], within_s: float, what: Callable[[], object] | str) -> float:
    """Poll until `condition` holds and return how long that took, in seconds. Raises NotYet, saying `what`.

    A condition that stumbles over something missing (NOT_THERE) does not hold; what it last stumbled over is the cause
    of NotYet.
    """
    started = time.monotonic()
    while True:
        trouble: Exception | None = None
        try:
            if condition():
                return time.monotonic() - started
        except NOT_THERE as error:
            trouble = error
        if time.monotonic() - started > within_s:
            raise NotYet(f"not within {within_s:g} s: {what if isinstance(what, str) else what()}") from trouble
        time.sleep(POLL_S)
