"""A view shows what it was told, and notices every message that the wire rules out."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.riders.view import Broken, Faults, Move, SeenCar, Snapshot, Update, View

NOW_MS = 1_000_000


def car(driver_id: str, fix_time_ms: int) -> SeenCar:
    return SeenCar(driver_id, 1.0, 2.0, fix_time_ms, 0, "live")


def view_with(*cars: SeenCar) -> View:
    view = View("near", Faults())
    view.show(Snapshot("near", 1, NOW_MS, list(cars)))
    return view


def update(seq: int, enter: list[SeenCar] = [], move: list[SeenCar] = [], leave: list[str] = []) -> Update:  # noqa: B006
    return Update("near", seq, NOW_MS, enter, move, leave)


def test_a_view_follows_what_enters_moves_and_leaves() -> None:
    view = view_with(car("a", 10), car("b", 10))
    moved = view.change(update(2, enter=[car("c", 11)], move=[car("a", 12)], leave=["b"]))
    assert {driver: seen.fix_time_ms for driver, seen in view.cars.items()} == {"a": 12, "c": 11}
    assert moved == [Move(car("a", 12), before_ms=10)]
    assert (view.seq, view.faults.count) == (2, 0)


def test_a_car_that_only_became_stale_has_not_moved() -> None:
    view = view_with(car("a", 10))
    assert view.change(update(2, move=[car("a", 10)])) == []
    assert view.faults.count == 0


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (update(3), "update has seq 3 after 1"),
        (update(1), "update has seq 1 after 1"),
        (Snapshot("near", 3, NOW_MS, []), "snapshot has seq 3 after 1"),
        (Snapshot("near", 2, NOW_MS, [car("b", 10), car("b", 11)]), "b is twice in a snapshot"),
        (update(2, enter=[car("a", 11)]), "a entered but was there"),
        (update(2, move=[car("b", 11)]), "b moved but was not there"),
        (update(2, leave=["b"]), "b left but was not there"),
        (update(2, move=[car("a", 9)]), "a went backwards by 1 ms"),
        (Snapshot("near", 2, NOW_MS, [car("a", 7)]), "a went backwards by 3 ms"),
        (Update("near", 2, NOW_MS - 1, [], [], []), "server_time_ms went backwards"),
    ],
)
def test_a_broken_promise_is_noticed(message: Snapshot | Update, fault: str) -> None:
    view = view_with(car("a", 10))
    if isinstance(message, Snapshot):
        view.show(message)
    else:
        view.change(message)
    assert view.faults.described == [fault]


def test_a_car_that_left_and_came_back_older_went_backwards() -> None:
    view = view_with(car("a", 10))
    view.change(update(2, leave=["a"]))
    view.change(update(3, enter=[car("a", 9)]))
    assert view.faults.described == ["a went backwards by 1 ms"]


def test_an_update_before_the_first_snapshot_is_a_fault() -> None:
    view = View("near", Faults())
    view.change(update(1))
    assert view.faults.described == ["update before the first snapshot"]


def test_a_view_with_more_cars_than_were_asked_for_is_a_fault() -> None:
    view = View("near", Faults(), limit=2)
    view.show(Snapshot("near", 1, NOW_MS, [car("a", 1), car("b", 1)]))
    assert view.faults.count == 0
    view.change(update(2, enter=[car("c", 1)]))
    assert view.faults.described == ["3 cars are shown where at most 2 were asked for"]


def test_a_broken_promise_is_told_at_once_with_the_driver_and_by_how_much() -> None:
    told: list[Broken] = []
    view = View("near", Faults(tell=told.append))
    view.show(Snapshot("near", 1, NOW_MS, [car("a", 10)]))
    view.change(update(2, move=[car("a", 9)], leave=["b"]))
    assert told == [Broken("b left but was not there", "b"), Broken("a went backwards by 1 ms", "a", 1)]


#: What a street looks like at successive moments: who is there, and whether the rest of them reported anew.
streets = st.lists(st.tuples(st.sets(st.sampled_from("abcdef"), max_size=4), st.booleans()), min_size=1, max_size=12)


def told_by_a_good_server(street: list[tuple[set[str], bool]]) -> tuple[list[Update], dict[str, int]]:
    """Updates that lead through these moments from an empty street, and who is there in the end, with which fix."""
    shown: dict[str, int] = {}
    updates = []
    for seq, (present, anew) in enumerate(street, start=2):
        now = {each: 10 * seq if anew or each not in shown else shown[each] for each in present}
        updates.append(
            update(
                seq,
                enter=[car(each, fix) for each, fix in now.items() if each not in shown],
                move=[car(each, fix) for each, fix in now.items() if each in shown and fix > shown[each]],
                leave=[each for each in shown if each not in now],
            )
        )
        shown = now
    return updates, shown


@given(streets)
def test_a_good_server_is_followed_and_never_accused(street: list[tuple[set[str], bool]]) -> None:
    updates, shown = told_by_a_good_server(street)
    view = view_with()
    for each in updates:
        view.change(each)
    assert {driver: seen.fix_time_ms for driver, seen in view.cars.items()} == shown
    assert view.faults.count == 0


@given(streets, st.sampled_from(["lost", "twice", "swapped"]), st.randoms(use_true_random=False))
def test_a_lost_a_repeated_and_a_swapped_update_are_noticed(
    street: list[tuple[set[str], bool]], what: str, random: Random
) -> None:
    updates, _ = told_by_a_good_server([*street, ({"a"}, True), ({"b"}, True)])
    at = random.randrange(len(updates) - 1)
    broken = {
        "lost": updates[:at] + updates[at + 1 :],
        "twice": updates[: at + 1] + updates[at:],
        "swapped": [*updates[:at], updates[at + 1], updates[at], *updates[at + 2 :]],
    }[what]
    view = view_with()
    for each in broken:
        view.change(each)
    assert view.faults.count > 0
