"""Trip records and pings in any order, repeated, late, over crashes and two partitions: the log is the model's."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import Ping, partition_of
from ingest.transitions import Illegal, Wish, advance, allowed, cancel, create, reassign
from ingest.trips import (
    ARRIVED,
    COMPLETE,
    CREATED,
    ENROUTE_TO_DROPOFF,
    ENROUTE_TO_PICKUP,
    REASSIGNED,
    ZONE_ENTERED,
    Place,
    Trip,
)
from stream.positions import METRES_PER_DEGREE
from stream.trip_channels import ACTIVE_TTL_MS, TripWrite
from stream.trips import CHECKPOINT_MS, LATE_FIXES_MS, PartitionTrips
from tests.oracle.polylines import encode
from tests.oracle.trips import FakeRedis, check_log
from tests.stream.trip_world import PARTITIONS, RULES, Message, World, driver_of

TRIP = "t-1"
DRIVERS = [driver_of(0), driver_of(0, 1), driver_of(1)]
START_MS = 1_000_000


def place(north_m: float) -> Place:
    return Place(40.7 + north_m / METRES_PER_DEGREE, -74.0)


def ping(driver_id: str, at_ms: int, north_m: float, **more: Any) -> Ping:
    here = place(north_m)
    return Ping(driver_id, at_ms, here.lat, here.lon, at_ms, **more)


def ordered(driver_id: str = DRIVERS[0], waypoints: tuple[float, ...] = (), dropoff_m: float = 40) -> Trip:
    """A trip from 0 m, by way of some places, to `dropoff_m` north of there."""
    wish = Wish(driver_id, "r-1", place(0), place(dropoff_m), [place(at) for at in waypoints])
    return create(TRIP, wish, "dispatch", START_MS)


def forth(trip: Trip, at_ms: int | None = None) -> Trip:
    """The trip one state further."""
    after = advance(trip, allowed(trip)[0], "driver", trip.history[-1].at_ms + 1_000 if at_ms is None else at_ms)
    assert isinstance(after, Trip)
    return after


def given_to(trip: Trip, driver_id: str) -> Trip:
    after = reassign(trip, driver_id, "", "dispatch", trip.history[-1].at_ms + 1_000)
    assert isinstance(after, Trip)
    return after


@st.composite
def histories(draw: st.DrawFn) -> list[Trip]:
    """Every version of one trip, as people may make it."""
    trip = ordered(draw(st.sampled_from(DRIVERS)), tuple(draw(st.lists(st.sampled_from([0.0, 20.0]), max_size=2))))
    versions = [trip]
    steps = st.sampled_from(["forth"] * 7 + ["give", "give", "cancel"])
    for step in draw(st.lists(steps, min_size=3, max_size=12)):
        at_ms = versions[-1].history[-1].at_ms + draw(st.sampled_from([0, 1_000, 3_000, 8_000]))
        before = versions[-1]
        after: Trip | Illegal = Illegal("", ())
        if step == "give":
            after = reassign(before, draw(st.sampled_from(DRIVERS)), "", "dispatch", at_ms)
        elif step == "cancel":
            after = cancel(before, "dispatch", at_ms)
        elif allowed(before):
            after = advance(before, allowed(before)[0], "driver", at_ms)
        if isinstance(after, Trip):
            versions.append(after)
    return versions


@st.composite
def drives(draw: st.DrawFn) -> list[list[Ping]]:
    """Frames of pings of the drivers, who go from place to place, and send some fixes late and some twice."""
    sent, at_ms = [], START_MS - 2_000
    stays = st.tuples(st.sampled_from(DRIVERS), st.sampled_from([0.0, 10.0, 20.0, 40.0]), st.integers(1, 4))
    for driver_id, north_m, fixes in draw(st.lists(stays, min_size=4, max_size=12)):
        for _ in range(fixes):
            at_ms += 1_000
            late_ms = draw(st.sampled_from([0, 0, 0, 1_000, 7_000, 20_000]))
            frame = [ping(driver_id, at_ms, north_m)]
            if late_ms:
                frame.append(ping(driver_id, max(at_ms - late_ms, START_MS - 1_000), north_m + late_ms % 3))
            sent.append(frame)
    return sent


#: What happens next: mostly the oldest record arrives, or one of the next few, and it may come again.
operations = st.one_of(
    st.tuples(st.just("deliver"), st.just(0), st.just(False)),
    st.tuples(st.just("deliver"), st.just(0), st.just(False)),
    st.tuples(st.just("deliver"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("flush"), st.integers(0, 1), st.sampled_from(["", "", "before", "after"])),
    st.tuples(st.just("flush"), st.integers(0, 1), st.just("")),
    st.tuples(st.just("persist"), st.integers(0, 1), st.sampled_from([0, 1, 99])),
    st.tuples(st.just("crash"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("zombie"), st.just(0), st.just(0)),
)
wipes = st.one_of(
    operations, operations, operations, st.tuples(st.sampled_from(["wipe", "notice"]), st.just(0), st.just(0))
)


def run(world: World, versions: list[Trip], sent: list[list[Ping]], done: list[tuple[Any, ...]]) -> None:
    world.last_assignment = versions[-1].assignment
    messages = [
        (version.history[-1].at_ms, Message(partition, version))
        for version in versions
        for partition in sorted({partition_of(driver_id, PARTITIONS) for driver_id in version.drivers})
    ]
    messages += [
        (frame[0].fix_time_ms, Message(partition_of(frame[0].driver_id, PARTITIONS), pings=tuple(frame)))
        for frame in sent
    ]
    world.queue += [message for _, message in sorted(messages, key=lambda one: one[0])]
    for name, first, second in done:
        if name == "deliver" and world.queue:
            at = first % len(world.queue)
            world.deliver(world.queue[at] if second else world.queue.pop(at))
        elif name == "flush":
            world.flush(first, second)
        elif name == "persist":
            world.flush(first)
            world.persist(first, second)
        elif name == "crash":
            world.crash(first, zombie=second)
        elif name == "zombie":
            world.zombie_writes()
        elif name == "wipe":
            world.wipe()
        elif name == "notice":
            world.notice()
    world.settle()


def check_track_and_car(world: World, last: Trip, pings: list[Ping]) -> None:
    """The track is all fixes of the last driver that could be known; the car is where the newest says, or gone."""
    kept = world.redis.trips[TRIP]
    started_ms = next(one.at_ms for one in reversed(last.history) if one.type in (CREATED, REASSIGNED))
    until_ms = last.history[-1].at_ms if last.ended else 1 << 60
    theirs = {one.fix_time_ms for one in pings if one.driver_id == last.driver_id and one.fix_time_ms >= started_ms}
    lost = {at_ms for driver_id, at_ms in world.excused if driver_id == last.driver_id}
    assert set(kept.track) <= theirs
    assert {at_ms for at_ms in theirs if at_ms <= until_ms} - lost <= set(kept.track)
    if last.ended:
        assert kept.car is None
    elif theirs - lost:
        assert kept.car is not None
        assert kept.car.fix_time_ms >= max(theirs - lost)


@settings(max_examples=400, deadline=None)
@given(histories(), drives(), st.lists(operations, min_size=20, max_size=120))
def test_the_rider_reads_every_event_once_and_in_order_whatever_happens(
    versions: list[Trip], sent: list[list[Ping]], done: list[tuple[Any, ...]]
) -> None:
    world = World(TRIP)
    run(world, versions, sent, done)
    kept, pings = world.redis.trips[TRIP], [one for frame in sent for one in frame]
    assert kept.trip == versions[-1]
    check_log(kept.log, versions[-1], pings, RULES.arrival_radius_m)
    check_track_and_car(world, versions[-1], pings)
    # Kafka has every event too, each for the first time in the order of the log, and under its offset.
    assert list(dict.fromkeys(world.published)) == [(at, one.event_id) for at, one in enumerate(kept.log, start=1)]
    shown = [(car.assignment, car.fix_time_ms) for car in world.redis.cars if car is not None]
    assert shown == sorted(shown)


@settings(max_examples=150, deadline=None)
@given(histories(), drives(), st.lists(wipes, min_size=20, max_size=120))
def test_a_redis_that_forgets_everything_is_given_every_event_again_once(
    versions: list[Trip], sent: list[list[Ping]], done: list[tuple[Any, ...]]
) -> None:
    world = World(TRIP)
    run(world, versions, sent, done)
    kept, pings = world.redis.trips[TRIP], [one for frame in sent for one in frame]
    assert kept.trip == versions[-1]
    check_log(kept.log, versions[-1], pings, RULES.arrival_radius_m)
    assert {event.event_id for event in kept.log} <= {event_id for _, event_id in world.published}
    if not any(name == "crash" for name, *_ in done):
        check_track_and_car(world, versions[-1], pings)


@settings(max_examples=100, deadline=None)
@given(histories(), drives(), st.lists(operations, min_size=20, max_size=120), st.integers(1, 3))
def test_a_log_of_which_redis_keeps_little_still_has_every_event_once(
    versions: list[Trip], sent: list[list[Ping]], done: list[tuple[Any, ...]], kept_events: int
) -> None:
    world = World(TRIP, kept_events)
    run(world, versions, sent, done)
    kept = world.redis.trips[TRIP]
    check_log(kept.all, versions[-1], [one for frame in sent for one in frame], RULES.arrival_radius_m)


# -- what the join promises, one by one -----------------------------------------------------------------------------


class Alone(PartitionTrips):
    """Partition 0, with a Redis of its own."""

    def __init__(self, *versions: Trip) -> None:
        super().__init__(0, PARTITIONS, RULES)
        self.redis = FakeRedis()
        for version in versions:
            self.take(version, [], version.history[-1].at_ms)
            self.sync()

    def sync(self) -> None:
        for trip_id in self.unsynced():
            self.adopt(trip_id, self.redis.load(trip_id))

    def flush(self, now_ms: int = START_MS) -> TripWrite:
        """The one write there is, which Redis has now."""
        (write,) = self.take_writes(now_ms)
        self.written(write, self.redis.apply(write))
        return write


def sees(trips: PartitionTrips, *pings: Ping, now_ms: int | None = None) -> None:
    """Frames of one ping each, the driver's live fix being that ping."""
    for one in pings:
        trips.observe(one.driver_id, one, [one], one.fix_time_ms if now_ms is None else now_ms)


def enroute(waypoints: tuple[float, ...] = (), dropoff_m: float = 40, to: str = ENROUTE_TO_PICKUP) -> Trip:
    trip = ordered(waypoints=waypoints, dropoff_m=dropoff_m)
    while trip.state != to:
        trip = forth(trip)
    return trip


def arrivals(write: TripWrite) -> list[str]:
    return [event.event_id for event in write.events if event.type == ARRIVED]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([-60.0, -30.0, -13.0, 13.0, 25.0, 50.0]), min_size=1, max_size=15),
    st.one_of(st.just(0.0), st.floats(-12, 12), st.floats(-90_000, 90_000)),
    st.integers(-2, 17),
    st.one_of(st.none(), st.floats(0, 10_000)),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=20),
)
def test_one_bad_ping_never_fires_an_arrival_whatever_it_is(
    honest: list[float], bad_m: float, at: int, accuracy_m: float | None, frames: list[tuple[int, int]]
) -> None:
    world = World(TRIP)
    trip = enroute()
    world.deliver(Message(0, trip))
    world.flush(0)
    begin_ms = trip.history[-1].at_ms + 10_000
    pings = [ping(DRIVERS[0], begin_ms + step * 3_000, north_m) for step, north_m in enumerate(honest)]
    pings.insert(max(at, 0), ping(DRIVERS[0], begin_ms + at * 3_000 - 1_500, bad_m, accuracy_m=accuracy_m))
    rest = pings
    while rest:
        size = frames[len(rest) % len(frames)][1] if frames else 1
        world.deliver(Message(0, pings=tuple(rest[:size])))
        rest = rest[size:]
    for first, size in frames:
        # Any of it comes again.
        world.deliver(Message(0, pings=tuple(pings[first : first + size])))
    world.flush(0)
    assert ARRIVED not in [event.type for event in world.redis.trips[TRIP].log]


def test_after_a_tunnel_one_fresh_ping_and_two_hundred_old_ones_move_nothing_back_and_miss_nothing() -> None:
    trips = Alone(enroute(dropoff_m=9_000, to=ENROUTE_TO_DROPOFF))
    trips.flush()
    begin_ms = START_MS + 60_000
    drive = [ping(DRIVERS[0], begin_ms + at * 1_000, 30.0 + at * 40) for at in range(201)]
    sees(trips, drive[200])
    car = trips.flush().car
    old = drive[:200]
    random.Random(7).shuffle(old)
    for one in old:
        trips.observe(DRIVERS[0], drive[200], [one], drive[200].fix_time_ms)
    write = trips.flush()
    assert car is not None
    assert write.car is not None
    assert (write.car.fix_time_ms, write.car.lat) == (car.fix_time_ms, car.lat)
    assert write.events == []
    assert [fix.fix_time_ms for fix in write.fixes] == sorted(one.fix_time_ms for one in old)
    assert write.car.distance_m == pytest.approx(200 * 40, abs=1)


def test_two_fixes_at_the_stop_that_are_read_too_late_are_no_arrival() -> None:
    trips = Alone(enroute())
    late = [ping(DRIVERS[0], START_MS + 5_000 + at, 0) for at in (0, 1_000)]
    sees(trips, *late, now_ms=late[1].fix_time_ms + RULES.now_within_ms + 1)
    assert arrivals(trips.flush()) == []
    trips = Alone(enroute())
    sees(trips, *late, now_ms=late[0].fix_time_ms + RULES.now_within_ms)
    assert arrivals(trips.flush()) == ["a1:arrived:pickup"]


def test_a_car_arrives_at_every_stop_once_while_it_is_on_its_way_there() -> None:
    trip = ordered(waypoints=(20.0, 50.0), dropoff_m=80)
    trips = Alone(trip)
    at_ms = START_MS
    stops = {"ENROUTE_TO_PICKUP": 0.0, "ENROUTE_TO_DROPOFF": 80.0}
    waypoints = iter((20.0, 50.0))
    while allowed(trip):
        trip = forth(trip, at_ms)
        trips.take(trip, [], at_ms)
        if trip.state == "ENROUTE_TO_INTERMEDIATE_DESTINATION":
            stops[trip.state] = next(waypoints)
        for _ in range(5):
            at_ms += 1_000
            sees(trips, ping(DRIVERS[0], at_ms, stops.get(trip.state, 0.0)))
        trips.flush()
    found = [event.event_id for event in trips.redis.trips[TRIP].log if event.type == ARRIVED]
    assert found == ["a1:arrived:pickup", "a1:arrived:waypoint:0", "a1:arrived:waypoint:1", "a1:arrived:dropoff"]


@pytest.mark.parametrize("late_half", [0, 1])
def test_a_reassignment_is_right_whichever_half_comes_first(late_half: int) -> None:
    before = forth(ordered(DRIVERS[0]))
    after = given_to(before, DRIVERS[2])
    world = World(TRIP)
    world.deliver(Message(0, before))
    world.deliver(Message(0, pings=(ping(DRIVERS[0], START_MS + 1_500, 300),)))
    world.flush(0)
    kept = world.redis.trips[TRIP]
    assert kept.car is not None
    assert kept.car.driver_id == DRIVERS[0]
    halves = [Message(0, after), Message(1, after)]
    theirs = Message(1, pings=(ping(DRIVERS[2], START_MS + 5_000, 200),))
    world.deliver(halves[1 - late_half])
    world.deliver(theirs)
    world.deliver(Message(0, pings=(ping(DRIVERS[0], START_MS + 6_000, 250),)))
    for number in (late_half, 1 - late_half):
        world.flush(number)
    world.deliver(halves[late_half])
    for number in (0, 1):
        world.flush(number)
        world.persist(number)
    assert kept.car is not None
    assert (kept.car.driver_id, kept.car.assignment, kept.car.fix_time_ms) == (DRIVERS[2], 2, START_MS + 5_000)
    assert list(kept.track) == [START_MS + 5_000]
    assert kept.log == after.history
    assert world.published == [(1, "v1"), (2, "v2"), (3, "v3")]
    assert DRIVERS[0] not in world.workers[0].trips.drivers
    # A worker asks Redis for no trip that is not its own.
    again = Alone()
    again.restore(world.tables[0][TRIP])
    assert again.unsynced() == []
    assert (world.workers[0].trips.active_count(), world.workers[1].trips.active_count()) == (0, 1)


def test_fixes_that_a_phone_sends_after_the_end_of_the_trip_join_its_track() -> None:
    trip = enroute(to=COMPLETE)
    trips = Alone(trip)
    write = trips.flush()
    assert write.car_gone
    end_ms = trip.history[-1].at_ms
    sees(trips, ping(DRIVERS[0], end_ms - 500, 30), ping(DRIVERS[0], end_ms + 500, 30))
    late = trips.flush()
    assert (late.car, [fix.fix_time_ms for fix in late.fixes]) == (None, [end_ms - 500])
    trips.forget(end_ms + LATE_FIXES_MS)
    assert DRIVERS[0] not in trips.drivers


def test_a_trip_is_forgotten_some_time_after_its_end_and_not_brought_back_by_an_old_record() -> None:
    trip = enroute(to=COMPLETE)
    trips = Alone(trip)
    end_ms = trip.history[-1].at_ms
    assert trips.flush(end_ms + 1_000).ttl_ms == RULES.kept_ms - 1_000
    assert [trip_id for trip_id, value in trips.take_saves(end_ms) if value] == [TRIP]
    trips.forget(end_ms + RULES.kept_ms - 1)
    assert list(trips.trips()) == [trip]
    trips.forget(end_ms + RULES.kept_ms)
    assert list(trips.trips()) == []
    assert trips.take_saves(end_ms + RULES.kept_ms) == [(TRIP, None)]
    trips.take(trip, [], end_ms + RULES.kept_ms)
    assert list(trips.trips()) == []
    assert trips.take_saves(end_ms + RULES.kept_ms) == []


def test_a_trip_whose_end_is_never_told_is_forgotten_when_nothing_is_heard_of_it() -> None:
    trips = Alone(enroute())
    sees(trips, ping(DRIVERS[0], START_MS + 50_000, 100))
    trips.forget(START_MS + ACTIVE_TTL_MS)
    assert trips.active_count() == 1
    trips.forget(START_MS + 50_000 + ACTIVE_TTL_MS)
    assert (trips.active_count(), trips.drivers, trips.unsynced(), trips.take_writes(0)) == (0, {}, [], [])


def test_zones_are_told_of_active_trips_only_and_once() -> None:
    trips = Alone(enroute())
    assert not trips.zone_event(DRIVERS[1], ZONE_ENTERED, "airport", START_MS)
    assert trips.zone_event(DRIVERS[0], ZONE_ENTERED, "airport", START_MS + 7)
    assert trips.zone_event(DRIVERS[0], ZONE_ENTERED, "airport", START_MS + 7)
    (found,) = [event for event in trips.flush().events if event.zone_id]
    assert (found.event_id, found.zone_id, found.at_ms) == (f"a1:enter:airport:{START_MS + 7}", "airport", START_MS + 7)
    trips.take(cancelled(trips), [], START_MS)
    assert not trips.zone_event(DRIVERS[0], ZONE_ENTERED, "airport", START_MS + 9)


def cancelled(trips: PartitionTrips) -> Trip:
    (trip,) = trips.trips()
    after = cancel(trip, "dispatch", START_MS + 9_000)
    assert isinstance(after, Trip)
    return after


def test_what_happens_is_saved_at_once_and_progress_now_and_then() -> None:
    trips = Alone(enroute())
    trips.flush()
    assert len(trips.take_saves(START_MS)) == 1
    sees(trips, ping(DRIVERS[0], START_MS + 3_000, 300))
    assert trips.take_saves(START_MS + 3_000) == []
    assert trips.take_saves(START_MS + CHECKPOINT_MS - 1) == []
    assert len(trips.take_saves(START_MS + CHECKPOINT_MS + 1_000)) == 1
    assert trips.take_saves(START_MS + 3 * CHECKPOINT_MS) == []
    sees(trips, *(ping(DRIVERS[0], START_MS + 60_000 + at, 0) for at in (0, 1_000)))
    assert len(trips.take_saves(START_MS + 61_000)) == 1


def test_a_trip_whose_end_is_everywhere_is_not_read_again_after_a_restart() -> None:
    trips = Alone(enroute(to=COMPLETE))
    trips.flush()
    (unsettled,) = (value for _, value in trips.take_saves(START_MS) if value)
    for trip_id, offset, _, _ in trips.unpublished():
        trips.published(trip_id, offset)
    (settled,) = (value for _, value in trips.take_saves(START_MS) if value)
    assert trips.take_saves(START_MS) == []
    for value, read in ((unsettled, [TRIP]), (settled, [])):
        again = Alone()
        again.restore(value)
        assert again.unsynced() == read
        assert list(again.trips()) == list(trips.trips())
    # But a Redis that forgot it must be given it, also by the worker after this one.
    trips.rewrite()
    (forgotten,) = (value for _, value in trips.take_saves(START_MS) if value)
    again = Alone()
    again.restore(forgotten)
    assert again.unsynced() == [TRIP]
    trips.redis = FakeRedis()
    assert trips.flush().whole
    assert [value for _, value in trips.take_saves(START_MS)] == [settled]


def test_a_restored_trip_goes_on_with_its_car_its_pace_and_its_way() -> None:
    polyline = encode([(place(at).lat, place(at).lon) for at in (-2_000.0, 0.0)])
    trip = ordered()
    trips = Alone(forth(msgspec.structs.replace(trip, approach=polyline)))
    sees(trips, *(ping(DRIVERS[0], START_MS + at * 1_000, -1_500 + at * 10) for at in range(60)))
    (value,) = (value for _, value in trips.take_saves(START_MS + 60_000) if value)
    again = Alone()
    again.restore(value)
    again.sync()
    for one in (trips, again):
        sees(one, ping(DRIVERS[0], START_MS + 60_000, -900))
    there, here = trips.flush().car, again.flush().car
    assert there is not None
    assert here is not None
    assert (here.route_m, here.remaining_m, here.eta_s) == (there.route_m, there.remaining_m, there.eta_s)
    assert here.remaining_m == pytest.approx(900, abs=2)
    assert here.eta_s is not None
    assert 900 / 10 < here.eta_s < 900 / RULES.default_speed_mps


def test_a_worker_that_does_not_know_yet_what_was_told_tells_nothing() -> None:
    trips = Alone(enroute())
    trips.flush()
    ((_, saved),) = trips.take_saves(START_MS)
    near = [ping(DRIVERS[0], START_MS + at * 1_000, 20) for at in range(5, 9)]
    sees(trips, *near[:2])
    assert [event.event_id for event in trips.flush().events] == ["a1:approaching:pickup:60"]
    again = Alone()
    again.redis = trips.redis
    assert saved is not None
    again.restore(saved)
    away = [ping(DRIVERS[0], START_MS + at * 1_000, 90) for at in range(10, 14)]
    sees(again, *away[:2])
    again.sync()
    sees(again, *away[2:])
    assert again.flush().events == []


def test_fixes_of_two_workers_are_not_two_in_a_row() -> None:
    trips = Alone(enroute())
    sees(trips, ping(DRIVERS[0], START_MS + 2_000, 0))
    ((_, saved),) = trips.take_saves(START_MS)
    sees(trips, ping(DRIVERS[0], START_MS + 3_000, 500))
    trips.flush()
    again = Alone()
    again.redis = trips.redis
    assert saved is not None
    again.restore(saved)
    again.sync()
    sees(again, ping(DRIVERS[0], START_MS + 13_000, 0))
    assert arrivals(again.flush()) == []
    sees(again, ping(DRIVERS[0], START_MS + 14_000, 0))
    assert arrivals(again.flush()) == ["a1:arrived:pickup"]


def test_a_trip_that_goes_on_before_anybody_noticed_that_redis_forgot_it_has_its_log_in_order() -> None:
    before = enroute()
    trips = Alone(before)
    trips.flush()
    trips.redis = FakeRedis()
    trips.take(forth(before), [], START_MS)
    trips.flush()
    assert trips.redis.trips[TRIP].log == forth(before).history


def test_of_two_saved_values_of_a_trip_the_later_counts() -> None:
    before = enroute()
    values = []
    for trip in (before, forth(before)):
        ((_, value),) = Alone(trip).take_saves(START_MS)
        assert value is not None
        values.append(value)
    for order in (values, values[::-1]):
        again = Alone()
        for value in order:
            again.restore(value)
        assert list(again.trips()) == [forth(before)]
        assert again.take_saves(START_MS) == []


@pytest.mark.parametrize("value", [b"", b"\xc1", msgspec.msgpack.encode([2]), msgspec.msgpack.encode("trip")])
def test_a_value_of_another_version_is_refused(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        PartitionTrips(0, PARTITIONS, RULES).restore(value)


def test_a_worker_that_is_behind_reads_the_trip_and_lets_it_go() -> None:
    before = forth(ordered(DRIVERS[0]))
    after = given_to(before, DRIVERS[2])
    trips = Alone(before)
    trips.redis.apply(TripWrite(after, whole=True, events=after.history))
    trips.flush()
    assert trips.unsynced() == [TRIP]
    assert trips.take_writes(START_MS) == []
    trips.sync()
    assert (trips.active_count(), trips.unsynced(), trips.take_writes(START_MS), trips.unpublished()) == (0, [], [], [])
    assert list(trips.trips()) == [after]


def test_a_redis_that_lost_the_trip_is_given_all_of_it() -> None:
    trips = Alone(enroute())
    sees(trips, ping(DRIVERS[0], START_MS + 2_000, 500), ping(DRIVERS[0], START_MS + 3_000, 490))
    trips.flush()
    sees(trips, ping(DRIVERS[0], START_MS + 4_000, 480))
    trips.redis = FakeRedis()
    assert not trips.flush().whole
    again = trips.flush()
    assert again.whole
    assert [event.event_id for event in again.events] == ["v1", "v2"]
    assert len(again.fixes) == 3
    assert again.car is not None
    trips.redis = FakeRedis()
    trips.rewrite()
    wiped = trips.flush()
    assert (wiped.whole, wiped.events, wiped.fixes, wiped.car) == (True, again.events, again.fixes, again.car)
