"""Riders who stop reading: each costs the server a bounded amount of memory, and nobody else notices them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import pytest

from tests.pipeline.engines import EnginePair, on_both_engines
from tests.pipeline.memory import processor_s, resident_bytes, unsent_bytes
from tests.pipeline.polling import until
from tests.pipeline.rider import Rider, StalledRider
from tests.pipeline.system import System
from tests.pipeline.traffic import Traffic

pytestmark = [pytest.mark.pipeline, pytest.mark.chaos, pytest.mark.timeout(900)]

PLACE = (41.1579, -8.6291)
RADIUS_M = 2_000.0
CARS, EVERY_S = 200, 0.2
STALLED_RIDERS = 40
MAX_BYTES_EACH = 256 * 1024
#: Long enough for what is produced for each rider to be several times the bound: ~30 kB every 0.2 s.
MEASURED_S = 6.0
#: Windows without and with stalled riders take turns, so that what else this machine does falls on both alike: more of
#: them while one kind looks worse, because what stalled riders cause, they cause in every window.
TURNS, MOST_TURNS = 3, 9


class Window(NamedTuple):
    """What a rider who reads saw for MEASURED_S: its delays, how many moves, and push's share of a core."""

    median_ms: float
    p99_ms: float
    moves: int
    push_share: float


def _delays_ms(rider: Rider, since_s: float) -> list[float]:
    """From the fix to the rider's app, one for each update of a car."""
    return [at_s * 1_000 - fix_time_ms for at_s, _, _, fix_time_ms in list(rider.arrivals) if at_s >= since_s]


def _measure(rider: Rider, push_pid: int) -> Window:
    since_s, used_s = time.time(), processor_s(push_pid)
    until(lambda: time.time() - since_s >= MEASURED_S, MEASURED_S + 5, "time passes")
    delays_ms = _delays_ms(rider, since_s)
    share = (processor_s(push_pid) - used_s) / (time.time() - since_s)
    assert len(delays_ms) > 1, "nothing moved"
    return Window(median(delays_ms), quantiles(delays_ms, n=100)[98], len(delays_ms), share)


@contextmanager
def _stalled_riders(system: System, names: Iterator[int]) -> Iterator[set[int]]:
    """STALLED_RIDERS who subscribe and then never read; their local ports, once something is queued for each."""
    push_port = int(system.env["RIDESTREAM_PUSH_PORT"])
    with ExitStack() as stack:
        ports = set()
        for number in islice(names, STALLED_RIDERS):
            token = system.token("rider", f"stalled-{number}", "rider")
            stalled = StalledRider(system.rider_url, token, *PLACE, RADIUS_M)
            stack.callback(stalled.close)
            ports.add(stalled.local_port)
        until(lambda: all(unsent_bytes(push_port, ports).values()), 120, "every stalled rider's queue holds something")
        yield ports


def _delay_nobody(without: list[Window], beside: list[Window]) -> bool:
    """Whether the middle one of the windows beside stalled riders does not stand out of the middle one without them."""
    return (
        median(w.median_ms for w in beside) <= 1.2 * median(w.median_ms for w in without) + 10
        and median(w.p99_ms for w in beside) <= 1.2 * median(w.p99_ms for w in without) + 20
        and median(w.moves for w in beside) > 0.8 * median(w.moves for w in without)
    )


@on_both_engines
def test_riders_who_stop_reading_cost_little_and_delay_nobody(
    pair: EnginePair, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        system = stack.enter_context(
            System(pair, tmp_path, lambda: "wall", stalled_after_s=1_200, no_pong_after_s=1_200, max_age_ms=600_000)
        )
        push_port, push_pid = int(system.env["RIDESTREAM_PUSH_PORT"]), system.push.pid
        rider = stack.enter_context(system.rider(*PLACE, RADIUS_M))
        traffic = stack.enter_context(Traffic(system, *PLACE, CARS, EVERY_S))
        until(lambda: len(rider.view) == CARS and rider.updates > 20, 120, "the rider sees all cars move")

        names = count()
        without, beside = [], []
        resident_each = queue_each = 0.0
        produced = 0
        while len(beside) < TURNS or (len(beside) < MOST_TURNS and not _delay_nobody(without, beside)):
            without.append(_measure(rider, push_pid))
            resident_before, bytes_before = resident_bytes(push_pid), rider.received_bytes
            with _stalled_riders(system, names) as ports:
                beside.append(_measure(rider, push_pid))
                # On a slow machine it takes longer until more went out than may wait for one rider.
                enough = bytes_before + 2 * MAX_BYTES_EACH
                until(lambda enough=enough: rider.received_bytes > enough, 120, "not enough went out")
                queues = unsent_bytes(push_port, ports)
                assert len(queues) == STALLED_RIDERS, "none of them was cut off"
                # Later turns find memory that earlier ones left: the first tells what a stalled rider costs.
                resident_each = max(resident_each, (resident_bytes(push_pid) - resident_before) / STALLED_RIDERS)
                queue_each = max(queue_each, *queues.values())
                produced = max(produced, rider.received_bytes - bytes_before)

        worst_each = resident_each + queue_each
        figures = {
            "stalled_riders": STALLED_RIDERS,
            "produced_for_each_kib": round(produced / 1_024),
            "resident_each_kib": round(resident_each / 1_024, 1),
            "largest_send_queue_kib": round(queue_each / 1_024, 1),
            "worst_each_kib": round(worst_each / 1_024, 1),
        }
        for name, windows in (("without", without), ("beside", beside)):
            figures |= {
                f"median_delay_ms_{name}": [round(window.median_ms, 1) for window in windows],
                f"p99_delay_ms_{name}": [round(window.p99_ms, 1) for window in windows],
                f"moves_{name}": [window.moves for window in windows],
                f"push_core_percent_{name}": [round(100 * window.push_share, 1) for window in windows],
            }
        for name, value in figures.items():
            record_property(name, value)

        assert produced > 2 * MAX_BYTES_EACH, "more went out than may wait for one rider"
        assert worst_each < MAX_BYTES_EACH
        assert rider.faults == []
        # What other tests do on this machine is in both kinds of window, now in one and now in the other: it moves a
        # best or a worst window. A delay that stalled riders cause is in every window beside them, so in the middle.
        assert _delay_nobody(without, beside), figures
        assert traffic.fault is None
