"""Reach the system before anything is sent: ingest's clock, push's socket, push's reads; each may still be starting.

Whoever is waited for is named on stderr, once, and whoever does not answer at the end with what to do about it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
from websockets.exceptions import InvalidURI

from push.protocol import BAD_TOKEN, FORBIDDEN
from simulator.posting.clocks import ASK_AGAIN_AFTER_S, SystemClock, ask_clock
from simulator.riders.client_manners import is_final
from simulator.riders.rider import Rider, RiderGone

#: Whoever answers sooner is not worth a word.
SAY_AFTER_S = 0.5
#: One answer may take this long.
ANSWER_WITHIN_S = 5.0
#: Anywhere: an answer without cars is an answer.
_ASKED = {"lat": "0", "lon": "0", "radius_m": "1"}
_BUSY = (429, 502, 503, 504)
#: Close codes, and HTTP statuses of a refusal.
_BAD_TOKEN = (BAD_TOKEN, FORBIDDEN, 401, 403)


class NoPush(Exception):
    """Nothing that speaks for ridestream's push answers there; the message says where, and what to do."""


class BadKey(Exception):
    """Push refuses a token; the message says what to do."""


async def reach_ingest(url: str, within_s: float, quiet: bool = False) -> SystemClock:
    """What `ask_clock` says, and raises."""
    with _said(f"ingest at {url}", quiet):
        return await ask_clock(url, within_s)


async def reach_push(url: str, token: str, within_s: float, quiet: bool = False) -> None:
    """Return once a rider is welcome at `url`. Raises NoPush, BadKey."""

    async def try_once() -> str:
        rider = Rider(url, token)
        try:
            await rider.connect()
            await rider.close()
        except TimeoutError:
            return "no answer"
        except OSError as error:
            return error.strerror or str(error)
        except InvalidURI:
            raise NoPush(f"{url} is no address of a WebSocket; say where push is with --stream-url") from None
        except RiderGone as gone:
            if gone.code in _BAD_TOKEN:
                raise _bad_key(url, gone.reason) from None
            if is_final(gone.code):
                raise NoPush(f"{url}: {gone}; is that the address of push? See --stream-url") from None
            return str(gone)
        finally:
            rider.drop()
        return ""

    with _said(f"push at {url}", quiet):
        await _until_it_answers(try_once, f"no push answers at {url}", "--stream-url", within_s)


async def reach_reads(url: str, token: str, within_s: float, quiet: bool = False) -> None:
    """Return once `GET /v1/nearby` is answered at `url`. Raises NoPush, BadKey."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Authorization": f"Bearer {token}"}) as session:

        async def try_once() -> str:
            try:
                async with session.get(f"{url}/v1/nearby", params=_ASKED, allow_redirects=False) as answer:
                    status = answer.status
            except aiohttp.InvalidURL:
                raise NoPush(f"{url} is no address; say where push's reads are with --reads-url") from None
            except (aiohttp.ClientError, OSError, TimeoutError):
                return "no answer"
            if status in (401, 403):
                raise _bad_key(url, "")
            if status != 200 and status not in _BUSY:
                raise NoPush(
                    f"{url} answers GET /v1/nearby with {status}; is that the address of push's reads? See --reads-url"
                )
            return "" if status == 200 else f"{status}"

        with _said(f"push's reads at {url}", quiet):
            await _until_it_answers(try_once, f"push's HTTP reads do not answer at {url}", "--reads-url", within_s)


async def _until_it_answers(try_once: Callable[[], Awaitable[str]], trouble: str, option: str, within_s: float) -> None:
    """Try until there is no trouble to tell of."""
    deadline_s = time.monotonic() + within_s
    while why := await try_once():
        if time.monotonic() >= deadline_s:
            raise NoPush(f"{trouble} ({why}); start the system (`make run`) or say where it is with {option}")
        await asyncio.sleep(ASK_AGAIN_AFTER_S)


def _bad_key(url: str, reason: str) -> BadKey:
    return BadKey(
        f"push at {url} refused the token{f' ({reason})' if reason else ''}; it must be signed with the key that the "
        "services have: set RIDESTREAM_JWT_KEY to it, or start this in the folder of their `ridestream run`"
    )


@contextmanager
def _said(whom: str, quiet: bool) -> Iterator[None]:
    """Say who is waited for, if it takes long enough to wonder."""
    waiting = asyncio.get_running_loop().call_later(SAY_AFTER_S, _say, f"waiting for {whom} ...", quiet)
    try:
        yield
    finally:
        waiting.cancel()


def _say(words: str, quiet: bool) -> None:
    if not quiet:
        print(words, file=sys.stderr, flush=True)
