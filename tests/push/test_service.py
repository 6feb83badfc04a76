"""`python -m push` as a process: ready, drained by SIGTERM, and one clear line when it is misconfigured."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from infra.local.engines import Engine, free_port
from push.protocol import DRAINING
from tests.push.city import MANHATTAN
from tests.push.connection import RiderApp
from tests.push.node import HOST, KEY, token

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
            async with asyncio.timeout(30):
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
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert process.stderr is not None
    log = (await process.stderr.read()).decode()
    assert '"event":"drained"' in log
    assert "Traceback" not in log
    assert token()[:20] not in log


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
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    (line,) = errors.decode().splitlines()
    assert line.startswith("ridestream push: ")
    assert says in line
