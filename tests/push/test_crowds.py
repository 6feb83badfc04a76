"""No rider in a crowd misses a car that comes within reach, and hardly anyone looks at a car that is far away."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push import crowds
from push.crowds import Crowds
from push.mirror import Change, Marker
from push.nearby import Query
from tests.push.city import PENTAGONS, PLACES, car, distance_m, towards
from tests.push.world import GONE_MS, STALE_MS, World

#: The pole and the antimeridian too: nothing there may depend on a longitude.
SPOTS = [*PLACES, *PENTAGONS[:3], (89.99, 12.0), (-12.0, 179.9999)]


@dataclass(eq=False)
class Rider:
    """A standing query as far as `Crowds` knows one."""

    query: Query
    reach_m: float

    def __post_init__(self) -> None:
        self.cover = self.query.cover()


def rider_at(place: tuple[float, float], radius_m: float, reach_m: float) -> Rider:
    return Rider(Query(*place, 5, radius_m), min(reach_m, radius_m))


def concerns(rider: Rider, change: Change) -> bool:
    centre = (rider.query.lat, rider.query.lon)
    return any(
        distance_m(centre, (each.car.lat, each.car.lon)) <= rider.reach_m
        for each in (change.before, change.after)
        if each is not None
    )


riders = st.tuples(
    st.floats(0, 360), st.floats(0, 4_000), st.sampled_from([50.0, 400.0, 2_000.0]), st.floats(0, 1.2)
)  # fmt: skip
#: Most cars are at the rim of somebody's reach.
moves = st.tuples(
    st.integers(0, 5),
    st.floats(0, 360),
    st.one_of(st.sampled_from([0.0, 0.99999999, 1.0, 1.00000001]), st.floats(0, 3)),
    st.sampled_from(["comes", "goes", "comes from afar", "goes afar"]),
)


@settings(max_examples=300, deadline=None)
@given(
    place=st.sampled_from(SPOTS),
    standing=st.lists(riders, min_size=1, max_size=12),
    moved=st.lists(moves, max_size=20),
    left=st.lists(st.integers(0, 11), max_size=8),
    shrunk=st.lists(st.tuples(st.integers(0, 11), st.floats(0, 1)), max_size=8),
    products=st.sampled_from([1, 5, 1 << 20]),
)
def test_whoever_a_change_concerns_hears_of_it_once(place, standing, moved, left, shrunk, products):
    crowd = Crowds()
    known = [
        rider_at(towards(place, bearing, away_m), radius_m, radius_m * share)
        for bearing, away_m, radius_m, share in standing
    ]
    for rider in known:
        crowd.add(rider)
    for number, share in shrunk:
        rider = known[number % len(known)]
        rider.reach_m *= share
        crowd.reach(rider)
    for number in left:
        if len(known) > 1:
            crowd.remove(known.pop(number % len(known)))
    changes = []
    for number, (whose, bearing, share, how) in enumerate(moved):
        rider = known[whose % len(known)]
        centre = (rider.query.lat, rider.query.lon)
        near = Marker(car(f"car-{number}", 1, towards(centre, bearing, rider.reach_m * share)), stale=False)
        afar = Marker(car(f"car-{number}", 1, towards(centre, bearing, 9_000.0)), stale=False)
        before = near if how.startswith("goes") else afar if how == "comes from afar" else None
        after = near if how.startswith("comes") else afar if how == "goes afar" else None
        changes.append(Change(f"car-{number}", before, after))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowds, "MAX_PRODUCTS", products)
        heard = crowd.near(changes)

    for rider in known:
        names = [change.driver_id for change in heard.get(rider, [])]
        assert len(names) == len(set(names))
        assert set(names) >= {change.driver_id for change in changes if concerns(rider, change)}
    assert heard.keys() <= set(known)
    for rider in known:
        crowd.remove(rider)
    assert crowd.near(changes) == {}


def test_a_car_beyond_a_riders_reach_is_not_looked_at():
    crowd = Crowds()
    rider = rider_at(PLACES[0], 2_000.0, 300.0)
    crowd.add(rider)

    def heard(away_m: float) -> bool:
        after = Marker(car("car", 1, towards(PLACES[0], 70, away_m)), stale=False)
        return rider in crowd.near([Change("car", None, after)])

    assert heard(300.0)
    assert not heard(305.0)
    rider.reach_m = 200.0
    assert heard(300.0)  # until the crowd is told
    crowd.reach(rider)
    assert not heard(300.0)


#: What riders of a town ask: most of them are in a crowd, and some know of everybody near them all the same.
areas = st.one_of(
    st.tuples(st.sampled_from([300.0, 900.0, 3_000.0]), st.none()), st.tuples(st.none(), st.sampled_from([1, 3, 5]))
)
asks = st.tuples(
    st.integers(0, 3),  # which of four spots
    areas,
    st.integers(1, 20),
    st.sampled_from([None, None, frozenset({"TAXI"}), frozenset({"TAXI", "AUTO"})]),
)
chances = st.integers(0, 1 << 32).map(random.Random)
days = st.lists(
    st.one_of(
        st.tuples(st.just("drive"), chances, st.sampled_from([1, 1, 8, 40])),
        st.tuples(st.just("drive"), chances, st.sampled_from([1, 1, 8, 40])),
        st.tuples(st.just("sweep"), chances, st.integers(0, 3), st.sampled_from([200.0, 1_000.0, 6_000.0])),
        st.tuples(st.just("wait"), st.sampled_from([40, 1_000, 29_000, 70_000, 130_000])),
        st.tuples(st.just("take"), st.integers(0, 5)),
        st.tuples(st.just("defer"), st.integers(0, 5), st.sampled_from([0, 2, 64])),
        st.tuples(st.just("look"), st.integers(0, 5), st.integers(0, 3), areas),
    ),
    max_size=16,
)


def drive(world: World, rng: random.Random, spots: list[tuple[float, float]], fixed_ms: dict[str, int]) -> None:
    """Some driver has a new fix: by a spot, just as far as others, at the rim of what somebody asked, or close by."""
    driver_id = f"driver-{rng.randrange(90)}"
    before, query = world.index.at.get(driver_id), world.queries[rng.randrange(len(world.queries))]
    match rng.randrange(4):
        case 0:
            at = towards(rng.choice(spots), rng.uniform(0, 360), rng.expovariate(1 / 500))
        case 1:
            at = towards(rng.choice(spots), rng.randrange(0, 360, 90), rng.randrange(40) * 25)
        case 2:
            far_m = query.radius_m or rng.uniform(0, 300 + 350 * (query.rings or 0))
            at = towards((query.lat, query.lon), rng.uniform(0, 360), far_m * rng.choice([0.9, 0.99999999, 1.00000001]))
        case _:
            here = (before.lat, before.lon) if before is not None else spots[0]
            at = towards(here, rng.uniform(0, 360), rng.choice([0, 5, 50]))
    age_ms = rng.choice([0, 0, 0, STALE_MS - 1_000, STALE_MS + 1_000, GONE_MS - 1_000])
    # A new fix of a driver is newer than its last.
    fixed_ms[driver_id] = max(world.now_ms - age_ms, fixed_ms.get(driver_id, 0) + 1)
    kind = (
        before.vehicle_type if before is not None and rng.random() < 0.8 else rng.choice(["", "TAXI", "TAXI", "AUTO"])
    )
    world.index.put(car(driver_id, fixed_ms[driver_id], at, kind))


@settings(max_examples=500, deadline=None)
@given(
    place=st.sampled_from([*PLACES, *PENTAGONS[:2]]),
    riders=st.lists(asks, min_size=6, max_size=6),
    rng=chances,
    day=days,
)
def test_every_view_of_a_crowded_town_is_brute_force_as_it_fills_thins_out_and_falls_silent(place, riders, rng, day):
    spots = [place, towards(place, 75, 150), towards(place, 200, 700), towards(place, 310, 2_500)]
    world = World()
    world.queries = {
        number: Query(*spots[spot], limit, radius_m, rings, types)
        for number, (spot, (radius_m, rings), limit, types) in enumerate(riders)
    }
    fixed_ms: dict[str, int] = {}
    for _ in range(150):
        drive(world, rng, spots, fixed_ms)
    for query in world.queries.values():
        world.ride(query)
    for step in [("wait", 0), *day]:
        match step:
            case ("drive", rng, times):
                for _ in range(times):
                    drive(world, rng, spots, fixed_ms)
            case ("sweep", rng, spot, far_m):
                # Nearly all of a neighbourhood leave: whoever was too far to be known must be found then.
                for each in list(world.index.at.values()):
                    if distance_m(spots[spot], (each.lat, each.lon)) < far_m and rng.random() < 0.9:
                        world.index.remove(each.driver_id)
            case ("wait", later_ms):
                world.now_ms += later_ms
            case ("defer", number, room):
                world.riders[number][0].defer(room)
            case ("look", number, spot, (radius_m, rings)):
                before = world.queries[number]
                query = Query(*spots[spot], before.limit, radius_m, rings, before.vehicle_types)
                world.queries[number] = query
                world.follow(*world.hub.move(world.riders[number][0], query))
        world.tick()
        for number, (outbox, _) in enumerate(world.riders):
            # Half of them read what they are told at once, the others now and then.
            if number < 3 or step == ("take", number):
                world.take(number)
                world.check(number)
            else:
                assert outbox.standing.view.keys() == world.expected(world.queries[number]).keys()
    for number, (outbox, _) in enumerate(world.riders):
        world.take(number)
        world.check(number)
        world.follow([], world.hub.leave(outbox))
    assert (len(world.hub), list(world.hub.regions)) == (0, [])
