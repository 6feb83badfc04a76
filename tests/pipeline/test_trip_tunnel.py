"""A car comes out of a tunnel: what its phone kept there is told all at once, and is the past, not the present."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from infra.clock import ReplayClock
from infra.local.services import INGEST, Service
from ingest.trips import ARRIVED, ENROUTE_TO_PICKUP
from tests.oracle.distance import haversine_m
from tests.pipeline.engines import EMBEDDED
from tests.pipeline.system import System
from tests.pipeline.trip_rider import TripRider
from tests.pipeline.trips import Dispatcher, Spot

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]

#: Fixes that the phone kept, one a second, and the fresh one a second after the last of them.
KEPT = 200
START_MS = 1_767_225_600_000
END_MS = START_MS + 1_000 * (KEPT + 1)
#: The drive goes north, further in a second than a step must have to count (5 m), and less far than a car can.
STEP_M = 12.0
#: The pickup is where the car was in the middle of the tunnel, and the fresh fix is 1,200 m beyond it.
AT_PICKUP = 100
#: Every step counts, so the sum is exact but for its one decimal.
ROUNDED_M = 0.05 + 1e-6

ORDERS = ["first", "in the middle", "last"]


def spot(order: str, second: int) -> Spot:
    return Spot(41.0 + 0.1 * ORDERS.index(order), -8.6).towards(0.0, STEP_M * second)


def pings(order: str, seconds: list[int]) -> list[dict[str, Any]]:
    driver_id = f"driver-{ORDERS.index(order)}"
    return [
        {"driver_id": driver_id, "fix_time_ms": START_MS + 1_000 * at, **spot(order, at)._asdict()} for at in seconds
    ]


def requests_of(order: str) -> list[list[int]]:
    """The seconds of the fixes of each request: the kept ones shuffled, and the fresh one where `order` says.

    Two of them are of the pickup alone: whoever took what they say for the present would have seen the car arrive.
    """
    rng = random.Random(order)
    near = list(range(AT_PICKUP - 3, AT_PICKUP + 4))
    others = [at for at in range(1, KEPT + 1) if at not in near]
    rng.shuffle(others)
    requests = [near[:4], near[4:], *(others[at : at + 49] for at in range(0, len(others), 49))]
    for seconds in requests:
        rng.shuffle(seconds)
    requests.insert({"first": 0, "in the middle": 3, "last": len(requests)}[order], [KEPT + 1])
    return requests


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One trip for each order, ordered and begun when the car went into the tunnel. Now it is END_MS, for good."""
    logs = tmp_path_factory.mktemp("tunnel")
    with System(EMBEDDED, logs, lambda: ReplayClock(END_MS, END_MS, 1.0, 0)) as system:
        # Only ingest tells a trip when it begins: until that is done it lives in the past.
        system.ingest.stop()
        past = str(ReplayClock(START_MS, START_MS, 1.0, 0))
        with Service(INGEST, {**system.env, "RIDESTREAM_CLOCK": past}, logs, name="ingest-past") as ingest:
            ingest.wait_ready()
            asyncio.run(begin(system))
        system.ingest.start()
        system.ingest.wait_ready()
        yield system


async def begin(system: System) -> None:
    async with Dispatcher(system) as dispatcher:
        for number, order in enumerate(ORDERS):
            trip_id, driver_id = f"t-{number}", f"driver-{number}"
            stops = [spot(order, AT_PICKUP), spot(order, 500)]
            await dispatcher.create(trip_id, driver_id, f"rider-{number}", stops)
            await dispatcher.advance(trip_id, ENROUTE_TO_PICKUP, driver_id)
            await dispatcher.ping(*pings(order, [0]))


@pytest.mark.parametrize("order", ORDERS, ids=[f"the fresh fix {order}" for order in ORDERS])
async def test_old_fixes_join_the_track_and_the_distance_and_say_nothing_of_now(system: System, order: str) -> None:
    number = ORDERS.index(order)
    token = system.token("rider", f"rider-{number}", "rider")
    rider = TripRider(system.rider_url, token, f"t-{number}", keeps=True)
    driven = list(range(KEPT + 2))
    distance_m = sum(haversine_m(*before, *after) for before, after in pairwise(spot(order, at) for at in driven))

    def sees_all() -> bool:
        car = rider.car
        return car is not None and car["fix_time_ms"] == END_MS and abs(rider.distance_m - distance_m) <= ROUNDED_M

    async with Dispatcher(system) as dispatcher, rider.watching():
        await rider.until(lambda: rider.freshness == "lost", "the rider sees where the car went in")
        for seconds in requests_of(order):
            folded = system.verdicts().total()
            await dispatcher.ping(*pings(order, seconds))
            await asyncio.to_thread(system.await_folded, folded + len(seconds))
        await rider.until(sees_all, lambda: f"{rider.distance_m} of {distance_m} m, {rider.car}")

    assert rider.faults == []
    places = [told.message["car"]["lat"] for told in rider.told if told.message["type"] == "trip_position"]
    assert places == sorted(places), "the marker goes north, with the car"
    assert rider.freshness == "live"
    assert [event for event in rider.events if event["type"] == ARRIVED] == []
    assert rider.trip["state"] == ENROUTE_TO_PICKUP
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/geo+json"}
    async with httpx.AsyncClient(base_url=system.push.health_url, headers=headers, timeout=60) as client:
        track = (await client.get(f"/v1/trips/t-{number}/track")).raise_for_status().json()
    times_ms = [round(datetime.fromisoformat(text).timestamp() * 1_000) for text in track["properties"]["coordTimes"]]
    assert times_ms == [START_MS + 1_000 * at for at in driven]
    wanted = [(spot(order, at).lon, spot(order, at).lat) for at in driven]
    assert [tuple(place) for place in track["geometry"]["coordinates"]] == wanted
    assert track["properties"]["distance_m"] == pytest.approx(distance_m, abs=ROUNDED_M)
