"""A driver app's side of the wire: pings, tokens and requests, and a server in this process to send them to."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn
from fastapi import APIRouter

from infra.clock import Clock, WallClock
from infra.health import Health
from infra.identity import Verifier, mint
from ingest.__main__ import Server
from ingest.app import AsgiApp, build_app
from ingest.bodies import BodyReader
from ingest.lane import PingsLane
from ingest.producer import PingProducer
from ingest.routes import PingsRoute
from ingest.settings import AdmissionSettings
from ingest.tally import Tally

KEY = "a key that is only for tests, 32+ bytes"
#: A place nobody lives at: easy to find in a log that must not hold it.
LAT, LON = 41.157944, -8.629105
#: Modules make tokens when they are imported, which is long before their tests run.
A_DAY_S = 86_400.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ping(**members: Any) -> dict[str, Any]:
    """A good ping, but for `members`; None takes one away."""
    good = {"fix_time_ms": now_ms(), "lat": LAT, "lon": LON, "accuracy_m": 8.5}
    return {name: value for name, value in {**good, **members}.items() if value is not None}


def token(
    subject: str = "driver-1",
    scope: str = "driver",
    audience: str = "ingest",
    key: str = KEY,
    lifetime_s: float = A_DAY_S,
) -> str:
    return mint(key, "HS256", audience, subject, scope, time.time(), lifetime_s)


def headers(bearer: str | None = None, content_type: str = "application/json") -> dict[str, str]:
    return {"authorization": f"Bearer {bearer or token()}", "content-type": content_type}


def request(body: bytes, bearer: str | None = None, more: str = "", method: str = "POST") -> bytes:
    """The bytes of a request as a phone sends them."""
    return (
        f"{method} /v1/pings HTTP/1.1\r\nhost: ingest\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {bearer or token()}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    ).encode() + body


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def route(
    producer: PingProducer, tally: Tally | None = None, body_timeout_s: float = 5.0, clock: Clock | None = None
) -> PingsRoute:
    return PingsRoute(
        Verifier(KEY, "HS256", "ingest"),
        producer,
        clock or WallClock(),
        AdmissionSettings(),
        tally or Tally(),
        BodyReader(body_timeout_s),
    )


def app(pings: PingsRoute, producer: PingProducer, trips: APIRouter | None = None) -> AsgiApp:
    return build_app(pings, Health(producer.refusal), trips or APIRouter(), WallClock(), "wall")


@asynccontextmanager
async def served(pings: PingsRoute, producer: PingProducer, lane: bool = True) -> AsyncIterator[int]:
    """Serve in this process, with or without the fast lane; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(
        uvicorn.Config(
            app(pings, producer),
            loop="none",
            http=partial(PingsLane, pings) if lane else "httptools",  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=2,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class Connection:
    """One keep-alive connection that sends bytes as told and reads whole responses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields, body

    async def post(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.response()

    async def closed(self) -> bool:
        return await self._reader.read(1) == b""

    async def close(self) -> None:
        self.writer.close()
