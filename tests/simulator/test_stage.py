"""The stage: what a map on this machine reads of the run, and who may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from simulator.staging.stage import Counters, Scene, Stage, StageError, TripUnderWay, WaitingRequest

MAP = "http://127.0.0.1:8082"
SCENE = Scene(
    "Rush hour in Manhattan",
    1_767_225_602_100,
    Counters(drivers=2_000, riders=1_000, trips=12, pings_per_s=1_980.5, acked_p50_ms=4.5, unserved=1),
    [WaitingRequest(40.7549, -73.984, 3.5)],
    [
        TripUnderWay(
            "t-1", "sim-1", "ENROUTE_TO_PICKUP", approach="_p~iF~ps|U_ulLnnqC", share_url=f"{MAP}/share#a.b.c"
        ),
        TripUnderWay("t-2", "sim-2", "ENROUTE_TO_DROPOFF", route="_p~iF~ps|U_ulLnnqC"),
    ],
)


@asynccontextmanager
async def showing(scene: Scene = SCENE) -> AsyncIterator[tuple[Stage, aiohttp.ClientSession]]:
    stage = Stage(lambda: scene, 0, [MAP, "http://localhost:8082/"])
    await stage.start()
    try:
        async with aiohttp.ClientSession(stage.url) as http:
            yield stage, http
    finally:
        await stage.stop()


async def test_the_map_reads_requests_trips_and_counters_as_the_documentation_says() -> None:
    async with showing() as (_, http), http.get("/v1/stage", headers={"Origin": MAP}) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == MAP
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.json() == {
            "title": "Rush hour in Manhattan",
            "at_ms": 1_767_225_602_100,
            "counters": {
                "drivers": 2_000, "riders": 1_000, "trips": 12, "pings_per_s": 1_980.5, "acked_p50_ms": 4.5,
                "unserved": 1,
            },
            "requests": [{"lat": 40.7549, "lon": -73.984, "waiting_s": 3.5}],
            "trips": [
                {
                    "trip_id": "t-1", "driver_id": "sim-1", "state": "ENROUTE_TO_PICKUP",
                    "approach": "_p~iF~ps|U_ulLnnqC", "share_url": f"{MAP}/share#a.b.c",
                },
                {
                    "trip_id": "t-2", "driver_id": "sim-2", "state": "ENROUTE_TO_DROPOFF",
                    "route": "_p~iF~ps|U_ulLnnqC",
                },
            ],
        }  # fmt: skip


async def test_what_is_not_known_yet_is_left_out() -> None:
    quiet = Scene("Quiet night", 1, Counters(drivers=1, riders=0, trips=0, pings_per_s=0.0), [], [])
    async with showing(quiet) as (_, http), http.get("/v1/stage") as answer:
        body = await answer.json()
        assert body["counters"] == {"drivers": 1, "riders": 0, "trips": 0, "pings_per_s": 0.0}
        assert (body["requests"], body["trips"]) == ([], [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        # A foreign name that resolves to this machine: same origin to the browser, so it sends no Origin.
        {"Host": "evil.example:8083"},
    ],
)
async def test_a_foreign_page_reads_no_share_link(headers: dict[str, str]) -> None:
    async with showing() as (_, http), http.get("/v1/stage", headers=headers) as answer:
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "share" not in await answer.text()


async def test_there_is_nothing_else_to_read_and_nothing_to_change() -> None:
    async with showing() as (_, http):
        assert (await http.get("/")).status == 404
        assert (await http.post("/v1/stage")).status == 405


async def test_a_taken_port_is_said_in_one_line_that_names_the_setting() -> None:
    async with showing() as (stage, _):
        another = Stage(lambda: SCENE, int(stage.url.rpartition(":")[2]), [])
        with pytest.raises(StageError, match="RIDESTREAM_STAGE_PORT") as refused:
            await another.start()
        assert "\n" not in str(refused.value)
        await another.stop()


async def test_a_stopped_stage_answers_nobody_and_can_be_stopped_again() -> None:
    async with showing() as (stage, http):
        await stage.stop()
        await stage.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get("/v1/stage")
