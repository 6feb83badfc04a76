"""Riders on 4 KiB/s with a trip and a map of 500 cars: the trip comes through, all of it, and the present of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from ingest.trips import COMPLETE
from tests.pipeline.engines import EMBEDDED
from tests.pipeline.memory import resident_bytes, unsent_bytes
from tests.pipeline.narrow import NarrowWay
from tests.pipeline.system import MAX_CARS, System
from tests.pipeline.traffic import Traffic
from tests.pipeline.trip_log import log_of
from tests.pipeline.trip_rider import TripRider
from tests.pipeline.trips import Dispatcher, Fleet, Plan, Spot

pytestmark = [pytest.mark.pipeline, pytest.mark.chaos, pytest.mark.timeout(600)]

BYTES_PER_S = 4_096
SLOW_RIDERS = 10
#: As of any rider who stops reading (test_slow_rider.py).
MAX_BYTES_EACH = 256 * 1024
#: RIDESTREAM_TRIP_STALE_AFTER_MS: what waits on the way must not make a car that reports every second look stale.
STALE_AFTER_MS = 15_000
EVERY_S = 1.0
#: The fast rider is watched for so long before the slow ones come.
ALONE_S = 5.0
PLACE = Spot(41.1579, -8.6291)
#: The trip's stops: 18 waypoints, so that there is an event every second for 40 s.
STOPS = [PLACE.towards(0.0, 500.0 * number) for number in range(1, 21)]


def ages_ms(rider: TripRider, since_ms: float, until_ms: float) -> tuple[list[float], list[float]]:
    """How old a fix was when it came, and how old the one before it had become by then.

    A fix is told again when the state of the trip changes, because there is another way to go then.
    """
    first: dict[int, float] = {}
    for told in rider.told:
        if "car" in told.message and since_ms <= told.at_ms <= until_ms:
            first.setdefault(told.message["car"]["fix_time_ms"], told.at_ms)
    came = [(at_ms, fix_ms) for fix_ms, at_ms in first.items()]
    return [at - fix for at, fix in came], [at - fix for (_, fix), (at, _) in pairwise(came)]


def delays_ms(rider: TripRider, since_ms: float) -> list[float]:
    """How long each event took that happened since, to the rider's app."""
    return [
        told.at_ms - event["at_ms"]
        for told in rider.told
        for event in told.message.get("events", ())
        if event["at_ms"] >= since_ms
    ]


async def test_slow_riders_miss_no_event_and_see_the_present(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        system = stack.enter_context(System(EMBEDDED, tmp_path, lambda: "wall"))
        stack.enter_context(Traffic(system, *PLACE, MAX_CARS, EVERY_S))
        await watch(system, record_property)


async def watch(system: System, record_property: Callable[[str, object], None]) -> None:
    plan = Plan("t-1", "rider-1", ("driver-1",), PLACE, STOPS, None, 0.0)
    token = system.token("rider", plan.rider_id, "rider")
    nearby = {**PLACE._asdict(), "radius_m": 2_000.0, "limit": MAX_CARS}
    push_port, push_pid = int(system.env["RIDESTREAM_PUSH_PORT"]), system.push.pid
    async with AsyncExitStack() as stack:
        dispatcher = await stack.enter_async_context(Dispatcher(system))
        fleet = Fleet(dispatcher)
        car = fleet.car("driver-1", PLACE)
        driving = asyncio.create_task(fleet.run())
        stack.callback(driving.cancel)
        await dispatcher.create(plan.trip_id, "driver-1", plan.rider_id, STOPS)
        car.drive(STOPS[-1])

        wide = TripRider(system.rider_url, token, plan.trip_id, keeps=True, nearby=nearby)
        await stack.enter_async_context(wide.watching())
        await wide.until(lambda: wide.maps > 10 and wide.positions > 3, "the fast rider sees cars move")
        began_ms = time.time() * 1_000
        await asyncio.sleep(ALONE_S)
        joined_ms, before_bytes = time.time() * 1_000, resident_bytes(push_pid)

        way = await stack.enter_async_context(NarrowWay(system.rider_url, BYTES_PER_S))
        slow = [TripRider(way.url, token, plan.trip_id, keeps=True, nearby=nearby) for _ in range(SLOW_RIDERS)]
        for rider in slow:
            await stack.enter_async_context(rider.watching())
        resident_each = queue_each = 0.0
        for state in plan.states[1:-1]:
            await dispatcher.advance(plan.trip_id, state, "driver-1")
            await asyncio.sleep(EVERY_S)
            resident_each = max(resident_each, (resident_bytes(push_pid) - before_bytes) / SLOW_RIDERS)
            queue_each = max(queue_each, *unsent_bytes(push_port, way.ports).values())
        ended_ms, bytes_through = time.time() * 1_000, way.bytes_through
        await dispatcher.advance(plan.trip_id, COMPLETE, "driver-1")
        for rider in (wide, *slow):
            await rider.until(lambda rider=rider: rider.has_seen_the_end, lambda r=rider: f"{r.offset} events", 180)

    log = log_of(system, plan.trip_id)
    came, shown = zip(*(ages_ms(rider, joined_ms, ended_ms) for rider in slow), strict=True)
    event_delays = [delay for rider in slow for delay in delays_ms(rider, joined_ms)]
    alone, _ = ages_ms(wide, began_ms, joined_ms)
    beside, beside_shown = ages_ms(wide, joined_ms, ended_ms)
    worst_each = resident_each + queue_each
    figures = {
        "slow_riders": SLOW_RIDERS,
        "events": len(log),
        "bytes_per_s_each": round(bytes_through / SLOW_RIDERS / ((ended_ms - joined_ms) / 1_000)),
        "maps_dropped": sum(rider.maps_dropped for rider in slow),
        "connections": sum(rider.connections for rider in slow),
        "event_delay_ms_median": round(median(event_delays)),
        "event_delay_ms_worst": round(max(event_delays)),
        "position_age_ms_median": round(median(age for ages in came for age in ages)),
        "position_age_ms_worst": round(max(age for ages in came for age in ages)),
        "position_shown_age_ms_worst": round(max(age for ages in shown for age in ages)),
        "positions_each": round(sum(map(len, came)) / SLOW_RIDERS),
        "resident_each_kib": round(resident_each / 1_024, 1),
        "largest_send_queue_kib": round(queue_each / 1_024, 1),
        "fast_rider_age_ms_median_alone": round(median(alone)),
        "fast_rider_age_ms_median_beside": round(median(beside)),
        "fast_rider_age_ms_worst_alone": round(max(alone)),
        "fast_rider_age_ms_worst_beside": round(max(beside)),
        "fast_rider_event_delay_ms_worst": round(max(delays_ms(wide, joined_ms))),
    }
    for name, value in figures.items():
        record_property(name, value)

    for rider in (wide, *slow):
        assert rider.faults == []
        assert rider.events == log
    assert [event["state"] for event in log if event["event_id"][0] == "v"] == plan.states
    assert worst_each < MAX_BYTES_EACH
    assert max(age for ages in shown for age in ages) < STALE_AFTER_MS
    assert wide.connections == 1
    assert wide.maps_dropped == 0
    assert max(beside_shown) < STALE_AFTER_MS
