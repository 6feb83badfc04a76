"""Whoever is to be met is asked before anything is sent, waited for with a word, and named when it does not answer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from infra.local.engines import free_port
from simulator.runs.reach import BadKey, NoPush, reach_push, reach_reads
from tests.simulator.fake_ingest import FakeIngest, fake_ingest
from tests.simulator.fake_push import fake_push
from tests.simulator.test_command_line import Ended, end, run, start

SMALL = ("quiet_night", "--drivers", "5", "--duration-s", "2", "--no-report", "--wait-s", "0.1")


@asynccontextmanager
async def reads(status: int = 200) -> AsyncIterator[str]:
    """Push's reads, as far as somebody asks for the cars near a place; yields their address."""

    async def nearby(request: web.Request) -> web.Response:
        assert {"lat", "lon", "radius_m"} <= request.query.keys()
        return web.json_response({"server_time_ms": 1, "cars": []}, status=status)

    app = web.Application()
    app.add_routes([web.get("/v1/nearby", nearby)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def complains(ended: Ended) -> str:
    """A line and exit code 2, and nothing was played."""
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


async def scenario(ingest: FakeIngest, push_url: str, reads_url: str) -> str:
    """What is said of a scenario that cannot be played; no ping was sent."""
    said = complains(
        await run("simulate", *SMALL, "--url", ingest.url, "--stream-url", push_url, "--reads-url", reads_url)
    )
    assert ingest.posts == []
    return said


async def test_a_push_that_does_not_run_is_named_with_its_address_and_what_to_do() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with fake_ingest() as ingest, fake_push() as push:
        said = await scenario(ingest, f"ws://{nobody}/v1/stream", f"http://{nobody}")
        assert said.startswith(f"ridestream simulate: no push answers at ws://{nobody}/v1/stream (")
        assert "make run" in said
        assert "--stream-url" in said
        said = await scenario(ingest, push.url, f"http://{nobody}")
        assert said.startswith(f"ridestream simulate: push's HTTP reads do not answer at http://{nobody} (")
        assert "--reads-url" in said


async def test_somebody_else_at_the_address_of_push_is_told_from_nobody() -> None:
    async with fake_ingest() as ingest, fake_push() as push, reads(404) as elsewhere:
        assert "is that the address of push? See --stream-url" in await scenario(
            ingest, ingest.url.replace("http", "ws"), elsewhere
        )
        assert f"{elsewhere} answers GET /v1/nearby with 404" in await scenario(ingest, push.url, elsewhere)
        assert "is no address of a WebSocket" in await scenario(ingest, "push:80", elsewhere)


async def test_a_wrong_key_is_told_as_that_with_the_setting_that_holds_it() -> None:
    async with fake_ingest() as ingest, fake_push() as push, reads(401) as refusing:
        assert "set RIDESTREAM_JWT_KEY to it" in await scenario(ingest, push.url, refusing)
        push.refusals = [(401, {})]
        said = await scenario(ingest, push.url, refusing)
        assert f"push at {push.url} refused the token" in said
        assert "set RIDESTREAM_JWT_KEY to it" in said
        with pytest.raises(BadKey):
            await reach_reads(refusing, "a token", 5.0)


async def test_a_push_that_is_busy_or_still_starting_is_waited_for() -> None:
    async with fake_push() as push, reads() as ready:
        push.refusals = [(503, {}), (503, {})]
        await reach_push(push.url, "a token", 30.0)
        assert push.refusals == []
        await reach_reads(ready, "a token", 30.0)
    with pytest.raises(NoPush, match="no push answers"):
        await reach_push(push.url, "a token", 0.0)


async def test_who_is_waited_for_is_said_once_and_at_once_unless_quiet() -> None:
    for options, said in (((), "waiting for ingest at {} ...\n"), (("--quiet",), "")):
        url = f"http://127.0.0.1:{free_port()}"
        for what in (("simulate", "quiet_night", "--no-report"), ("simulate", "--drivers", "5")):
            ended = await run(*what, "--wait-s", "1.5", "--url", url, *options)
            assert (ended.code, ended.out) == (2, "")
            assert ended.err.startswith(said.format(url) + "ridestream simulate: no ingest answers at " + url)
            assert ended.err.count("\n") == 1 + bool(said)


async def test_an_ingest_that_answers_is_not_worth_a_word() -> None:
    async with fake_ingest() as ingest:
        ended = await run("simulate", "--drivers", "5", "--duration-s", "1", "--url", ingest.url)
    assert (ended.code, ended.err) == (0, "")


async def test_ctrl_c_while_a_system_is_waited_for_says_that_nothing_was_judged() -> None:
    process = await start("simulate", "quiet_night", "--url", f"http://127.0.0.1:{free_port()}", "--wait-s", "60")
    assert process.stderr is not None
    assert (await asyncio.wait_for(process.stderr.readline(), 60)).startswith(b"waiting for ingest at ")
    process.send_signal(signal.SIGINT)
    ended = await end(process)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == "ridestream simulate: stopped before anything could be judged; there is no report\n"
