"""A driver's next trip, while the one before is still under way: its rider sees nothing of the other's ride."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import Ping
from ingest.trips import (
    CANCELED,
    COMPLETE,
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    NEW,
    STATE_CHANGED,
    ZONE_ENTERED,
    Place,
    Trip,
    TripEvent,
)
from stream.trip_channels import TripLog, TripOutcome, TripReply, TripWrite
from stream.trips import PartitionTrips
from tests.stream.trip_world import RULES

DRIVER = "driver-1"
START_MS = 1_000_000


def fix(second: int) -> Ping:
    return Ping(DRIVER, START_MS + second * 1_000, 40.7 + second * 1e-4, -74.0, START_MS + second * 1_000)


def trip(trip_id: str, *states: str) -> Trip:
    """After these states, one a version, from NEW on."""
    history = [
        TripEvent(f"v{at}", CREATED if at == 1 else STATE_CHANGED, START_MS, state, DRIVER, 1)
        for at, state in enumerate((NEW, *states), start=1)
    ]
    state, version = history[-1].state, len(history)
    return Trip(trip_id, version, 1, DRIVER, trip_id, state, Place(41.0, -74.0), Place(42.0, -74.0), START_MS, history)


class Town:
    """One partition, and everything it ever wrote of each trip."""

    def __init__(self) -> None:
        self.trips = PartitionTrips(0, 1, RULES)
        self.written: dict[str, list[TripWrite]] = {}
        #: The seconds of the track that Redis has of each trip.
        self.kept: dict[str, set[int]] = {}

    def take(self, one: Trip, recent: list[Ping] | None = None) -> None:
        self.trips.take(one, recent or [], START_MS)
        self.write()

    def drive(self, seconds: range) -> None:
        for second in seconds:
            self.trips.observe(DRIVER, fix(second), [fix(second)], fix(second).fix_time_ms)
            self.write()

    def write(self) -> None:
        for trip_id in self.trips.unsynced():
            self.trips.adopt(trip_id, TripLog(None))
        for write in self.trips.take_writes(START_MS):
            self.written.setdefault(write.trip.trip_id, []).append(write)
            kept = self.kept.setdefault(write.trip.trip_id, set())
            kept.difference_update((at_ms - START_MS) // 1_000 for at_ms in write.removed)
            kept.update((one.fix_time_ms - START_MS) // 1_000 for one in write.fixes)
            offset = (write.log_offset or 0) + len(write.events)
            self.trips.written(write, TripReply(TripOutcome.WRITTEN, offset, 0))

    def cars(self, trip_id: str) -> list[int]:
        """The seconds at which the trip's car was shown, in order."""
        found = [(write.car.fix_time_ms - START_MS) // 1_000 for write in self.written[trip_id] if write.car]
        return list(dict.fromkeys(found))

    def track(self, trip_id: str) -> list[int]:
        return sorted({(one.fix_time_ms - START_MS) // 1_000 for w in self.written[trip_id] for one in w.fixes})


def test_the_next_rider_sees_no_car_and_no_track_until_the_rider_before_is_out() -> None:
    town = Town()
    town.take(trip("before", ENROUTE_TO_PICKUP, ENROUTE_TO_DROPOFF))
    town.drive(range(1, 5))
    town.take(trip("next"), [fix(second) for second in range(1, 5)])
    town.drive(range(5, 9))
    assert town.cars("next") == town.track("next") == []
    town.take(trip("before", ENROUTE_TO_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE))
    town.drive(range(9, 12))
    # Late fixes of the ride before: they are in its track alone.
    town.trips.observe(DRIVER, fix(11), [fix(2), fix(6)], START_MS)
    town.write()
    assert town.cars("next") == town.track("next") == [9, 10, 11]
    assert town.cars("before") == list(range(1, 9))


def test_a_car_that_was_shown_to_the_next_rider_is_taken_away_when_another_trip_begins() -> None:
    town = Town()
    town.take(trip("next"))
    town.drive(range(1, 3))
    assert town.cars("next") == [1, 2]
    town.take(trip("before", ENROUTE_TO_PICKUP))
    town.drive(range(3, 6))
    assert town.written["next"][-1].car_gone
    assert town.cars("next") == [1, 2]


def test_who_calls_off_a_trip_that_waited_is_not_shown_the_ride_before_either() -> None:
    town = Town()
    town.take(at_second(trip("before", ENROUTE_TO_PICKUP), 1))
    town.take(trip("next"))
    town.drive(range(1, 6))
    town.take(at_second(trip("next", CANCELED), 6), [fix(second) for second in range(1, 6)])
    town.trips.observe(DRIVER, fix(7), [fix(second) for second in range(1, 8)], START_MS)
    town.write()
    assert town.cars("next") == town.track("next") == []


def test_two_riders_who_share_a_car_both_see_it() -> None:
    town = Town()
    town.take(trip("one", ENROUTE_TO_PICKUP, ENROUTE_TO_DROPOFF))
    town.take(trip("two", ENROUTE_TO_PICKUP))
    town.drive(range(1, 4))
    assert town.cars("one") == town.cars("two") == [1, 2, 3]


def test_zones_of_the_ride_before_are_not_told_to_the_next_rider() -> None:
    town = Town()
    town.take(trip("before", ENROUTE_TO_PICKUP))
    town.take(trip("next"))
    town.drive(range(1, 3))
    assert town.trips.zone_event(DRIVER, ZONE_ENTERED, "airport", fix(2).fix_time_ms)
    town.write()
    told = {
        trip_id: [e.zone_id for w in writes for e in w.events if e.zone_id] for trip_id, writes in town.written.items()
    }
    assert told == {"before": ["airport"], "next": []}


def at_second(one: Trip, *seconds: int) -> Trip:
    """The same trip, with the last things that happened to it at these seconds."""
    history = list(one.history)
    for back, second in enumerate(reversed(seconds), start=1):
        history[-back] = msgspec.structs.replace(history[-back], at_ms=START_MS + second * 1_000)
    return msgspec.structs.replace(one, history=history)


BEFORE = at_second(trip("before", ENROUTE_TO_PICKUP, ENROUTE_TO_DROPOFF), 1, 2)
OVER = at_second(trip("before", ENROUTE_TO_PICKUP, ENROUTE_TO_DROPOFF, COMPLETE), 1, 2, 20)


def test_what_a_silent_phone_sends_after_the_end_is_the_rider_befores_as_far_as_that_rode() -> None:
    town = Town()
    town.take(BEFORE)
    town.drive(range(1, 5))
    town.take(trip("next"), [fix(second) for second in range(1, 5)])
    town.drive(range(5, 9))
    town.take(OVER)
    # The phone was in a tunnel from 9 on.
    town.trips.observe(DRIVER, fix(22), [fix(second) for second in range(9, 23)], fix(22).fix_time_ms)
    town.write()
    assert town.cars("next") == [22]
    assert town.track("next") == [21, 22]
    assert town.track("before") == list(range(1, 21))


def test_a_worker_that_takes_over_after_the_end_knows_when_the_rider_before_was_in_the_car() -> None:
    town = Town()
    town.take(BEFORE)
    town.take(trip("next"))
    town.drive(range(1, 20))
    town.take(OVER)
    heir = Town()
    for _, value in town.trips.take_saves(START_MS + 30_000):
        assert value is not None
        heir.trips.restore(value)
    heir.write()
    heir.trips.observe(DRIVER, fix(22), [fix(second) for second in range(3, 23)], fix(22).fix_time_ms)
    heir.write()
    assert heir.track("next") == [21, 22]


def test_a_worker_that_reads_of_the_ride_before_too_late_takes_it_out_of_the_next_riders_track() -> None:
    town = Town()
    town.take(trip("next"))
    town.drive(range(1, 6))
    assert town.track("next") == [1, 2, 3, 4, 5]
    town.take(at_second(trip("before", ENROUTE_TO_PICKUP), 3))
    last = town.written["next"][-1]
    assert [(at_ms - START_MS) // 1_000 for at_ms in last.removed] == [3, 4, 5]
    assert last.car_gone


seconds = st.integers(1, 30)


@settings(max_examples=300)
@given(
    set_off=seconds,
    rode=st.integers(0, 20),
    gets_in=st.one_of(st.none(), seconds),
    fixes=st.permutations(range(1, 40)),
    chunk=st.integers(1, 40),
    told_at=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)),
    wiped_at=st.integers(0, 60),
)
def test_in_whatever_order_all_is_read_the_next_track_has_nothing_of_the_ride_before(
    set_off: int, rode: int, gets_in: int | None, fixes: list[int], chunk: int, told_at: tuple[int, ...], wiped_at: int
) -> None:
    over = set_off + rode
    records = [
        at_second(trip("before", ENROUTE_TO_PICKUP), set_off),
        at_second(trip("before", ENROUTE_TO_PICKUP, COMPLETE), set_off, over),
    ]
    if gets_in is not None:
        records.append(at_second(trip("next", ENROUTE_TO_PICKUP), gets_in))
    due = sorted(zip(told_at, records, strict=False), key=lambda each: each[0])
    town, recent = Town(), list[Ping]()
    town.take(trip("next"))
    newest = 0
    for number in range(0, 40, chunk):
        while due and due[0][0] <= number:
            town.take(due.pop(0)[1], recent)
        if number >= wiped_at:
            town.trips.rewrite()
        part = [fix(second) for second in fixes[number : number + chunk]]
        if part:
            newest = max(newest, *((one.fix_time_ms - START_MS) // 1_000 for one in part))
            recent += part
            town.trips.observe(DRIVER, fix(newest), part, fix(newest).fix_time_ms)
            town.write()
    for _, record in due:
        town.take(record, recent)
    kept = town.kept["next"]
    # Who gets in while the other is still in the car sees it from then on.
    theirs = set(range(set_off, over + 1 if gets_in is None else min(over + 1, max(gets_in, set_off))))
    if gets_in is not None and gets_in <= set_off:
        theirs = set()
    assert not kept & theirs
    if gets_in is not None:
        assert kept == set(range(1, 40)) - theirs
