"""Every rider's subscriptions: what they watch, what they are owed, and the turn that sends it to all of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Final, Protocol

from infra.clock import Clock
from push.actions import Close, close
from push.hub import Hub
from push.metrics import RiderMetrics
from push.mirror import Change, Mirror
from push.nearby import Query
from push.outbox import Outbox
from push.protocol import SHARE_ENDED
from push.rider import Rider
from push.settings import PushSettings
from push.ticks import Ticker
from push.trip_mirror import TripMirror
from push.trip_view import MODES
from push.trip_watch import Trips, TripWatch

log = logging.getLogger(__name__)

#: After this much flushing other tasks get a turn.
SLICE_S: Final = 0.01
#: Latencies sampled a turn: an observation costs ~1 us.
SAMPLES: Final = 8


class Regions(Protocol):
    """Whoever keeps the mirror's regions up to date: `region_feed.RegionFeed`."""

    def watch(self, region: int, /) -> None: ...

    def unwatch(self, region: int, /) -> None: ...

    def catch_up(self) -> None: ...


class Subscriptions:
    """`watch`, `look`, `unwatch` for one rider; `wake` when there may be something to tell all of them.

    Trips have their own, `trips`, and the same turn.
    """

    def __init__(
        self,
        settings: PushSettings,
        clock: Clock,
        mirror: Mirror,
        trips: TripMirror,
        metrics: RiderMetrics,
        end: Callable[[Rider, Close], None],
    ) -> None:
        """Call it with the event loop running. `end` closes a connection."""
        self._wait_s, self._clock, self._mirror, self._metrics = settings.snapshot_wait_s, clock, mirror, metrics
        self._hub, self._end = Hub(mirror), end
        self.trips = TripWatch(settings.snapshot_wait_s, trips, metrics)
        self._regions: Regions | None = None
        self._owners: dict[Outbox, Rider] = {}
        self._held: dict[Outbox, Rider] = {}
        self._owed: dict[Rider, None] = {}
        self._age = metrics.age.labels("pushed")
        self._ticker = Ticker(
            self._turn, settings.tick_ms / 1_000, settings.max_tick_ms / 1_000, metrics.turn.observe, self._catch_up
        )
        #: Messages by type, and `positions` and `conflated`, since the last turn.
        self.sent: Counter[str] = Counter()
        self.wake = self._ticker.wake
        self.stop = self._ticker.stop

    def _catch_up(self) -> None:
        if self._regions is not None:
            self._regions.catch_up()
        self.trips.catch_up()

    def follow(self, regions: Regions, trips: Trips) -> None:
        """From now on `regions` and `trips` hear what is looked at."""
        self._regions = regions
        self.trips.follow(trips)

    def watch(self, rider: Rider, sub: str, query: Query) -> None:
        """The rider subscribes: a snapshot is owed."""
        started_s = perf_counter()
        standing, fresh = self._hub.stand(query)
        outbox = rider.outboxes[sub] = Outbox(sub, standing)
        self._hub.join(outbox)
        self._owners[outbox] = rider
        self._metrics.subscriptions.inc()
        self._settle_on(rider, outbox, started_s, fresh, [])

    def look(self, rider: Rider, sub: str, query: Query) -> None:
        """The rider looks elsewhere: what enters and leaves is owed."""
        started_s = perf_counter()
        outbox = rider.outboxes[sub]
        fresh, unwatched = self._hub.move(outbox, query)
        self._settle_on(rider, outbox, started_s, fresh, unwatched)

    def unwatch(self, rider: Rider, sub: str) -> None:
        """Nothing more is owed of it."""
        if sub in rider.trips:
            self.trips.unwatch(rider, sub)
            return
        outbox = rider.outboxes.pop(sub)
        self._follow([], self._hub.leave(outbox))
        del self._owners[outbox]
        self._held.pop(outbox, None)
        self._metrics.subscriptions.dec()

    def forget(self, rider: Rider) -> None:
        """The rider is gone."""
        for sub in list(rider.outboxes):
            self.unwatch(rider, sub)
        self.trips.forget(rider)
        self._owed.pop(rider, None)

    def owe(self, rider: Rider) -> None:
        """The rider has something to take, and may be able to take it now."""
        self._owed[rider] = None
        self.wake()

    def look_at_time(self, now_s: float) -> None:
        """Call it now and then: cars turn stale and gone, and waits end, without any news."""
        self._metrics.queries.set(len(self._hub))
        self._metrics.drivers.set(len(self._mirror))
        self.trips.refuse(now_s)
        overdue = any(now_s >= (outbox.held_until_s or 0) for outbox in self._held)
        now_ms = self._clock.now_ms()
        if overdue or self._mirror.is_due(now_ms) or self.trips.is_due(now_ms):
            self.wake()

    def _settle_on(
        self, rider: Rider, outbox: Outbox, started_s: float, fresh: list[int], unwatched: list[int]
    ) -> None:
        self._metrics.nearby.observe(perf_counter() - started_s)
        self._follow(fresh, unwatched)
        # Say nothing of a place whose regions are still being read: an empty map would be a lie.
        if outbox.held_until_s is None and not self._is_loaded(outbox):
            outbox.held_until_s = rider.connection.loop.time() + self._wait_s
            self._held[outbox] = rider
        self.owe(rider)

    def _follow(self, fresh: list[int], unwatched: list[int]) -> None:
        assert self._regions is not None
        for region in fresh:
            self._regions.watch(region)
        for region in unwatched:
            self._regions.unwatch(region)

    def _is_loaded(self, outbox: Outbox) -> bool:
        return all(self._mirror.is_loaded(region) for region in outbox.standing.cover.regions)

    def _turn(self) -> Iterator[None]:
        """One tick: settle the mirror, bring the queries up to date, and send; yields between slices."""
        mirror = self._mirror
        changes = mirror.settle(self._clock.now_ms())
        for outbox in self._hub.evaluate(changes):
            self._owed[self._owners[outbox]] = None
        for rider in self.trips.settle(mirror.now_ms):
            self._owed[rider] = None
        self._release()
        owed, self._owed = self._owed, {}
        slice_ends_s = perf_counter() + SLICE_S
        for rider in owed:
            try:
                if rider.ladder is None:
                    rider.flush(mirror.now_ms, self.sent)
                else:
                    rider.flush_paced(mirror.now_ms, self.sent)
                    self.end_if_over(rider)
            except Exception:
                # A defect that one rider meets must not keep the others waiting.
                log.exception("a rider could not be told")
                rider.connection.transport.abort()
            if perf_counter() >= slice_ends_s:
                yield
                slice_ends_s = perf_counter() + SLICE_S
        self._publish(changes)

    def end_if_over(self, rider: Rider) -> None:
        """The holder of a share link who knows that it has ended is sent away."""
        if rider.is_over and not rider.buffered():
            self._end(rider, close(SHARE_ENDED))

    def _release(self) -> None:
        """Let go of subscriptions whose regions have been read, or that waited long enough."""
        for outbox, rider in list(self._held.items()):
            if rider.connection.loop.time() >= (outbox.held_until_s or 0) or self._is_loaded(outbox):
                del self._held[outbox]
                outbox.held_until_s = None
                self._owed[rider] = None

    def _publish(self, changes: list[Change]) -> None:
        metrics = self._metrics
        sent, self.sent = self.sent, Counter()
        metrics.positions.inc(sent.pop("positions", 0))
        metrics.conflated.inc(sent.pop("conflated", 0))
        metrics.trip_events.inc(sent.pop("events", 0))
        for mode in MODES:
            metrics.resumes.labels(mode).inc(sent.pop(f"resumed {mode}", 0))
        for type_, count in sent.items():
            metrics.messages.labels(type_).inc(count)
        # A car's first sight is no measure: it may have stood in the index for long.
        moved = [change.after for change in changes if change.after is not None and change.before is not None]
        wall_ms = time.time() * 1_000
        for marker in moved[:: max(1, len(moved) // SAMPLES)]:
            if not marker.stale:
                self._age.observe(max(0.0, wall_ms - marker.car.received_at_ms) / 1_000)
