"""Every rider's view is what brute force over the index finds, whatever happens and however slowly it reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push.mirror import Mirror
from push.nearby import Query, Standing
from stream.channels import Car, cell_of, region_of
from tests.push.city import MANHATTAN, PENTAGONS, PLACES, car, distance_m, towards
from tests.push.index import IndexModel
from tests.push.world import GONE_MS, NOW_MS, STALE_MS, World

DRIVERS = [f"driver-{number}" for number in range(9)]


#: Most fixes are at the rim of somebody's circle.
shares = st.one_of(st.sampled_from([0.0, 0.9999, 1.0001, 0.99999999, 1.00000001]), st.floats(0, 1.3))
areas = st.one_of(
    st.tuples(st.sampled_from([80.0, 300.0, 900.0]), st.none()), st.tuples(st.none(), st.sampled_from([0, 1, 3]))
)
asks = st.tuples(
    st.integers(0, 3),  # which of four places to stand
    areas,
    st.sampled_from([1, 2, 3, 500]),
    st.sampled_from([None, frozenset({"TAXI"})]),
)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.sampled_from(DRIVERS), st.integers(0, 3), st.floats(0, 360), shares, st.booleans()
        ),
        st.tuples(
            st.just("put"), st.sampled_from(DRIVERS), st.integers(0, 3), st.floats(0, 360), shares, st.booleans()
        ),
        st.tuples(st.just("remove"), st.sampled_from(DRIVERS)),
        st.tuples(st.just("tick"), st.sampled_from([0, 1_000, 20_000, 70_000])),
        st.tuples(st.just("take"), st.integers(0, 2)),
        st.tuples(st.just("defer"), st.integers(0, 2), st.sampled_from([0, 2, 64])),
        st.tuples(st.just("look"), st.integers(0, 2), st.integers(0, 3), areas),
        st.tuples(st.just("leave"), st.integers(0, 2), asks),
    ),
    max_size=50,
)


def ask(spots: list[tuple[float, float]], asked: tuple) -> Query:
    spot, (radius_m, rings), limit, types = asked
    return Query(*spots[spot], limit, radius_m, rings, types)


@settings(max_examples=500, deadline=None)
@given(
    place=st.sampled_from(PLACES + PENTAGONS[:4]),
    riders=st.tuples(asks, asks, asks),
    steps=steps,
)
def test_every_view_is_brute_force_and_no_car_goes_back_in_time(place, riders, steps):
    spots = [place, towards(place, 75, 60), towards(place, 200, 700), towards(place, 310, 2_500)]
    world = World()
    world.queries = {number: ask(spots, asked) for number, asked in enumerate(riders)}
    for query in world.queries.values():
        world.ride(query)
    fixes = 0
    for step in steps:
        match step:
            case ("put", driver_id, spot, bearing, share, taxi):
                fixes += 1
                # A new fix of a driver is newer than its last, by at least a millisecond.
                newest = world.index.at.get(driver_id)
                at_ms = max(world.now_ms, newest.fix_time_ms + 1 if newest else 0)
                reach_m = world.queries[fixes % 3].radius_m or 250.0
                world.index.put(
                    car(driver_id, at_ms, towards(spots[spot], bearing, reach_m * share), "TAXI" if taxi else "")
                )
            case ("remove", driver_id):
                world.index.remove(driver_id)
            case ("tick", later_ms):
                world.now_ms += later_ms
                world.tick()
                for rider in range(3):
                    outbox, view = world.riders[rider]
                    assert outbox.standing.view.keys() == world.expected(world.queries[rider]).keys()
                    assert len(outbox) <= len(view.cars) + len(outbox.standing.view)
            case ("take", rider):
                world.tick()
                world.take(rider)
                world.check(rider)
            case ("defer", rider, room):
                world.riders[rider][0].defer(room)
            case ("look", rider, spot, (radius_m, rings)):
                before = world.queries[rider]
                query = Query(*spots[spot], before.limit, radius_m, rings, before.vehicle_types)
                world.queries[rider] = query
                world.follow(*world.hub.move(world.riders[rider][0], query))
            case ("leave", rider, asked):
                world.follow([], world.hub.leave(world.riders[rider][0]))
                world.queries[rider] = ask(spots, asked)
                world.riders[rider], _ = world.ride(world.queries[rider]), world.riders.pop()
    world.tick()
    for rider in range(3):
        world.take(rider)
        world.check(rider)
        world.follow([], world.hub.leave(world.riders[rider][0]))
    assert len(world.hub) == 0
    assert list(world.hub.regions) == []


@settings(max_examples=200, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.integers(0, 120), st.floats(0, 360), st.floats(0, 1.1), st.booleans()), min_size=1, max_size=250
    ),
    limit=st.sampled_from([1, 3, 5, 20]),
    every=st.integers(1, 40),
)
def test_the_nearest_n_of_a_crowd_are_brute_forces(moves, limit, every):
    world = World()
    query = Query(*MANHATTAN, limit, 1_500.0)
    world.queries = {0: query}
    for driver in range(120):
        world.index.put(car(f"driver-{driver}", NOW_MS, towards(MANHATTAN, driver * 77, 40 + driver * 37 % 1_600)))
    world.ride(query)
    world.tick()
    for number, (driver, bearing, share, leaves) in enumerate(moves, 1):
        driver_id = f"driver-{driver}"
        if leaves:
            # The nearest go first: those who were too far to be known must be found then.
            for near in list(world.expected(query))[: driver % 8 + 1]:
                world.index.remove(near)
        else:
            # 25 m steps: many cars at exactly the same distance, so that ties are broken by driver id.
            world.index.put(
                car(driver_id, NOW_MS + number, towards(MANHATTAN, bearing // 90 * 90, share * 60 // 1 * 25))
            )
        if number % every == 0:
            world.tick()
            assert world.riders[0][0].standing.view.keys() == world.expected(query).keys()
    world.tick()
    world.take(0)
    world.check(0)


def standing(query: Query, *cars: Car) -> Standing:
    mirror = Mirror(STALE_MS, GONE_MS)
    for region in {region_of(each.cell) for each in cars}:
        mirror.expect(region)
        index = IndexModel()
        for each in cars:
            index.put(each)
        mirror.apply_snapshot(region, index.snapshot(region))
    mirror.settle(NOW_MS)
    return Standing(query, mirror)


@pytest.mark.parametrize("place", PENTAGONS + PLACES)
def test_the_rim_is_exact_at_pentagons_too(place):
    radius_m = 700.0
    for bearing in range(0, 360, 20):
        inside, outside = towards(place, bearing, radius_m * 0.9999), towards(place, bearing, radius_m * 1.0001)
        view = standing(Query(*place, 10, radius_m), car("in", NOW_MS, inside), car("out", NOW_MS, outside)).view
        assert list(view) == ["in"]


def test_a_car_exactly_on_the_rim_is_in():
    at = towards(MANHATTAN, 33, 500.0)
    radius_m = distance_m(MANHATTAN, at)
    assert list(standing(Query(*MANHATTAN, 10, radius_m), car("a", NOW_MS, at)).view) == ["a"]
    assert not standing(Query(*MANHATTAN, 10, radius_m * (1 - 1e-12)), car("a", NOW_MS, at)).view


def test_a_car_that_turns_stale_is_one_move_and_a_gone_one_a_leave():
    world = World()
    world.index.put(car("a", NOW_MS, MANHATTAN))
    world.queries = {0: Query(*MANHATTAN, 10, 100.0)}
    outbox, view = world.ride(world.queries[0])
    world.tick()
    world.take(0)
    assert view.cars["a"]["freshness"] == "live"
    world.now_ms += STALE_MS
    world.tick()
    batch = outbox._batch
    assert batch is not None
    assert (len(batch.enter), len(list(batch.moves())), len(batch.leave)) == (0, 1, 0)
    world.take(0)
    assert view.cars["a"]["freshness"] == "stale"
    assert view.cars["a"]["age_ms"] == STALE_MS
    world.now_ms += GONE_MS
    world.tick()
    world.take(0)
    assert view.cars == {}


def test_riders_who_ask_the_same_share_one_query_and_one_encoding():
    world = World()
    first, _ = world.ride(Query(*MANHATTAN, 10, 500.0))
    second, _ = world.ride(Query(*MANHATTAN, 10, 500.0))
    assert first.standing is second.standing
    # Rings count from the cell: everyone in it asks the same.
    near = towards(MANHATTAN, 10, 5)
    assert cell_of(*near) == cell_of(*MANHATTAN)
    third, _ = world.ride(Query(*MANHATTAN, 10, None, 2))
    fourth, _ = world.ride(Query(*near, 10, None, 2))
    assert third.standing is fourth.standing
    assert len(world.hub) == 2
    world.tick()
    for rider in range(4):
        world.take(rider)
    world.index.put(car("a", NOW_MS, MANHATTAN))
    world.tick()
    assert first._batch is second._batch
    assert first._batch is not None
    first.take(NOW_MS)
    tail = first._batch
    assert tail is None
    assert second._batch is not None
    assert second._batch.tail
