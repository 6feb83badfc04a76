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
class Joined:
    """What joins the pings of one partition. `zones` is None where no zones are set.

    `zone_events` are those of drivers without a trip, to be published, and `unsaved_zones` the drivers whose zones are
    to be saved. `synced` is False until Redis was asked what it keeps of the partition's zones, and `given_back` until
    ingest's ledger is known to have all of its trips.
    """

    trips: PartitionTrips
    zones: ZoneTracker | None
    recent: RecentPings = field(default_factory=RecentPings)
    zone_events: list[ZoneEvent] = field(default_factory=list)
    unsaved_zones: set[str] = field(default_factory=set)
    synced: bool = False
    given_back: bool = False

    def take(self, trip: Trip, now_ms: int) -> None:
        """A record of trip.events."""
        self.trips.take(trip, self.recent.of(trip.driver_id), now_ms)

    def observe(self, at: Partition, pings: Sequence[Ping], now_ms: int, found: Counter[str]) -> None:
        """The pings of a frame that `at` has just folded. Zone events are counted in `found`, by type."""
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
        if self.zones is None:
            return
        for driver_id in {ping.driver_id for ping in pings}:
            for event in self.zones.observe(driver_id, at.drivers[driver_id].live, now_ms):
                found[event.type] += 1
                if not self.trips.zone_event(driver_id, event.type, event.zone_id, event.fix_time_ms):
                    self.zone_events.append(event)
