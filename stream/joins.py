"""One partition's trips and zones in a worker's memory, fed with records and folded frames. Pure.

`Joins` is what the handler of frames asks of whoever joins them: `trip_handler.TripHandler`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingest.events import Ping
from ingest.trips import Trip
from stream.partitions import Partition
from stream.recent import RecentPings
from stream.trips import PartitionTrips
from stream.zone_tracker import ZoneEvent, ZoneTracker

#: A driver silent for a day is forgotten by the partition too (RIDESTREAM_FORGET_AFTER_MS). Event time.
ZONES_KEPT_MS = 24 * 3_600_000


class Joins(Protocol):
    """Hears of every frame, and writes what it made of it before the frame's positions are written."""

    def load(self, partition: int) -> None:
        """The partition is ours, and begins as it was last saved."""

    def keep(self, partitions: Iterable[int]) -> None:
        """These partitions are ours, and no others."""

    def lost(self, partition: int) -> None:
        """Redis was wiped: everything of the partition is to be written again."""

    def observe(self, at: Partition, pings: list[Ping]) -> None:
        """A frame was folded into `at`."""

    async def write(self) -> None:
        """Bring Redis up to everything that was heard before. Raises RedisError; then call it again."""

    async def beat(self) -> None:
        """Once a second. Raises RedisError."""


class Unjoined:
    """Joins nothing."""

    def load(self, partition: int) -> None: ...

    def keep(self, partitions: Iterable[int]) -> None: ...

    def lost(self, partition: int) -> None: ...

    def observe(self, at: Partition, pings: list[Ping]) -> None: ...

    async def write(self) -> None: ...

    async def beat(self) -> None: ...


@dataclass(slots=True)
class ZoneNews:
    """Zone events of drivers without a trip, to be published, and drivers' zones, to be saved after that."""

    events: list[ZoneEvent] = field(default_factory=list)
    saves: dict[str, bytes | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.saves)

    def add(self, later: ZoneNews) -> None:
        self.events += later.events
        self.saves |= later.saves


@dataclass(slots=True)
class Joined:
    """What joins the pings of one partition. `zones` is None where no zones are set.

    `found` are zone events of drivers without a trip. Those of trips are in the trips' logs; so that no driver's zones
    are saved before them, both are put `aside` before a write of the trips, and are `ready` for Kafka after it.
    `synced` is False until Redis was asked what it keeps of the partition's zones. `given_back` is False until ingest's
    ledger is known to have all trips up to the record before `read_until`, the log's end when that was asked.
    """

    trips: PartitionTrips
    zones: ZoneTracker | None
    recent: RecentPings = field(default_factory=RecentPings)
    found: list[ZoneEvent] = field(default_factory=list)
    aside: ZoneNews = field(default_factory=ZoneNews)
    ready: ZoneNews = field(default_factory=ZoneNews)
    synced: bool = False
    given_back: bool = False
    read_until: int | None = None
    next_offset: int = 0
    rewriting: bool = False
    rewrite_due: bool = False

    @property
    def is_rewritten(self) -> bool:
        """Whether Redis has everything again, since it was found to have lost something."""
        return not (self.rewriting or self.rewrite_due)

    @property
    def has_news(self) -> bool:
        """Whether Kafka is to be told something, or something is to be saved."""
        return self.trips.has_news or bool(self.ready)

    def lost(self) -> None:
        """Redis was wiped: everything is to be written again, and ingest's ledger to be given its trips."""
        self.trips.rewrite()
        if self.zones is not None:
            self.zones.rewrite()
        self.given_back, self.read_until, self.rewrite_due = False, None, True

    def before_write(self) -> None:
        """A write of the trips begins."""
        self.rewriting, self.rewrite_due = self.rewriting or self.rewrite_due, False
        if self.zones is not None:
            zones = self.zones
            self.aside.add(ZoneNews(self.found, {driver_id: zones.save(driver_id) for driver_id in zones.changed()}))
            self.found = []

    def after_write(self) -> None:
        """It has succeeded."""
        self.rewriting = False
        self.ready.add(self.aside)
        self.aside = ZoneNews()

    def take_ready(self) -> ZoneNews:
        """What is ready; it is the caller's now."""
        ready, self.ready = self.ready, ZoneNews()
        return ready

    def forget(self, now_ms: int) -> None:
        """Drop the trips that ended long ago, and the zones of drivers who are long silent."""
        self.trips.forget(now_ms)
        if self.zones is not None:
            self.zones.forget_before(now_ms - ZONES_KEPT_MS)

    def take(self, trip: Trip, now_ms: int) -> None:
        """A record of trip.events."""
        self.trips.take(trip, self.recent.of(trip.driver_id), now_ms)

    def observe(self, at: Partition, pings: Sequence[Ping], now_ms: int, counts: Counter[str]) -> None:
        """The pings of a frame that `at` has just folded. Zone events are counted in `counts`, by type."""
        self.recent.add(pings)
        asked = self.trips.drivers
        if not asked and self.zones is None:
            return
        theirs: dict[str, list[Ping]] = {}
        for ping in pings:
            if ping.driver_id in asked:
                theirs.setdefault(ping.driver_id, []).append(ping)
        for driver_id, fixes in theirs.items():
            self.trips.observe(driver_id, at.drivers[driver_id].live, fixes, now_ms)
        # Before Redis was asked who is in which zone, everybody would seem to enter.
        if self.zones is None or not self.synced:
            return
        for driver_id in {ping.driver_id for ping in pings}:
            for event in self.zones.observe(driver_id, at.drivers[driver_id].live, now_ms):
                counts[event.type] += 1
                if not self.trips.zone_event(driver_id, event.type, event.zone_id, event.fix_time_ms):
                    self.found.append(event)
