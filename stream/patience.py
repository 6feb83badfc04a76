"""Wait: for Redis or Kafka as long as it takes, because nothing that was folded is given up; for frames a moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

#: First and longest pause between two tries.
PAUSE_S = (0.05, 2.0)

#: Faust hands over a frame every three or four turns of the event loop: after so many, a fetch brought no more.
QUIET_TURNS = 8

T = TypeVar("T")


class Patience:
    """Tries again until Redis lets it, and knows whether Redis is away."""

    def __init__(self) -> None:
        #: None while Redis answers, else what it said last.
        self.away: str | None = None

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call it until it does not raise RedisError."""
        pause_s = PAUSE_S[0]
        while True:
            try:
                result = await call()
            except RedisError as error:
                self.failed(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S[1])
            else:
                self.answered()
                return result

    def failed(self, error: RedisError) -> None:
        """Redis did not do what it was asked."""
        if self.away is None:
            log.warning("Redis does not answer; holding the partitions", extra={"error": str(error)})
        self.away = str(error) or type(error).__name__

    def answered(self) -> None:
        """Redis did."""
        if self.away is not None:
            log.info("Redis answers again")
        self.away = None


async def publish(call: Callable[[], Awaitable[None]]) -> None:
    """Call it until it does not raise, whatever a producer raises: a record must not be lost."""
    pause_s = PAUSE_S[0]
    while True:
        try:
            return await call()
        except Exception as error:
            log.warning("a bad record could not be published; trying again", extra={"error": repr(error)})
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S[1])


async def until_quiet(count: Callable[[], int]) -> None:
    """Return when `count` has not changed for QUIET_TURNS turns of the event loop, which are no time when it is idle.

    One write for all the frames of a fetch is a third of the writes, and the last of them is in Redis sooner.
    """
    quiet, known = 0, count()
    while quiet < QUIET_TURNS:
        await asyncio.sleep(0)
        now = count()
        quiet, known = (quiet + 1 if now == known else 0), now
