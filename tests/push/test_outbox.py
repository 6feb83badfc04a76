"""A rider who is away is owed a bounded amount, and the newest of it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from push.mirror import Marker, Mirror
from push.nearby import Batch, Query, Standing
from push.outbox import Outbox
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
            place.outbox.defer()
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
    place.outbox.defer()
    assert place.outbox._batch is None
    assert len(place.outbox) == len(DRIVERS)


def test_a_snapshot_that_was_not_taken_yet_is_the_newest_when_it_is():
    place = Place()
    place.show({"a"})
    place.show({"b"})
    snapshot = place.take()
    assert snapshot is not None
    assert [each["driver_id"] for each in snapshot["cars"]] == ["b"]
