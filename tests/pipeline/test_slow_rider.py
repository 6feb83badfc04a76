"""Riders who stop reading: each costs the server a bounded amount of memory, and nobody else notices them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.memory import processor_s, resident_bytes, unsent_bytes
from tests.pipeline.polling import until
from tests.pipeline.rider import Rider, StalledRider
from tests.pipeline.system import System
from tests.pipeline.traffic import Traffic

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(240)]

PLACE = (41.1579, -8.6291)
RADIUS_M = 2_000.0
CARS, EVERY_S = 200, 0.2
STALLED_RIDERS = 40
MAX_BYTES_EACH = 256 * 1024
#: Long enough for what is produced for each rider to be several times the bound: ~30 kB every 0.2 s.
MEASURED_S = 10.0


def _delays_ms(rider: Rider, since_s: float) -> list[float]:
    """From the fix to the rider's app, one for each update of a car."""
    return [at_s * 1_000 - fix_time_ms for at_s, _, _, fix_time_ms in list(rider.arrivals) if at_s >= since_s]


def _measure(rider: Rider, push_pid: int) -> tuple[float, float, int, float]:
    """The next seconds: median and 99th percentile of the delays in ms, how many there were, push's share of a core."""
    since_s, used_s = time.time(), processor_s(push_pid)
    until(lambda: time.time() - since_s >= MEASURED_S, MEASURED_S + 5, "time passes")
    delays_ms = _delays_ms(rider, since_s)
    share = (processor_s(push_pid) - used_s) / (time.time() - since_s)
    return median(delays_ms), quantiles(delays_ms, n=100)[98], len(delays_ms), share


@on_both_engines
def test_riders_who_stop_reading_cost_little_and_delay_nobody(
    pair: EnginePair, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        system = stack.enter_context(System(pair, tmp_path, lambda: "wall", stalled_after_s=600, max_age_ms=600_000))
        push_port, push_pid = int(system.env["RIDESTREAM_PUSH_PORT"]), system.push.pid
        rider = stack.enter_context(system.rider(*PLACE, RADIUS_M))
        traffic = stack.enter_context(Traffic(system, *PLACE, CARS, EVERY_S))
        until(lambda: len(rider.view) == CARS and rider.updates > 20, 30, "the rider sees all cars move")

        median_before_ms, p99_before_ms, moves_before, share_before = _measure(rider, push_pid)
        resident_before, bytes_before = resident_bytes(push_pid), rider.received_bytes
        stalled = [
            StalledRider(system.rider_url, system.token("rider", f"stalled-{number}", "rider"), *PLACE, RADIUS_M)
            for number in range(STALLED_RIDERS)
        ]
        for each in stalled:
            stack.callback(each.close)
        ports = {each.local_port for each in stalled}
        until(lambda: all(unsent_bytes(push_port, ports).values()), 30, "every stalled rider's queue holds something")
        median_with_ms, p99_with_ms, moves_with, share_with = _measure(rider, push_pid)

        produced = rider.received_bytes - bytes_before
        queues = unsent_bytes(push_port, ports)
        resident_each = (resident_bytes(push_pid) - resident_before) / STALLED_RIDERS
        worst_each = resident_each + max(queues.values())
        figures = {
            "stalled_riders": STALLED_RIDERS,
            "produced_for_each_kib": round(produced / 1_024),
            "resident_each_kib": round(resident_each / 1_024, 1),
            "largest_send_queue_kib": round(max(queues.values()) / 1_024, 1),
            "worst_each_kib": round(worst_each / 1_024, 1),
            "median_delay_ms_before_with": (round(median_before_ms, 1), round(median_with_ms, 1)),
            "p99_delay_ms_before_with": (round(p99_before_ms, 1), round(p99_with_ms, 1)),
            "moves_before_with": (moves_before, moves_with),
            "push_core_percent_before_with": (round(100 * share_before, 1), round(100 * share_with, 1)),
        }
        for name, value in figures.items():
            record_property(name, value)

        assert len(queues) == STALLED_RIDERS, "none of them was cut off"
        assert produced > 2 * MAX_BYTES_EACH, "more went out than may wait for one rider"
        assert worst_each < MAX_BYTES_EACH
        assert rider.faults == []
        # Both are the noise of one machine that also runs other tests. A server that waits for its slowest rider, or
        # queues for it, stands still here (and fails the line above).
        assert moves_with > moves_before / 3
        assert p99_with_ms < 3 * p99_before_ms + 100
        assert traffic.fault is None
