"""Looks again and again whether the share links by which somebody watches are still good, and ends those that are not.

While Redis is away nobody can revoke a link, and who watches by one goes on until it expires; who comes anew waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

from redis.exceptions import RedisError

from push.feed import heed_cancellation
from push.rider import Rider
from push.trip_watch import Link, TripWatch

#: How long a revoked link is still good for who watches by it.
CHECK_S: Final = 2.0
#: (links, wall time in ms) -> those that are good: `shares.Shares.good_of`. Raises RedisError.
GoodLinks = Callable[[Iterable[Link], int], Awaitable[set[Link]]]


class ShareGuard:
    """`run` it until it is cancelled; `look` when somebody has come by a link."""

    def __init__(self, good_links: GoodLinks, watch: TripWatch, owe: Callable[[Rider], None]) -> None:
        """`owe` is called for each rider to whom a verdict makes a difference."""
        self._good_links, self._watch, self._owe = good_links, watch, owe
        self._news = asyncio.Event()

    def look(self) -> None:
        """Ask now."""
        self._news.set()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._news.wait()
            self._news.clear()
            wall_s = time.time()
            told = self._watch.expire_links(wall_s)
            asked = self._watch.links()
            if asked:
                with suppress(RedisError, OSError):
                    good = await self._good_links(asked, int(wall_s * 1_000))
                    told += self._watch.judge_links(asked, good)
                heed_cancellation()
            for rider in told:
                self._owe(rider)
