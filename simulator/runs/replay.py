"""`replay`: a recorded trace is posted under the system's replay clock, each fix when the clock reaches its time.

See docs/decisions/0001-time-in-replays.md for why the clock is the system's and not ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from infra.clock import ReplayClock, WallClock
from simulator.fleet.fixes import Fix
from simulator.posting.clocks import SystemClock, WrongClock
from simulator.runs.reach import reach_ingest
from simulator.runs.run import FleetManner, Run
from simulator.runs.wires import Wires
from simulator.traces.timetable import (
    Timetable,
    clock_at_end,
    clock_for,
    misfit,
    repeated,
    restamped,
    shuffled,
    skew_ms,
)
from simulator.traces.trace import Trace

#: Fixes that fall due within this are sent together; at 600x it is 12 s of the trace.
TICK_S = 0.02
#: Fixes handed over at a time when they need not wait, or cannot keep up.
MOST_AT_ONCE = 2_000
#: A restamped trace begins this long from now.
RESTAMP_LEAD_MS = 1_000
#: Riders stand where vehicles were; so many places are enough to choose from.
PLACES = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for. `speed` None: the clock's own."""

    speed: float | None
    at_once: bool = False
    restamp: bool = False
    shuffle_seed: int | None = None
    repeat: int = 1
    start_in_s: float = 15.0


def setting(trace: Trace, plan: Plan) -> str:
    """The RIDESTREAM_CLOCK text under which `trace` can be replayed as planned."""
    if plan.at_once:
        return str(clock_at_end(trace))
    return str(clock_for(trace, plan.speed or 1.0, time.time_ns() // 1_000_000 + round(plan.start_in_s * 1_000)))


async def replay(trace: Trace, plan: Plan, random: Random, wires: Wires, manner: FleetManner) -> int:
    """Send the whole trace. Returns the exit code. Raises NoIngest, WrongClock."""
    system = await reach_ingest(wires.ingest_url, manner.wait_s, manner.quiet)
    if plan.restamp:
        clock, ahead_ms = _restamp(trace, system), 0.0
    else:
        why = misfit(system.clock, trace, plan.speed, plan.at_once)
        if why is not None or not isinstance(system.clock, ReplayClock):
            raise WrongClock(
                f"{why}. Start every service with\n  RIDESTREAM_CLOCK={setting(trace, plan)}\n"
                "(`--print-clock` prints one that starts later, `--start-in` says when), "
                "or replay the trace as if it happened now with --restamp"
            )
        clock = system.clock
        ahead_ms = skew_ms(clock, system.now_ms, system.asked_ms, system.answered_ms)
    places = [(fix.lat, fix.lon) for fix in trace.fixes[:: max(1, len(trace.fixes) // PLACES)]]
    places = [place for place in places if abs(place[0]) <= 90 and abs(place[1]) <= 180 and place != (0.0, 0.0)]
    fixes = repeated(trace.fixes, plan.repeat)
    # Shuffled by a generator of its own: what else is drawn must not change the order a seed gives.
    mixed = fixes if plan.shuffle_seed is None else shuffled(fixes, Random(plan.shuffle_seed))  # noqa: S311

    async def in_time(run: Run) -> None:
        table = Timetable(fixes, clock, ahead_ms)
        while not table.done:
            now_ms = time.time() * 1_000
            next_ms = table.next_wall_ms
            if next_ms > now_ms:
                run.where = _where(table.position, fixes, next_ms - now_ms)
                await asyncio.sleep(min(1.0, max(TICK_S, (next_ms - now_ms) / 1_000)))
                continue
            due = table.due(now_ms, MOST_AT_ONCE)
            run.where = _where(table.position - 1, fixes, 0.0)
            await run.send(due, now_ms - next_ms)
            # Long enough for answers to come in, and for the next fixes to gather into one post.
            await asyncio.sleep(0.0 if len(due) == MOST_AT_ONCE else TICK_S)

    async def at_once(run: Run) -> None:
        run.where = "waiting for the system's clock to pass the last fix"
        await asyncio.sleep(max(0.0, clock.wall_ms_of(trace.last_ms) + ahead_ms - time.time() * 1_000) / 1_000)
        for start in range(0, len(mixed), MOST_AT_ONCE):
            run.where = f"{start:,} of {len(mixed):,}"
            await run.send(mixed[start : start + MOST_AT_ONCE], most_waiting=2 * MOST_AT_ONCE)

    return await Run(wires, manner, random).carry_out(at_once if plan.at_once else in_time, places)


def _restamp(trace: Trace, system: SystemClock) -> ReplayClock:
    """Move the trace to now, and give the clock under which it then runs at its own speed: the wall's."""
    if not isinstance(system.clock, WallClock):
        raise WrongClock(
            "--restamp moves the trace to now, but the system replays a trace itself; "
            "start the services without RIDESTREAM_CLOCK, or replay without --restamp"
        )
    restamped(trace, time.time_ns() // 1_000_000 + RESTAMP_LEAD_MS)
    return clock_for(trace, 1.0, trace.first_ms)


def _where(position: int, fixes: Sequence[Fix], wait_ms: float) -> str:
    if position <= 0 and wait_ms > 0:
        return f"begins in {wait_ms / 1_000:.0f} s"
    at = datetime.fromtimestamp(fixes[max(0, position)].fix_time_ms / 1_000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}Z, {100 * position / len(fixes):.0f} %"
