"""Ask ingest what time it is for a fix: `GET /v1/clock`, waiting while it starts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp
import msgspec

from infra.clock import ReplayClock, WallClock, parse_clock

ASK_AGAIN_AFTER_S = 0.25


class NoIngest(Exception):
    """Nothing that speaks ridestream answers there; the message says where."""


class WrongClock(Exception):
    """The system does not run on a clock that suits what is to be sent; the message says what to do."""


class _Answer(msgspec.Struct):
    clock: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The system's clock, and its time as told between two moments of our own wall clock (epoch ms)."""

    clock: WallClock | ReplayClock
    now_ms: int
    asked_ms: float
    answered_ms: float


async def ask_clock(url: str, within_s: float) -> SystemClock:
    """Ask the ingest at base address `url`. Raises NoIngest when it does not answer `within_s`."""
    deadline_s = time.monotonic() + within_s
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            asked_ms = time.time() * 1_000
            try:
                async with session.get(url.rstrip("/") + "/v1/clock", allow_redirects=False) as answer:
                    body, status = await answer.read(), answer.status
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 0
            if status == 200:
                return _read(body, asked_ms, url)
            if status not in (0, 502, 503, 504):
                raise NoIngest(f"{url} answers GET /v1/clock with {status}; is that the address of ingest? See --url")
            if time.monotonic() >= deadline_s:
                raise NoIngest(f"no ingest answers at {url}; start one (`make run`) or say where it is with --url")
            await asyncio.sleep(ASK_AGAIN_AFTER_S)


def _read(body: bytes, asked_ms: float, url: str) -> SystemClock:
    answered_ms = time.time() * 1_000
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        return SystemClock(parse_clock(answer.clock), answer.now_ms, asked_ms, answered_ms)
    except (msgspec.DecodeError, ValueError):
        raise NoIngest(f"{url} answers GET /v1/clock with something else; is that the address of ingest?") from None
