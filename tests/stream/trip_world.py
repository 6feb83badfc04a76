"""Two partitions, their workers, Kafka and Redis as plain data, so that a test can deliver, repeat, crash and wipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.events import Ping, partition_of
from ingest.trips import Trip
from stream.positions import DriverState, unpack_fixes
from stream.trip_channels import TripWrite
from stream.trips import PartitionTrips, TripRules
from tests.oracle.trips import FakeRedis

PARTITIONS = 2
RULES = TripRules(
    arrival_radius_m=12,
    departure_radius_m=18,
    detour_factor=1.3,
    default_speed_mps=0.5,
    max_speed_mps=55,
    now_within_ms=15_000,
    kept_ms=86_400_000,
)


@dataclass(frozen=True)
class Message:
    """A Kafka record of one partition: a trip, or a frame of pings."""

    partition: int
    trip: Trip | None = None
    pings: tuple[Ping, ...] = ()


@dataclass
class Worker:
    """One partition's worker: memory, and what it has read without being done with it."""

    trips: PartitionTrips
    drivers: dict[str, DriverState] = field(default_factory=dict)
    recent: dict[str, list[Ping]] = field(default_factory=dict)
    unwritten: list[Message] = field(default_factory=list)
    unsaved: list[Message] = field(default_factory=list)


class World:
    """`published` is trip.updates; `excused` are fixes that no worker can join: their record came after a crash."""

    def __init__(self, trip_id: str, kept_events: int = 1_000) -> None:
        self.trip_id = trip_id
        self.redis = FakeRedis(kept_events)
        self.now_ms = 0
        self.tables: list[dict[str, bytes]] = [{} for _ in range(PARTITIONS)]
        self.folds: list[dict[str, bytes]] = [{} for _ in range(PARTITIONS)]
        self.queue: list[Message] = []
        self.published: list[tuple[int, str]] = []
        self.excused: set[tuple[str, int]] = set()
        self.unmarked: set[int] = set()
        self.rewriting: set[int] = set()
        self.haunted = False
        #: The assignment that the trip has in the end: each has a track of its own.
        self.last_assignment = 1
        self.zombies: list[Worker] = []
        self.workers = [self._begin(number) for number in range(PARTITIONS)]

    def deliver(self, message: Message) -> None:
        worker = self.workers[message.partition]
        if message.trip is not None:
            worker.trips.take(message.trip, worker.recent.get(message.trip.driver_id, []), self.now_ms)
        for driver_id in {ping.driver_id for ping in message.pings}:
            fixes = [ping for ping in message.pings if ping.driver_id == driver_id]
            self.now_ms = max(self.now_ms, *(ping.fix_time_ms for ping in fixes))
            for ping in fixes:
                if driver_id not in worker.drivers:
                    worker.drivers[driver_id] = DriverState((ping,), RULES.max_speed_mps)
                else:
                    worker.drivers[driver_id].fold(ping, RULES.max_speed_mps)
            worker.recent.setdefault(driver_id, []).extend(fixes)
            if driver_id in worker.trips.drivers:
                worker.trips.observe(driver_id, worker.drivers[driver_id].live, fixes, self.now_ms)
        worker.unwritten.append(message)

    def flush(self, number: int, fault: str = "") -> None:
        """Write to Redis. `fault`: Redis does not answer, `before` it did anything, or `after` it did."""
        worker = self.workers[number]
        if fault:
            self._write(worker.trips, fault)
            return
        rounds = 0
        while self._write(worker.trips):
            rounds += 1
            assert rounds <= 3, "writing again and again does not end"
        if number in self.rewriting:
            self.rewriting.remove(number)
            self.unmarked.discard(number)
        for driver_id, driver in worker.drivers.items():
            self.folds[number][driver_id] = driver.pack()
        worker.unsaved += [message for message in worker.unwritten if message.trip is not None]
        worker.unwritten.clear()

    def persist(self, number: int, steps: int = 1 << 30) -> None:
        """Publish and save; `steps` of it."""
        worker = self.workers[number]
        for trip_id, offset, event, _ in worker.trips.unpublished():
            if steps <= 0:
                return
            steps -= 1
            self.published.append((offset, event.event_id))
            worker.trips.published(trip_id, offset)
            self.redis.mark_published(trip_id, offset)
        for trip_id, value in worker.trips.take_saves(self.now_ms):
            if value is None:
                self.tables[number].pop(trip_id, None)
            else:
                self.tables[number][trip_id] = value
        worker.unsaved.clear()

    def crash(self, number: int, zombie: bool = False) -> None:
        """Begin again with what is in Kafka and Redis; a `zombie` does not know yet that it is over."""
        before = self.workers[number]
        if zombie:
            self.zombies.append(before)
        again = before.unsaved + before.unwritten
        self.workers[number] = self._begin(number)
        self.rewriting.discard(number)
        pending = {id(ping) for message in before.unwritten for ping in message.pings}
        kept = self.redis.trips.get(self.trip_id)
        for driver_id, fixes in before.recent.items():
            for ping in fixes:
                mine = kept is not None and kept.trip.assignment == self.last_assignment
                there = kept is not None and mine and ping.fix_time_ms in kept.track
                if id(ping) not in pending and not there:
                    self.excused.add((driver_id, ping.fix_time_ms))
        for message in again:
            self.deliver(message)

    def zombie_writes(self) -> None:
        """Whoever does not know yet that it is over writes once more, and then knows."""
        for worker in self.zombies:
            self._write(worker.trips)
            self.haunted = True
        self.zombies.clear()

    def wipe(self) -> None:
        """Redis forgets everything; nobody knows yet."""
        self.redis.trips.clear()
        self.unmarked, self.rewriting = set(range(PARTITIONS)), set()

    def notice(self) -> None:
        """The workers look whether Redis has their mark, which they leave there once everything is written."""
        for number in self.unmarked - self.rewriting:
            self.workers[number].trips.rewrite()
            self.rewriting.add(number)

    def settle(self) -> None:
        """Everything arrives, and everybody does what there is to do."""
        self.notice()
        self.zombies.clear()
        for message in self.queue:
            self.deliver(message)
        self.queue.clear()
        if self.haunted:
            # What somebody else wrote is seen at the next write, or by the next worker: let there be one.
            for number in range(PARTITIONS):
                self.flush(number)
                self.persist(number)
                self.crash(number)
        for _ in range(3):
            for number in range(PARTITIONS):
                self.flush(number)
                self.persist(number)

    def _begin(self, number: int) -> Worker:
        worker = Worker(PartitionTrips(number, PARTITIONS, RULES))
        for value in self.tables[number].values():
            worker.trips.restore(value)
        for driver_id, packed in self.folds[number].items():
            worker.drivers[driver_id] = DriverState(unpack_fixes(packed), RULES.max_speed_mps)
        return worker

    def _write(self, trips: PartitionTrips, fault: str = "") -> bool:
        for trip_id in trips.unsynced():
            trips.adopt(trip_id, self.redis.load(trip_id))
        writes: list[TripWrite] = trips.take_writes(self.now_ms)
        if fault == "before":
            trips.not_written(writes)
            return False
        replies = [self.redis.apply(write) for write in writes]
        if fault == "after":
            trips.not_written(writes)
            return False
        for write, reply in zip(writes, replies, strict=True):
            trips.written(write, reply)
        return bool(writes)


def driver_of(partition: int, number: int = 0) -> str:
    """The id of some driver of a partition."""
    ids = (f"d-{at}" for at in range(1_000))
    return [one for one in ids if partition_of(one, PARTITIONS) == partition][number]
