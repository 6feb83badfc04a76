"""Play a scenario against a running system: drive, dispatch, watch and judge, until it is over or somebody stops it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass

from rich.console import Console

from infra.clock import WallClock
from simulator.counts.latency import Latencies
from simulator.counts.tally import Tally
from simulator.demand.recorded import Recorded
from simulator.fleet.fixes import Fix
from simulator.fleet.fleet import PHASE_MS
from simulator.oracle.promises import Promises, Verdict
from simulator.phones.phones import Sending
from simulator.posting.clocks import WrongClock, ask_clock
from simulator.posting.departures import Departures
from simulator.posting.emitter import Denied, Emitter
from simulator.results import screen
from simulator.results.recorder import RECEIVED, Recorder
from simulator.results.scrape import Scraper
from simulator.riders.crowd import Crowd
from simulator.riders.rider import Rider
from simulator.roads.network import RoadNetwork
from simulator.runs.run import DRAIN_S, INTERRUPTED_DRAIN_S, Stops
from simulator.scenarios.scenario import Scenario
from simulator.staging.cast import Manner, Wires, new_crowd, new_emitter, new_errands
from simulator.staging.fingerprint import Fingerprint
from simulator.staging.garbage import seldom_collected
from simulator.staging.judgement import Judgement
from simulator.staging.seen import Seen
from simulator.staging.sides import beside, end
from simulator.staging.stage import Stage
from simulator.staging.town import Town
from simulator.staging.trip_errands import TripErrands
from simulator.traces.trace import Recording

wall_ms = WallClock().now_ms

#: A town that fell behind catches up in steps of this, so that a step stays short.
CATCH_UP_MS = 200
#: Nobody waits longer for the crowd to sit down; who does not sit by then comes later.
SEATED_WITHIN_S = 60.0
#: How often all screens are looked at, and levels are written down.
SWEEP_MS = 1_000
#: At the end, trips are read back and judged within this.
TRIPS_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    judgement: Judgement
    verdicts: list[Verdict]
    recorder: Recorder
    tally: Tally
    fingerprint: str
    interrupted: bool
    denied: str | None
    #: How late the schedule was at its latest: the simulator's own doing.
    behind_ms: float
    riders: dict[str, object]
    trips: dict[str, object]


class Play:
    """One run of a scenario."""

    def __init__(
        self,
        scenario: Scenario,
        roads: RoadNetwork,
        recorded: Sequence[Recorded],
        wires: Wires,
        manner: Manner,
        recording: Recording | None = None,
    ) -> None:
        self._scenario, self._roads, self._recorded = scenario, roads, recorded
        self._manner, self._recording = manner, recording
        self._wires, self._cast = wires, (scenario, wires, manner)
        self._town = Town(scenario, roads)
        self._tally, self._departures, self._fingerprint = Tally(), Departures(), Fingerprint()
        self._recorder = Recorder(0)
        self._judgement: Judgement
        self._emitter: Emitter
        self._crowd: Crowd | None = None
        self._errands: TripErrands | None = None
        self._behind_ms = self._driven_s = 0.0
        self._cars_told = 0

    async def run(self) -> Played:
        """Raises NoIngest, WrongClock, RequestsError, StageError, RiderGone, OSError."""
        system = await ask_clock(self._wires.ingest_url, self._manner.wait_s)
        if not isinstance(system.clock, WallClock):
            raise WrongClock("the system replays a trace (RIDESTREAM_CLOCK); start the services without it")
        promises = await self._promises()
        # Until there are verdicts: whoever asks twice to stop is to read them all the same.
        with closing(Stops()) as stops:
            denied = await self._play(stops, promises)
            if self._crowd is not None:
                # It says who could not come back only when it ends.
                self._judgement.crowd_ended(self._crowd, wall_ms())
            self._recorder.finish(wall_ms())
            return Played(
                self._judgement,
                self._judgement.verdicts(self._crowd, self._driven_s, stops.asked),
                self._recorder,
                self._tally,
                self._fingerprint.hexdigest(),
                stops.asked,
                denied,
                self._behind_ms,
                self._seen.riders(),
                self._seen.trips(),
            )

    async def _play(self, stops: Stops, promises: Callable[[int], Promises]) -> str | None:
        """From the first rider who sits down to the last verdict. Returns why ingest refused the token, if it did."""
        async with AsyncExitStack() as stack:
            self._emitter = await stack.enter_async_context(new_emitter(*self._cast, self._tally, self._heard))
            if self._scenario.riders.map:
                self._crowd = new_crowd(
                    *self._cast,
                    self._roads.positions,
                    self._departures,
                    on_latency=self._received,
                    on_broken=lambda *broken: self._judgement.nearby.broken(*broken),
                )
                self._crowd.start(begin=False)
                stack.push_async_callback(self._crowd.stop)
                await stops.wait_for(self._sit_down(self._crowd))
            start_ms = -(-wall_ms() // PHASE_MS) * PHASE_MS
            self._begin(start_ms, promises(start_ms))
            if self._errands is not None:
                await stack.enter_async_context(self._errands)
            if self._manner.stage_port is not None:
                stage = Stage(self._seen.scene, self._manner.stage_port, self._manner.stage_origins)
                await stage.start()
                stack.push_async_callback(stage.stop)
            with seldom_collected():
                sides = [asyncio.create_task(each) for each in self._sides()]
                stack.push_async_callback(end, sides)
                try:
                    await stops.wait_for(beside(sides, self._drive(start_ms)))
                    self._driven_s = time.time() - start_ms / 1_000
                    self._recorder.end_faults(self._driven_until_ms(start_ms, stops.asked))
                    stops.rearm()
                    await stops.wait_for(beside(sides, self._wind_up(stops.asked)))
                except Denied as refusal:
                    self._judgement.pings.end(wall_ms())
                    self._recorder.end_faults(wall_ms())
                    return str(refusal)
        return None

    # -- before -----------------------------------------------------------------------------------------------------

    async def _promises(self) -> Callable[[int], Promises]:
        """What push tells whoever connects, and the scenario's grace. Raises RiderGone, OSError."""
        async with Rider(self._wires.stream_url, self._wires.rider("simulator")) as rider:
            assert rider.welcome is not None
            stale_after_ms, gone_after_ms = rider.welcome.stale_after_ms, rider.welcome.gone_after_ms
        known = Promises()
        return lambda start_ms: Promises(
            stale_after_ms=stale_after_ms or known.stale_after_ms,
            gone_after_ms=gone_after_ms or known.gone_after_ms,
            settle_ms=round(self._scenario.bounds.settle_s * 1_000),
            start_ms=start_ms,
            sweep_ms=SWEEP_MS,
            alone=self._manner.alone,
        )

    async def _sit_down(self, crowd: Crowd) -> None:
        # Until the run begins there is nobody to judge.
        self._judgement = Judgement(self._town, self._scenario.bounds, Promises())
        await crowd.seated(SEATED_WITHIN_S)

    def _begin(self, start_ms: int, promises: Promises) -> None:
        scenario = self._scenario
        self._town.begin(start_ms)
        self._recorder = Recorder(start_ms)
        self._judgement = Judgement(self._town, scenario.bounds, promises)
        if scenario.demand is not None:
            self._errands = new_errands(*self._cast, self._judgement, start_ms)
            self._town.serve(self._errands, f"sim-{start_ms:x}", self._recorded, self._judgement.amiss)
        for fault in scenario.faults:
            self._mark(start_ms, fault.from_s, fault.until_s, fault.kind)
        for mishap in scenario.rider_faults:
            self._mark(start_ms, mishap.at_s, mishap.at_s + mishap.for_s, f"riders: {mishap.kind}")
        if self._crowd is not None:
            self._crowd.on_told = self._judgement.nearby.told
            self._crowd.begin()
        self._seen = Seen(
            scenario,
            self._town,
            self._tally,
            self._recorder,
            self._judgement,
            self._crowd,
            self._errands,
            self._emitter,
        )

    def _mark(self, start_ms: int, from_s: float, until_s: float | None, words: str) -> None:
        until_ms = None if until_s is None else start_ms + round(until_s * 1_000)
        self._recorder.fault(start_ms + round(from_s * 1_000), until_ms, words)

    # -- while it runs ----------------------------------------------------------------------------------------------

    async def _drive(self, start_ms: int) -> None:
        town, duration_s = self._town, self._scenario.duration_s
        # The start was rounded up: until then no phone has read anything.
        began_s = time.monotonic() + start_ms / 1_000 - time.time()
        end_ms = None if duration_s is None else start_ms + round(duration_s * 1_000)
        while end_ms is None or town.next_due_ms < end_ms:
            now_ms, due_ms = start_ms + int((time.monotonic() - began_s) * 1_000), town.next_due_ms
            if due_ms > now_ms:
                await asyncio.sleep((due_ms - now_ms) / 1_000)
                continue
            self._behind_ms = max(self._behind_ms, now_ms - due_ms)
            until_ms = min(now_ms, due_ms + CATCH_UP_MS)
            for sending in town.advance(until_ms if end_ms is None else min(until_ms, end_ms - 1)):
                self._send(sending, began_s + (sending.send_at_ms - start_ms) / 1_000)
            await self._emitter.room()
            # Whoever is behind must let the riders read all the same.
            await asyncio.sleep(0)

    def _driven_until_ms(self, start_ms: int, asked_to_stop: bool) -> int:
        # The last ping is due a little before the end.
        duration_s = self._scenario.duration_s
        return wall_ms() if asked_to_stop or duration_s is None else start_ms + round(duration_s * 1_000)

    def _send(self, sending: Sending, due_s: float) -> None:
        fix, at_ms = sending.fix, sending.send_at_ms
        self._fingerprint.add(sending, self._town.start_ms)
        self._departures.note((fix,), due_s)
        self._judgement.pings.posted(sending, at_ms)
        self._recorder.sent(1, at_ms)
        if self._recording is not None:
            self._recording.write((fix,))
        self._emitter.offer_due(fix, due_s)

    def _heard(self, verdicts: Sequence[tuple[Fix, str | None, float]]) -> None:
        at_ms, judged = wall_ms(), self._judgement.judged
        for fix, reason, _ in verdicts:
            judged(fix.driver_id, fix.fix_time_ms, reason, at_ms)
        rejected = sum(reason is not None for _, reason, _ in verdicts)
        self._recorder.acked([took_ms for *_, took_ms in verdicts], rejected, at_ms)

    def _received(self, counted: Latencies, at_ms: int) -> None:
        self._recorder.spread(RECEIVED, counted, at_ms)

    def _sides(self) -> list[Coroutine[None, None, None]]:
        return [
            self._sweep(),
            Scraper(self._wires.metrics_urls, self._recorder).run(),
            screen.show(self._seen.glance, Console(stderr=True), self._manner.quiet),
        ]

    async def _sweep(self) -> None:
        due_ms = self._recorder.start_ms - SWEEP_MS // 2
        while True:
            # In the middle of each second, so that each second of the report counts what was told in one.
            due_ms = max(due_ms + SWEEP_MS, wall_ms() - SWEEP_MS)
            await asyncio.sleep((due_ms - wall_ms()) / 1_000)
            crowd, dispatch = self._crowd, self._town.dispatch
            gauge = self._recorder.gauge
            # After the last ping all cars grow old, and that says nothing of the system.
            seats = crowd.seats if crowd is not None and not self._driven_s else []
            for _ in self._judgement.sweep(seats, wall_ms, self._recorder):
                # Pings fall due and riders read meanwhile.
                await asyncio.sleep(0)
            now_ms = wall_ms()
            gauge("waiting_pings", self._tally.unacknowledged, now_ms)
            if crowd is not None:
                self._recorder.told(crowd.cars_told - self._cars_told, now_ms)
                self._cars_told = crowd.cars_told
                gauge("riders", crowd.connected, now_ms)
            if dispatch is not None:
                gauge("trips_under_way", len(dispatch.under_way), now_ms)
                gauge("requests_waiting", len(dispatch.waiting), now_ms)

    async def _wind_up(self, asked_to_stop: bool) -> None:
        """Let go: verdicts on all pings, the last news at all riders, and every trip judged."""
        if self._town.dispatch is not None:
            self._town.dispatch.close()
        await self._emitter.finish(INTERRUPTED_DRAIN_S if asked_to_stop else DRAIN_S)
        self._judgement.pings.end(wall_ms())
        if not asked_to_stop:
            await asyncio.sleep(self._scenario.bounds.settle_s)
            if self._errands is not None:
                await self._errands.finish(TRIPS_WITHIN_S)
