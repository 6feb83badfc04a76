"""A rider who is away is owed a bounded amount, and the newest of it."""

from __future__ import annotations

import json
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from push.mirror import Marker, Mirror
from push.nearby import Batch, Query, Standing
from push.outbox import MAX_CARS, MAX_WAITING, Outbox
from push.settings import PushSettings
from stream.channels import Car
from tests.push.city import MANHATTAN, car, towards
from tests.push.view import View

NOW_MS = 1_700_000_000_000
DRIVERS = [f"driver-{number}" for number in range(6)]


class Place:
    """A standing query whose answer the test dictates."""

    def __init__(self) -> None:
        self.standing = Standing(Query(*MANHATTAN, 500, 500.0), Mirror(30_000, 120_000))
        self.outbox, self.view = Outbox("map", self.standing), View()
        self.fix_ms = NOW_MS

    def show(self, drivers: set[str]) -> None:
        """These are near now, all of them moved."""
        self.fix_ms += 1
        known = self.standing.view
        after = {
            driver_id: Marker(car(driver_id, self.fix_ms, towards(MANHATTAN, 10, 10)), False) for driver_id in drivers
        }
        batch = Batch(
            [marker for driver_id, marker in after.items() if driver_id not in known],
            [marker for driver_id, marker in after.items() if driver_id in known],
            [driver_id for driver_id in known if driver_id not in after],
        )
        self.standing.view = dict.fromkeys(after)
        self.standing.shown = after
        if batch:
            self.outbox.owe(batch)

    def take(self) -> dict | None:
        message = self.outbox.take(NOW_MS + 10_000)
        if message is None:
            return None
        self.view.fold(message.payload)
        return json.loads(message.payload)


@settings(max_examples=500)
@given(steps=st.lists(st.one_of(st.frozensets(st.sampled_from(DRIVERS)), st.sampled_from(["take", "defer"]))))
def test_the_view_is_right_after_any_conflation(steps):
    place = Place()
    told = 0
    for step in steps:
        if step == "take":
            told += place.take() is not None
            assert place.view.cars.keys() == place.standing.view.keys()
            assert all(each["fix_time_ms"] == place.fix_ms for each in place.view.cars.values())
        elif step == "defer":
            place.outbox.defer(500)
        else:
            place.show(set(step))
            # Bounded by what the rider knows and what is there now, however long it takes nothing.
            assert len(place.outbox) <= len(place.view.cars.keys() | place.standing.view.keys())
    place.take()
    assert place.view.cars.keys() == place.standing.view.keys()
    assert place.view.seq >= told


def test_the_sequence_counts_messages_that_were_sent():
    place = Place()
    for _ in range(50):
        place.show({"a"})
    snapshot = place.take()
    assert snapshot is not None
    assert (snapshot["type"], snapshot["seq"]) == ("snapshot", 1)
    assert place.take() is None
    for _ in range(50):
        place.show({"a", "b"})
    update = place.take()
    assert update is not None
    assert (update["type"], update["seq"]) == ("update", 2)
    assert [each["driver_id"] for each in update["enter"]] == ["b"]
    assert [each["driver_id"] for each in update["move"]] == ["a"]


def test_a_car_that_came_and_went_unseen_is_not_mentioned():
    place = Place()
    place.take()
    place.show({"a"})
    place.show(set())
    assert not place.outbox
    assert place.take() is None


def test_a_car_that_went_and_came_back_unseen_has_moved():
    place = Place()
    place.show({"a"})
    place.take()
    place.show(set())
    place.show({"a"})
    update = place.take()
    assert update is not None
    assert [each["driver_id"] for each in update["move"]] == ["a"]
    assert update["enter"] == update["leave"] == []


def test_replaced_positions_are_counted():
    place = Place()
    place.show({"a"})
    place.take()
    place.outbox.conflated = 0
    for _ in range(10):
        place.show({"a"})
    assert place.outbox.conflated == 9


def test_a_rider_who_takes_nothing_holds_no_encoded_message():
    place = Place()
    place.take()
    place.show(set(DRIVERS))
    place.outbox.defer(500)
    assert place.outbox._batch is None
    assert len(place.outbox) == len(DRIVERS)


def test_a_snapshot_that_was_not_taken_yet_is_the_newest_when_it_is():
    place = Place()
    place.show({"a"})
    place.show({"b"})
    snapshot = place.take()
    assert snapshot is not None
    assert [each["driver_id"] for each in snapshot["cars"]] == ["b"]


def test_a_rider_who_is_owed_more_than_may_wait_gets_a_new_snapshot_and_the_sequence_goes_on():
    place = Place()
    place.show({"a", "b"})
    place.take()
    place.show(set(DRIVERS))
    place.outbox.conflated = 0
    place.outbox.defer(len(DRIVERS) + 1)  # "a" and "b" left
    assert len(place.outbox) == 0
    assert place.outbox.conflated == len(DRIVERS)
    place.show({"a", *DRIVERS[:2]})
    assert len(place.outbox) == 0, "nothing waits for a snapshot"
    snapshot = place.take()
    assert snapshot is not None
    assert (snapshot["type"], snapshot["seq"]) == ("snapshot", 2)
    assert place.view.cars.keys() == place.standing.view.keys()
    place.show({"a"})
    update = place.take()
    assert update is not None
    assert (update["type"], update["seq"], sorted(update["leave"])) == ("update", 3, DRIVERS[:2])


def test_an_update_never_names_more_cars_than_a_snapshot_can():
    for recentered in (False, True):
        place = Place()
        place.show({f"old-{number}" for number in range(MAX_CARS)})
        place.take()
        shown = {f"new-{number}" for number in range(MAX_CARS)}
        if recentered:
            elsewhere = Place()
            elsewhere.show(shown)
            place.outbox.switch(elsewhere.standing)
        else:
            place.show(shown)
        message = place.take()
        assert message is not None
        assert (message["type"], message["seq"], len(message["cars"])) == ("snapshot", 2, MAX_CARS)
        assert place.view.cars.keys() == shown
        assert place.take() is None


def longest(number: int, fix_ms: int) -> Car:
    """As many bytes of JSON as an admitted car can have."""
    return Car(
        f"{number:0>64}", fix_ms, -40.754912345678901, -173.98402134567891, 0x892A100D2C3FFFF, fix_ms,
        129.25123456789123, 129.25123456789123, 129.25123456789123, "TWO_WHEELER",
    )  # fmt: skip


def test_what_waits_for_a_rider_who_takes_nothing_fits_beside_its_write_buffers_whatever_it_watches():
    settings_ = PushSettings(jwt_key="k" * 32)
    # The kernel doubles SO_SNDBUF. A message is made while less than the limit waits in front of it.
    buffers = 2 * settings_.send_buffer_bytes + settings_.write_limit_bytes
    places = [Place() for _ in range(settings_.max_subscriptions)]

    def show_all(round_: int) -> None:
        for at, place in enumerate(places):
            first = (at * 100 + round_) * settings_.max_cars
            before = place.standing.view
            cars = [longest(first + number, NOW_MS + round_) for number in range(settings_.max_cars)]
            after = {each.driver_id: Marker(each, True) for each in cars}
            place.standing.view, place.standing.shown = dict.fromkeys(after), after
            place.outbox.owe(Batch(list(after.values()), [], list(before)))

    show_all(0)
    message = places[0].outbox.take(NOW_MS + 119_999)
    assert message is not None
    assert message.positions == settings_.max_cars
    for each in places[1:]:
        each.outbox.take(NOW_MS + 119_999)
    waiting = 0
    for round_ in range(1, 6):
        show_all(round_)
        room = MAX_WAITING
        for place in places:
            place.outbox.defer(room)
            room -= len(place.outbox)
        assert room >= 0
        waiting = max(waiting, sum(_bytes_of(place.outbox) for place in places))
    # The other worst case: as many as may wait, all of drivers that nobody else remembers.
    for place in places:
        place.outbox.take(NOW_MS + 119_999)
    for at, place in enumerate(places):
        gone = list(place.standing.view)[: MAX_WAITING // len(places)]
        for driver_id in gone:
            del place.standing.view[driver_id]
        place.outbox.owe(Batch([], [], gone))
        place.outbox.defer(MAX_WAITING - at * len(gone))
    assert sum(len(place.outbox) for place in places) == MAX_WAITING
    waiting = max(waiting, sum(_bytes_of(place.outbox) for place in places))
    assert buffers + len(message.payload) + waiting < 256 * 1024


def _bytes_of(outbox: Outbox) -> int:
    """The outbox and all that waits in it, as if nobody else had the ids; a shared batch must not wait."""
    assert outbox._batch is None
    pending = outbox._pending or {}
    return sys.getsizeof(outbox) + sys.getsizeof(outbox._pending) + sum(map(sys.getsizeof, pending))


@settings(max_examples=300)
@given(
    towns=st.lists(st.sets(st.sampled_from([f"driver-{number}" for number in range(40)]), max_size=8), max_size=12),
    budget=st.integers(1, 2_048),
)
def test_a_rider_who_is_told_in_parts_never_sees_more_cars_than_there_may_be(towns, budget):
    place = Place()
    for town in [*towns, set()]:
        place.show(town)
        place.outbox.defer(500)
        message = place.outbox.take(NOW_MS + 10_000, budget)
        if message is not None:
            place.view.fold(message.payload)
        assert len(place.view.cars) <= 8
    while (message := place.outbox.take(NOW_MS + 10_000, budget)) is not None:
        place.view.fold(message.payload)
        assert len(place.view.cars) <= 8
    assert place.view.cars.keys() == place.standing.view.keys()
