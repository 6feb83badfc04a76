"""Post fixes to ingest: in order for each driver, in full posts when busy, again when they were not taken.

Drivers are spread over lanes. A lane is one keep-alive connection with one post in flight; what falls due meanwhile
waits and fills the next post. So load is offered on schedule (an open loop), a driver's fixes never overtake each
other, and a slow ingest sees fewer, larger posts.

aiohttp, because a post costs it 0.16 ms of CPU and httpx 1.2 ms (measured, 4 KB bodies, keep-alive, uvloop).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

import aiohttp

from simulator.counts.tally import Tally
from simulator.fleet.fixes import Fix, encode_fix, join_post
from simulator.posting.verdicts import Again, Judged, Never, Outcome, Smaller, outcome_of

#: A post waits for Kafka's acknowledgement (5 s by default) and may be repeated by a gateway; then it is tried again.
POST_TIMEOUT_S = 15.0
#: uvicorn by default closes a connection that idled for 5 s; ours is given up before, so that no post races that.
IDLE_CONNECTION_S = 4.0
#: Full jitter between half and all of 0.1 s, 0.2 s, ... up to this.
LONGEST_BACKOFF_S = 5.0
#: Fixes that wait because ingest does not answer, ~300 bytes each; beyond this the schedule itself waits.
MOST_WAITING = 200_000

#: The fix, its JSON, and when it was due (monotonic).
_Waiting = tuple[Fix, bytes, float]
#: Hears of the verdicts of a post: on each fix None when it was accepted, else ingest's reason code, and how long it
#: took, in ms.
Hear = Callable[[Sequence[tuple[Fix, str | None, float]]], None]


class Denied(Exception):
    """Ingest refused the token; nothing more can be sent."""


class Emitter:
    """Sends to one ingest. Use as an async context manager; `tally` counts as it goes."""

    def __init__(
        self,
        url: str,
        bearer: Callable[[], str],
        random: Random,
        tally: Tally,
        lanes: int = 4,
        post_max: int = 200,
        hear: Hear | None = None,
    ) -> None:
        """`url` is ingest's base address. `bearer` gives a token that is valid now. `post_max` pings a post at most."""
        self._hear = hear
        self._url, self._bearer, self._random, self.tally = url.rstrip("/") + "/v1/pings", bearer, random, tally
        self._post_max = post_max
        self._lanes: list[deque[_Waiting]] = [deque() for _ in range(lanes)]
        self._work = [asyncio.Event() for _ in range(lanes)]
        self._tasks: list[asyncio.Task[None]] = []
        self._progress = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self.denied: str | None = None
        #: Why the last post was not taken; "" after one that was.
        self.trouble = ""
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=len(self._lanes), keepalive_timeout=IDLE_CONNECTION_S),
            timeout=aiohttp.ClientTimeout(total=POST_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(len(self._lanes))]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def offer(self, fixes: Iterable[Fix]) -> None:
        """Queue fixes that are due now."""
        now_s = time.monotonic()
        for fix in fixes:
            self.offer_due(fix, now_s)

    def offer_due(self, fix: Fix, due_s: float) -> None:
        """Queue a fix that was due at this monotonic time: how long it takes counts from then."""
        lane = zlib.crc32(fix.driver_id.encode()) % len(self._lanes)
        self._lanes[lane].append((fix, encode_fix(fix), due_s))
        self._work[lane].set()
        self.tally.sent += 1

    async def room(self, most_waiting: int = MOST_WAITING) -> None:
        """Wait until fewer than `most_waiting` fixes wait for a verdict. Raises Denied, and what `hear` raised."""
        if self._error is not None:
            raise self._error
        while self.tally.unacknowledged >= most_waiting and self.denied is None:
            await self._next_progress()
        if self.denied is not None:
            raise Denied(self.denied)

    async def finish(self, within_s: float) -> None:
        """Wait until every fix has its verdict, but no longer than `within_s`. Raises Denied."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.tally.unacknowledged and self.denied is None:
                    await self._next_progress()
        if self.denied is not None:
            raise Denied(self.denied)

    async def _next_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()
        if self._error is not None:
            raise self._error

    def _ended(self, lane: asyncio.Task[None]) -> None:
        # Whoever hears verdicts may fail; a lane that ended without a word would leave its pings without one.
        if not lane.cancelled() and lane.exception() is not None:
            self._error = lane.exception()
            self._progress.set()

    async def _run(self, number: int) -> None:
        waiting, work = self._lanes[number], self._work[number]
        while self.denied is None:
            if not waiting:
                work.clear()
                await work.wait()
            post = [waiting.popleft() for _ in range(min(self._post_max, len(waiting)))]
            await self._deliver(post)
            self._progress.set()

    async def _deliver(self, post: list[_Waiting]) -> None:
        """See one post through to its verdicts; only the end of the run, or a refused token, leaves it without."""
        body = join_post(encoded for _, encoded, _ in post)
        attempt = 0
        while True:
            match await self._post(body, len(post)):
                case Judged(reasons):
                    self.trouble = ""
                    now_s = time.monotonic()
                    took_ms = [(now_s - due_s) * 1_000 for _, _, due_s in post]
                    self.tally.judge(reasons, took_ms)
                    if self._hear is not None:
                        self._hear(list(zip((fix for fix, *_ in post), reasons, took_ms, strict=True)))
                    return
                case Again(why, after_s):
                    self.trouble = why
                    self.tally.retries[why] += 1
                    backoff_s = min(LONGEST_BACKOFF_S, 0.1 * 2 ** min(attempt, 10)) * self._random.uniform(0.5, 1.0)
                    await asyncio.sleep(backoff_s if after_s is None else after_s)
                    attempt += 1
                case Smaller():
                    half = len(post) // 2
                    await self._deliver(post[:half])
                    await self._deliver(post[half:])
                    return
                case Never(why, fatal):
                    self.tally.failed[why] += len(post)
                    if fatal:
                        self.denied = why
                    return

    async def _post(self, body: bytes, pings: int) -> Outcome:
        assert self._session is not None
        headers = {"Authorization": f"Bearer {self._bearer()}", "Content-Type": "application/json"}
        self.tally.posts += 1
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                content = await answer.read()
                return outcome_of(answer.status, answer.headers.get("Retry-After"), content, pings)
        except TimeoutError:
            return Again("timeout")
        except (aiohttp.ClientError, OSError):
            return Again("connection")
