"""`simulate`: a fleet drives and posts its fixes as they fall due, on the wall clock."""

from __future__ import annotations

import asyncio
import time
from random import Random

from infra.clock import WallClock
from simulator.fleet.fleet import PHASE_MS, Fleet
from simulator.posting.clocks import WrongClock
from simulator.roads.network import RoadNetwork
from simulator.runs.reach import reach_ingest
from simulator.runs.run import FleetManner, Run
from simulator.runs.wires import Wires
from simulator.traces.trace import Recording

#: A fleet that fell behind catches up in steps of this, so that a step stays short.
CATCH_UP_MS = 1_000


async def simulate(
    roads: RoadNetwork,
    fleet: Fleet,
    random: Random,
    duration_s: float | None,
    wires: Wires,
    manner: FleetManner,
    recording: Recording | None,
) -> int:
    """Run until `duration_s` is over, or until stopped. Returns the exit code. Raises NoIngest, WrongClock."""
    system = await reach_ingest(wires.ingest_url, manner.wait_s, manner.quiet)
    if not isinstance(system.clock, WallClock):
        raise WrongClock(
            "the system replays a trace (RIDESTREAM_CLOCK); a fleet drives now, so its fixes would be refused. "
            "Start the services without RIDESTREAM_CLOCK"
        )
    started_s = time.monotonic()
    # Whole phases, so that the drivers' reports fall on round tenths of a second.
    start_ms = time.time_ns() // 1_000_000 // PHASE_MS * PHASE_MS
    fleet.begin(start_ms)
    end_ms = None if duration_s is None else start_ms + round(duration_s * 1_000)

    async def drive(run: Run) -> None:
        while end_ms is None or fleet.next_due_ms < end_ms:
            now_ms = start_ms + int((time.monotonic() - started_s) * 1_000)
            due_ms = fleet.next_due_ms
            if due_ms > now_ms:
                await asyncio.sleep((due_ms - now_ms) / 1_000)
                continue
            until_ms = min(now_ms, due_ms + CATCH_UP_MS)
            fixes = fleet.fixes_until(until_ms if end_ms is None else min(until_ms, end_ms - 1))
            run.where = f"{len(fleet.drivers):,} drivers, {(now_ms - start_ms) / 1_000:.0f} s"
            await run.send(fixes, now_ms - due_ms)

    return await Run(wires, manner, random, recording).carry_out(drive, roads.positions)


def rehearse(fleet: Fleet, start_ms: int, duration_s: float, recording: Recording) -> int:
    """Drive without sending, as fast as it goes. The same seed and start record the same bytes. Returns the fixes."""
    recorded = 0
    fleet.begin(start_ms)
    end_ms = start_ms + round(duration_s * 1_000)
    while fleet.next_due_ms < end_ms:
        fixes = fleet.fixes_until(min(fleet.next_due_ms + CATCH_UP_MS, end_ms - 1))
        recorded += len(fixes)
        recording.write(fixes)
    return recorded
