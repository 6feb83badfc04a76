"""A town of trips, each with its driver and its rider, on one event loop in a thread of its own; and its reckoning."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

import uvloop

from tests.pipeline.polling import until
from tests.pipeline.system import System
from tests.pipeline.trip_log import log_of
from tests.pipeline.trip_rider import Cut, TripRider
from tests.pipeline.trips import Dispatcher, Fleet, Plan, ride


def cuts_of(plan: Plan, times: int, every_s: float) -> Iterator[Cut]:
    """Leave `times` times, some `every_s` apart: half abruptly, some before the trip was there, some for long."""
    rng = random.Random(f"{plan.trip_id}/cuts")
    for _ in range(times):
        after_s = rng.uniform(0, 0.02) if rng.random() < 0.15 else rng.uniform(0, 1.5 * every_s)
        yield Cut(after_s, rng.random() < 0.5, rng.uniform(0, every_s / 2))


class Town(threading.Thread):
    """Carries out all plans while it is entered. Read its riders' tallies from anywhere; they only grow."""

    def __init__(
        self,
        system: System,
        plans: list[Plan],
        cuts: Callable[[Plan], Iterator[Cut]],
        may_end: Callable[[Town, str], bool] = lambda town, trip_id: True,
    ) -> None:
        """Trips wait with their end for `may_end(town, trip_id)`: what is to befall them shall do so on the way."""
        super().__init__(daemon=True)
        self._may_end = partial(may_end, self)
        self._system, self.plans = system, plans
        self.dispatcher: Dispatcher
        self.riders = {
            plan.trip_id: TripRider(
                system.rider_url, system.token("rider", plan.rider_id, "rider"), plan.trip_id, cuts(plan)
            )
            for plan in plans
        }
        self.faults: list[str] = []
        self.done = 0
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.join(30)

    def run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        async with Dispatcher(self._system, random.Random("impatience")) as self.dispatcher:
            fleet = Fleet(self.dispatcher)
            tasks = [asyncio.create_task(self._note(fleet.run()))]
            tasks += [asyncio.create_task(self._note(self._watch(rider))) for rider in self.riders.values()]
            tasks += [asyncio.create_task(self._carry_out(plan, fleet)) for plan in self.plans]
            while not self._closing.is_set():
                await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_out(self, plan: Plan, fleet: Fleet) -> None:
        await self._note(ride(plan, self.dispatcher, fleet, self._may_end))
        self.done += 1

    async def _watch(self, rider: TripRider) -> None:
        while rider.trip_id not in self.dispatcher.acked:
            await asyncio.sleep(0.1)
        await rider.run()

    async def _note(self, doing: Any) -> None:
        try:
            await doing
        except Exception as fault:
            self.faults.append(f"{type(fault).__name__}: {fault}")

    # --- the reckoning ---------------------------------------------------------------------------------------------

    @property
    def said(self) -> int:
        """Commands that were acknowledged."""
        return sum(map(len, list(self.dispatcher.acked.values()))) if hasattr(self, "dispatcher") else 0

    @property
    def to_say(self) -> int:
        """Commands of all plans."""
        return sum(len(plan.states) for plan in self.plans)

    @property
    def under_way(self) -> int:
        """Trips that were ordered and are not over."""
        return len(self.dispatcher.acked) - self.done

    @property
    def left(self) -> int:
        """Times that riders left."""
        return sum(rider.left for rider in self.riders.values())

    @property
    def cut_offs(self) -> int:
        """Times that a rider's connection ended against its will."""
        return sum(rider.cut_offs for rider in self.riders.values())

    def await_the_end(self, within_s: float) -> None:
        """Wait until every plan is carried out and every rider knows the end."""

        def missing() -> str:
            behind = [rider.trip_id for rider in self.riders.values() if not (rider.stays and rider.has_seen_the_end)]
            faults = [fault for rider in self.riders.values() for fault in rider.faults]
            return f"{self.done} done, {len(behind)} riders behind: {behind[:5]}; {self.faults[:5]}; {faults[:5]}"

        until(lambda: self.done == len(self.plans) or self.faults, within_s, missing)
        assert self.faults == []
        until(lambda: all(r.stays and r.has_seen_the_end for r in self.riders.values()), within_s, missing)

    async def ledger(self) -> dict[str, dict[str, Any]]:
        """Every trip as ingest tells it."""
        async with Dispatcher(self._system) as dispatcher:
            return {plan.trip_id: await dispatcher.read(plan.trip_id) for plan in self.plans}

    def reckon(self) -> None:
        """Every rider, Redis, ingest's ledger and whoever was answered tell the same story, and it is the plan's."""
        ledger = asyncio.run(self.ledger())
        assert [fault for rider in self.riders.values() for fault in rider.faults] == []
        for plan in self.plans:
            log, trip, rider = log_of(self._system, plan.trip_id), ledger[plan.trip_id], self.riders[plan.trip_id]
            assert [event["state"] for event in trip["history"]] == plan.states, "each command was done once"
            for answer in self.dispatcher.acked[plan.trip_id]:
                assert answer["history"] == trip["history"][: answer["version"]], "what was acknowledged stays"
            assert rider.events == log, "the rider knows the log of Redis"
            assert [event["offset"] for event in log] == list(range(1, len(log) + 1))
            assert len({event["event_id"] for event in log}) == len(log)
            said = [{k: v for k, v in event.items() if k != "offset"} for event in log if event["event_id"][0] == "v"]
            assert said == trip["history"], "what people said is in the log, in order"
            assert rider.trip["version"] == trip["version"] == len(plan.states)

    def figures(self) -> dict[str, object]:
        """What happened, for the docs."""
        riders = list(self.riders.values())
        resumed_s = sorted(each for rider in riders for each in rider.resumed_s)
        outages_s = [each for rider in riders for each in rider.outages_s]
        return {
            "trips": len(riders),
            "events": sum(rider.offset for rider in riders),
            "found_by_stream": sum(event["event_id"][0] != "v" for rider in riders for event in rider.events),
            "riders_left": self.left,
            "riders_left_on_the_way": sum(rider.left_on_the_way for rider in riders),
            "riders_cut_off": sum(rider.cut_offs for rider in riders),
            "connections": sum(rider.connections for rider in riders),
            "unwelcome": sum(rider.unwelcome for rider in riders),
            "resumed_by_replay": sum(rider.replays for rider in riders),
            "events_replayed": sum(rider.replayed for rider in riders),
            "by_snapshot": sum(rider.snapshots for rider in riders),
            "positions": sum(rider.positions for rider in riders),
            "resume_s_median": round(resumed_s[len(resumed_s) // 2], 3),
            "resume_s_p99": round(resumed_s[len(resumed_s) * 99 // 100], 3),
            "resume_s_worst": round(resumed_s[-1], 3),
            "outage_s_worst": round(max(outages_s, default=0.0), 3),
            "commands": self.said,
            "sent_again_unanswered": self.dispatcher.unanswered,
            "sent_again_after_503": self.dispatcher.unavailable.total(),
            "sent_again_though_answered": self.dispatcher.repeated,
        }
