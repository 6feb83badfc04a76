"""A push for the tests of riders, which answers as a test tells it to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from push.protocol import BEARER_SUBPROTOCOL_PREFIX, SUBPROTOCOL

NOW_MS = 1_000_000


Handler = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


class FakePush:
    """A push that answers as a test tells it to; `url` is its address."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.handler: Handler = self.be_good
        self.heartbeat_ms = 5_000
        #: Every connection there ever was, in order, and the number of the last message to each.
        self.sockets: list[ServerConnection] = []
        self.seqs: dict[ServerConnection, int] = {}
        #: How the next handshakes are refused, if at all: a status and headers each.
        self.refusals: list[tuple[int, dict[str, str]]] = []

    async def be_good(self, socket: ServerConnection, asked: dict[str, Any]) -> None:
        reply = {"subscribe": "subscribed", "recenter": "recentered", "unsubscribe": "unsubscribed", "ping": "pong"}
        await say(socket, reply[asked["type"]], id=asked["id"], sub=asked.get("sub"))
        if asked["type"] == "subscribe":
            await self.snapshot(socket, asked["sub"], [("a", NOW_MS)])

    async def snapshot(self, socket: ServerConnection, sub: str, cars: list[tuple[str, int]]) -> None:
        self.seqs[socket] = 1
        await say(socket, "snapshot", sub=sub, seq=1, server_time_ms=NOW_MS, cars=[wire_car(*one) for one in cars])

    async def move(self, socket: ServerConnection, sub: str, driver_id: str, fix_time_ms: int) -> None:
        self.seqs[socket] += 1
        changed = {"enter": [], "move": [wire_car(driver_id, fix_time_ms)], "leave": []}
        await say(socket, "update", sub=sub, seq=self.seqs[socket], server_time_ms=NOW_MS, **changed)

    def admit(self, socket: ServerConnection, _request: Request) -> Response | None:
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        response = socket.respond(status, "refused")
        response.headers.update(headers)
        return response

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        bearer = socket.request.headers.get("Authorization", "").removeprefix("Bearer ")
        offered = socket.request.headers.get("Sec-WebSocket-Protocol", "")
        bearer = bearer or offered.partition(BEARER_SUBPROTOCOL_PREFIX)[2]
        if not bearer:
            bearer = json.loads(await socket.recv())["token"]
        self.tokens.append(bearer)
        self.sockets.append(socket)
        await say(socket, "welcome", session="s", heartbeat_ms=self.heartbeat_ms)
        async for text in socket:
            self.asked.append(json.loads(text))
            await self.handler(socket, self.asked[-1])


async def say(socket: ServerConnection, type_: str, **fields: object) -> None:
    """Send a message, written as the wire's documents show it, not by push's own code."""
    await socket.send(json.dumps({"type": type_, **fields}, separators=(",", ":")))


def wire_car(driver_id: str, fix_time_ms: int) -> dict[str, object]:
    place = {"lat": 40.0, "lon": -73.0, "cell": "892a100d2c3ffff"}
    return {"driver_id": driver_id, **place, "fix_time_ms": fix_time_ms, "age_ms": 5, "freshness": "live"}


@asynccontextmanager
async def fake_push() -> AsyncIterator[FakePush]:
    push = FakePush()
    async with serve(
        push.serve,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        process_request=push.admit,
        ping_interval=None,
    ) as server:
        push.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/stream"
        yield push
