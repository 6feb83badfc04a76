"""Run one worker: Faust, the writer, the beat and the watchdog in one event loop, until SIGTERM or until one ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NoReturn

import faust
import redis.asyncio
import uvicorn
from faust.types import TP
from prometheus_client import REGISTRY

from infra.clock import Clock
from infra.health import Health
from ingest.events import PINGS_TOPIC, TRIP_EVENTS_TOPIC
from ingest.ledger import Ledger
from stream.app import build_app, publish, publish_rejected
from stream.freshness import freshness_of
from stream.gaps import GapWatch, first_from
from stream.handlers import FrameHandler
from stream.index import DriverIndex
from stream.metrics import Gauges, StreamMetrics
from stream.records import PartitionRecords
from stream.settings import StreamSettings
from stream.trip_handler import TripHandler
from stream.trip_index import TripIndex
from stream.trips import TripRules
from stream.watchdog import Watchdog
from stream.zone_records import ZoneRecords
from stream.zones import Zones

log = logging.getLogger("stream")

BEAT_S = 1.0
#: Asking Kafka for the ends of the logs costs it little, and lag is nobody's business more often than this.
LOOK_S = 2.0
#: A stopping worker waits this long for Redis to take what it holds, and for Kafka to let it leave the group. What
#: is not written then is not acknowledged: the next worker repeats it.
STOP_S = 8.0


class Stalled(Exception):
    """A part of the worker stands still or has ended; `args[0]` says which."""


class HealthServer(uvicorn.Server):
    """uvicorn's, beside something else in the loop: signals are the worker's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Worker:
    """Everything `python -m stream worker` runs."""

    def __init__(
        self,
        settings: StreamSettings,
        client: redis.asyncio.Redis,
        clock: Clock,
        listener: socket.socket,
        zones: Zones | None = None,
    ) -> None:
        """`listener` is bound: /livez, /readyz and /metrics are served on it."""
        self._settings, self._clock, self._listener = settings, clock, listener
        self.metrics = StreamMetrics(PINGS_TOPIC, REGISTRY)
        self.metrics.gauges = self._gauges
        self._trips = TripHandler(
            TripIndex(client, settings.trip_log_events),
            ZoneRecords(client),
            Ledger(client, settings.partitions),
            clock,
            _rules(settings),
            settings.partitions,
            zones,
            lambda *record: publish(self._app, *record),
            lambda *record: publish_rejected(self._app, *record),
            lambda partition: self._app.consumer.bounds(TP(TRIP_EVENTS_TOPIC, partition)),
            self.metrics,
            lambda: self._handler.wake(),
        )
        self._handler = FrameHandler(
            DriverIndex(client),
            PartitionRecords(client),
            clock,
            settings,
            lambda *record: publish_rejected(self._app, PINGS_TOPIC, *record),
            self.metrics,
            joins=self._trips,
        )
        self._gaps = GapWatch(partial(first_from, settings.kafka, within_s=settings.stall_after_s), self._end)
        self._app: faust.App = build_app(settings, self._handler, self._trips, self._gaps)
        self._watchdog = Watchdog(settings.stall_after_s)
        self._trip_watchdog = Watchdog(settings.stall_after_s)
        self._stopping = False

    async def run(self) -> int:
        """Work until told to stop. Returns the exit code: 0 after a clean stop, 1 when a part of us gave up."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        server = HealthServer(
            uvicorn.Config(Health(self.waiting_for), log_config=None, access_log=False, lifespan="off")
        )
        parts = {
            asyncio.create_task(told.wait(), name="signal"),
            asyncio.create_task(server.serve(sockets=[self._listener]), name="health server"),
            asyncio.create_task(self._handler.run(), name="writer"),
            asyncio.create_task(self._trips.run(), name="trip publisher"),
            asyncio.create_task(self._beat(), name="beat"),
            asyncio.create_task(self._watch(), name="watchdog"),
            asyncio.create_task(self._consume(), name="consumer"),
        }
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        if told.is_set():
            log.info("stopping")
        for part in ended:
            if part.get_name() != "signal":
                error = part.exception()
                log.error("%s ended", part.get_name(), exc_info=error if not isinstance(error, Stalled) else None,
                          extra={"reason": str(error)})  # fmt: skip
        await self._stop()
        server.should_exit = True
        return 0 if told.is_set() else 1

    async def _stop(self) -> None:
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S / 2):
                await self._handler.settle()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S / 2):
                await self._app.stop()

    async def _consume(self) -> None:
        await self._app.start()
        gc.collect()
        gc.freeze()
        await self._app.wait_until_stopped()
        raise Stalled("Faust has stopped")

    async def _beat(self) -> None:
        while True:
            await self._handler.beat()
            if self._app.crashed:
                raise Stalled(f"Faust has crashed: {self._app.crash_reason!r}")
            await asyncio.sleep(BEAT_S)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            # Kafka has no partition for a spare worker (`unassigned` in Faust): that is nothing to end for.
            if self._stopping or self._handler.redis_away is not None or self._app.unassigned:
                self._watchdog.pause()
                self._trip_watchdog.pause()
                continue
            missing = self.waiting_for()
            ends: dict[int, int] = {}
            trip_ends: dict[int, int] = {}
            trips = self._trips.next_offsets()
            if missing is None:
                try:
                    ends = await self._log_ends(PINGS_TOPIC, self._handler.partitions)
                    trip_ends = await self._log_ends(TRIP_EVENTS_TOPIC, trips)
                except Exception as error:
                    missing = "cannot ask Kafka for the ends of the logs"
                    log.warning(missing, extra={"error": repr(error)})
            if missing is not None:
                if self._watchdog.blind(time.monotonic(), assigned=self._handler.unassigned is None):
                    self._end("Kafka is away, or the consumer hangs", reason=missing)
                continue
            next_offsets = {number: at.next_offset for number, at in self._handler.partitions.items()}
            now_s = time.monotonic()
            stalled = self._watchdog.look(ends, next_offsets, now_s)
            if stalled is not None:
                self._end("the consumer has stalled", partition=stalled, lag=self._lag())
            stalled = self._trip_watchdog.look(trip_ends, trips, now_s)
            if stalled is not None:
                self._end("the consumer of trips has stalled", partition=stalled)

    async def _log_ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The end of each partition's log. Raises what the consumer raises, and TimeoutError."""
        async with asyncio.timeout(self._settings.stall_after_s):
            ends = await self._app.consumer.highwaters(*(TP(topic, number) for number in partitions))
        return {tp.partition: end for tp, end in ends.items()}

    def _end(self, why: str, **extra: object) -> NoReturn:
        # Whatever hangs may hang our stopping, too. Everything that was acknowledged is in Redis.
        log.error("%s; ending, to be started again", why, extra=extra)
        os._exit(1)

    def waiting_for(self) -> str | None:
        """None when frames are being taken and Redis answers, else what is missing."""
        if self._stopping:
            return "this worker is stopping"
        if self._handler.redis_away is not None:
            return "waiting for Redis"
        # A spare worker, for whom there is no partition, has nothing to do and is ready: a rollout waits for that.
        if self._handler.unassigned is None or self._app.unassigned:
            return None
        return "waiting for Kafka to assign partitions"

    def _lag(self) -> dict[int, int]:
        held = self._handler.partitions
        ends = self._watchdog.log_ends
        return {number: max(0, end - held[number].next_offset) for number, end in ends.items() if number in held}

    def _gauges(self) -> Gauges:
        now_ms, settings = self._clock.now_ms(), self._settings
        totals: Counter[str] = Counter()
        drivers = {"live": 0, "stale": 0}
        for at in self._handler.partitions.values():
            totals.update(at.totals)
            for place in at.places():
                freshness = freshness_of(place.fix.fix_time_ms, now_ms, settings)
                if freshness in drivers:
                    drivers[freshness] += 1
        trips = sum(joined.trips.active_count() for joined in self._trips.joined.values())
        return Gauges(dict(totals), drivers, self._lag(), trips, self._gaps.deleted)


def _rules(settings: StreamSettings) -> TripRules:
    return TripRules(
        settings.arrival_radius_m,
        settings.departure_radius_m,
        settings.detour_factor,
        settings.default_speed_mps,
        settings.max_speed_mps,
        settings.trip_stale_after_ms,
        settings.trip_kept_ms,
    )
