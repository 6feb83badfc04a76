"""An ingest that remembers what it was sent and answers as a test tells it to, on a real socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

#: Given the pings of a post and its number (from 1): an answer, or None to drop the connection without one.
Answer = Callable[[list[dict[str, Any]], int], "web.Response | None"]


def accept(pings: list[dict[str, Any]], _number: int = 0) -> web.Response:
    return verdicts([None] * len(pings))


def verdicts(reasons: list[str | None]) -> web.Response:
    results = [{"status": "accepted"} if r is None else {"status": "rejected", "reason": r} for r in reasons]
    rejected = sum(reason is not None for reason in reasons)
    body = {"received": len(results), "accepted": len(results) - rejected, "rejected": rejected, "results": results}
    return web.json_response(body, status=202)


class FakeIngest:
    """`url` is its address. `clock` is what GET /v1/clock says; `on_asked` is called before it is said."""

    def __init__(self, clock: str, now_ms: Callable[[], int]) -> None:
        self.clock, self.now_ms = clock, now_ms
        self.answer: Answer = accept
        self.on_asked: Callable[[], None] = lambda: None
        self.url = ""
        #: Every post: monotonic time of arrival, bearer token, pings; also those that got no good answer.
        self.posts: list[tuple[float, str, list[dict[str, Any]]]] = []
        self.bodies: list[bytes] = []
        self.most_at_once = self._at_once = 0
        self.delay_s = 0.0

    @property
    def pings(self) -> list[dict[str, Any]]:
        return [ping for _, _, pings in self.posts for ping in pings]

    async def read_clock(self, _request: web.Request) -> web.Response:
        self.on_asked()
        return web.json_response({"clock": self.clock, "now_ms": self.now_ms()})

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        pings = json.loads(body)["pings"]
        self.posts.append((time.monotonic(), request.headers["Authorization"].removeprefix("Bearer "), pings))
        number = len(self.posts)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.delay_s)
        self._at_once -= 1
        answer = self.answer(pings, number)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer


@asynccontextmanager
async def fake_ingest(
    clock: str = "wall", now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000, port: int = 0
) -> AsyncIterator[FakeIngest]:
    """Serve until the block ends, on a free port unless one is given."""
    ingest = FakeIngest(clock, now_ms)
    app = web.Application()
    app.add_routes([web.get("/v1/clock", ingest.read_clock), web.post("/v1/pings", ingest.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ingest.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield ingest
    finally:
        await runner.cleanup()
