"""Carry out one run: send what a schedule gives, with riders watching, until it is done or somebody stops it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from rich.console import Console

from simulator.counts.tally import Tally
from simulator.fleet.fixes import Fix
from simulator.posting.departures import Departures
from simulator.posting.emitter import MOST_WAITING, Denied, Emitter
from simulator.riders.crowd import Crowd
from simulator.runs import progress
from simulator.runs.report import Outcome, as_json, as_text
from simulator.runs.wires import Manner, Wires
from simulator.traces.trace import Recording

#: After the last fix is out: what still waits gets this long (a broker may be restarting).
DRAIN_S = 30.0
#: After Ctrl-C the user waits for this at most.
INTERRUPTED_DRAIN_S = 5.0
#: The last moves need a moment to reach the riders before they leave.
RIDERS_STAY_S = 0.5


@dataclass(frozen=True, slots=True)
class FleetManner(Manner):
    """And with how many riders, and whether the summary is for a program."""

    riders: int
    json: bool


class Run:
    """One run. A schedule calls `send` with what is due, and may say `where` it is."""

    def __init__(self, wires: Wires, manner: FleetManner, random: Random, recording: Recording | None = None) -> None:
        self._wires, self._manner, self._recording = wires, manner, recording
        # Drawn even where not needed, so that options do not change what the seed gives the fleet.
        self._backoff, self._crowd_random = Random(random.getrandbits(64)), Random(random.getrandbits(64))  # noqa: S311
        self.tally, self._departures = Tally(), Departures()
        self._emitter: Emitter | None = None
        self._crowd: Crowd | None = None
        self.where = ""
        self.behind_ms = 0.0

    async def send(self, fixes: Sequence[Fix], behind_ms: float = 0.0, most_waiting: int = MOST_WAITING) -> None:
        """Send fixes that are due; `behind_ms` is how late they are. Waits while too many have no verdict yet."""
        assert self._emitter is not None
        if not fixes:
            return
        self.behind_ms = max(self.behind_ms, behind_ms)
        if self._recording is not None:
            self._recording.write(fixes)
        if self._crowd is not None:
            self._departures.note(fixes, time.monotonic())
        self._emitter.offer(fixes)
        await self._emitter.room(most_waiting)

    async def carry_out(self, schedule: Callable[[Run], Awaitable[None]], places: Sequence[tuple[float, float]]) -> int:
        """Run `schedule` with riders at some of `places`, print the summary, and return the exit code."""
        console = Console(stderr=True)
        started_s = time.monotonic()
        denied: str | None = None
        async with Emitter(
            self._wires.ingest_url,
            self._wires.fleet,
            self._backoff,
            self.tally,
            self._manner.lanes,
            self._manner.post_max,
        ) as self._emitter:
            if self._manner.riders:
                self._crowd = Crowd(
                    self._wires.stream_url,
                    lambda number: self._wires.rider(f"simulator-rider-{number}"),
                    self._manner.riders,
                    places,
                    self._crowd_random,
                    self._departures,
                )
                self._crowd.start()
            shown = asyncio.create_task(progress.show(self._line, console, self._manner.quiet))
            stops = Stops()
            try:
                await stops.wait_for(schedule(self))
                stops.rearm()
                await stops.wait_for(self._emitter.finish(INTERRUPTED_DRAIN_S if stops.asked else DRAIN_S))
                if self._crowd is not None and not stops.asked:
                    await stops.wait_for(asyncio.sleep(RIDERS_STAY_S))
            except Denied as refusal:
                denied = str(refusal)
            finally:
                stops.close()
                shown.cancel()
                await asyncio.gather(shown, return_exceptions=True)
                if self._crowd is not None:
                    await self._crowd.stop()
        outcome = Outcome(
            self.tally,
            time.monotonic() - started_s,
            self.behind_ms,
            stops.interrupted,
            denied,
            None if self._crowd is None else self._crowd.summary(),
        )
        print(json.dumps(as_json(outcome)) if self._manner.json else as_text(outcome), flush=True)
        return outcome.exit_code

    def _line(self) -> str:
        tally = self.tally
        p50, p99 = tally.ack_ms.percentile(50), tally.ack_ms.percentile(99)
        parts = [self.where] if self.where else []
        parts += [f"sent {tally.sent:,}", f"accepted {tally.accepted:,}", f"rejected {tally.rejected.total():,}"]
        if tally.failed:
            parts.append(f"failed {tally.failed.total():,}")
        parts.append(f"waiting {tally.unacknowledged:,}")
        if p50 is not None and p99 is not None:
            parts.append(f"acknowledged in p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        if tally.retries:
            parts.append(f"retries {tally.retries.total():,}")
        if self._crowd is not None:
            parts.append(f"riders {self._crowd.connected}")
            seen_ms = self._crowd.latency_ms.percentile(50)
            parts.append("no move seen yet" if seen_ms is None else f"moves seen after p50 {seen_ms:.0f} ms")
        return " · ".join(parts)


class Stops:
    """SIGINT and SIGTERM end what is being waited for: the first ends the schedule, the second the wait for answers."""

    def __init__(self) -> None:
        self._now = asyncio.Event()
        self.asked = self.interrupted = False
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stop, number)

    def close(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    def rearm(self) -> None:
        """The stop that was asked for has been obeyed; the next one counts anew."""
        self._now.clear()

    async def wait_for(self, work: Awaitable[None]) -> None:
        """Await `work`, or cancel it when a signal comes. Raises what it raises."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.create_task(self._now.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            task.cancel()
            await asyncio.gather(stopped, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await task

    def _stop(self, number: int) -> None:
        self.asked = True
        self.interrupted = self.interrupted or number == signal.SIGINT
        self._now.set()
