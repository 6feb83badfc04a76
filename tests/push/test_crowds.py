"""No rider in a crowd misses a car that comes within reach, and hardly anyone looks at a car that is far away."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push import crowds
from push.crowds import Crowds
from push.mirror import Change, Marker
from push.nearby import Query
from tests.push.city import PENTAGONS, PLACES, car, distance_m, towards

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
