"""`python -m push` as a process: ready, drained by SIGTERM, and one clear line when it is misconfigured."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import redis.asyncio

from infra.local.engines import Engine, free_port
from ingest.trips import ARRIVED_AT_PICKUP, ENROUTE_TO_PICKUP
from push.protocol import DRAINING
from stream.trip_channels import TripWrite
from stream.trip_index import TripIndex
from tests.push.city import MANHATTAN
from tests.push.connection import RiderApp
from tests.push.node import HOST, KEY, token
from tests.push.trip_model import TripApp, moved, new_trip

ROOT = Path(__file__).resolve().parents[2]


async def start(engine: Engine, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "push",
        cwd=ROOT,
        env={**os.environ, "RIDESTREAM_REDIS": f"redis://{engine.address}/0", "RIDESTREAM_JWT_KEY": KEY, **env},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_it_becomes_ready_serves_and_drains(engine):
    port, http_port = free_port(), free_port()
    process = await start(
        engine,
        RIDESTREAM_PUSH_PORT=str(port),
        RIDESTREAM_PUSH_HTTP_PORT=str(http_port),
        RIDESTREAM_DRAIN_S="0.5",
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{http_port}", trust_env=False) as client:
            async with asyncio.timeout(60):
                while True:
                    try:
                        if (await client.get("/readyz")).status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    await asyncio.sleep(0.05)
            async with RiderApp(f"ws://{HOST}:{port}/v1/stream", token()) as app:
                await app.subscribe("map", MANHATTAN, radius_m=500)
                assert "ws_connections 1.0" in (await client.get("/metrics")).text
                process.send_signal(signal.SIGTERM)
                assert (await app.until_closed())[0] == DRAINING
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert process.stderr is not None
    log = (await process.stderr.read()).decode()
    assert '"event":"drained"' in log
    assert "Traceback" not in log
    assert token()[:20] not in log


async def test_a_rider_goes_on_where_it_was_after_push_was_killed(engine):
    port, http_port = free_port(), free_port()
    env = {"RIDESTREAM_PUSH_PORT": str(port), "RIDESTREAM_PUSH_HTTP_PORT": str(http_port)}
    app = TripApp()
    async with redis.asyncio.Redis.from_url(f"redis://{engine.address}/0") as client:
        index, trip = TripIndex(client), new_trip()
        for state in (ENROUTE_TO_PICKUP, ARRIVED_AT_PICKUP):
            await index.apply([TripWrite(trip, True, events=trip.history)])
            process = await start(engine, **env)
            try:
                async with connected(f"ws://{HOST}:{port}/v1/stream") as rider:
                    await rider.watch("t-1", app)
                    trip = moved(trip, state)
                    await index.apply([TripWrite(trip, True, events=trip.history)])
                    await rider.until(lambda state=state: app.trip["state"] == state)
                    trip = moved(trip, state, "while nobody hears it")
                    process.kill()
                    await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
    assert app.modes == ["snapshot", "replay"]
    assert [event["event_id"] for event in app.events] == ["v1", "v2", "v3", "v4"]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RiderApp]:
    """A rider, as soon as push listens."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with RiderApp(url, token()) as rider:
                    yield rider
                    return
            except OSError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"RIDESTREAM_JWT_KEY": ""}, "RIDESTREAM_JWT_KEY is not set"),
        ({"RIDESTREAM_CLOCK": "sundial"}, "RIDESTREAM_CLOCK must be"),
        ({"RIDESTREAM_TICK_MS": "-1"}, "RIDESTREAM_TICK_MS"),
        ({"RIDESTREAM_PUSH_PORT": "BUSY"}, "cannot listen on"),
        ({"RIDESTREAM_PUSH_HTTP_PORT": "BUSY"}, "cannot listen on"),
    ],
)
async def test_a_misconfiguration_is_one_line(engine, env, says):
    with socket.create_server((HOST, 0)) as taken:
        ports = {"RIDESTREAM_PUSH_PORT": str(free_port()), "RIDESTREAM_PUSH_HTTP_PORT": str(free_port())}
        busy = str(taken.getsockname()[1])
        process = await start(engine, **{**ports, **{k: busy if v == "BUSY" else v for k, v in env.items()}})
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    (line,) = errors.decode().splitlines()
    assert line.startswith("ridestream push: ")
    assert says in line
