"""The copy of a trip is what Redis says, however it came to be known; its car never goes back; its age is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.trips import COMPLETE, ENROUTE_TO_PICKUP, TripEvent
from push.mirror import Outcome
from push.trip_mirror import TripMirror, freshness_of, next_transition_ms
from tests.push.trip_model import TripModel, moved, new_trip, reassigned, trip_car

STALE_MS, LOST_MS = 15_000, 60_000


def mirror_of(model: TripModel, kept: int = 1_000, now_ms: int = 10_000) -> TripMirror:
    mirror = TripMirror(STALE_MS, LOST_MS, kept)
    mirror.expect("t-1")
    assert mirror.apply_snapshot("t-1", model.snapshot()) is Outcome.APPLIED
    mirror.settle(now_ms)
    return mirror


def found(number: int) -> TripEvent:
    return TripEvent(f"a1:found:{number}", "trip.approaching", number, "NEW", "d-1", 1, place="pickup", eta_s=60)


def test_what_is_missed_is_noticed_and_what_is_known_is_ignored():
    model = TripModel(new_trip())
    mirror = mirror_of(model)
    first, second, third = (model.write(car=trip_car(model.trip, at)) for at in (5_000, 6_000, 7_000))
    assert first
    assert second
    assert third
    assert mirror.apply_delta("t-1", first) is Outcome.APPLIED
    assert mirror.apply_delta("t-1", first) is Outcome.IGNORED
    assert mirror.apply_delta("t-1", third) is Outcome.GAP
    assert mirror.position_of("t-1") is None
    assert mirror.apply_delta("t-1", third) is Outcome.BUFFERED
    mirror.expect("t-1")
    assert mirror.apply_snapshot("t-1", model.snapshot()) is Outcome.APPLIED
    assert mirror.position_of("t-1") == (model.epoch, model.seq)
    assert mirror.apply_delta("t-2", first) is Outcome.IGNORED


def test_a_delta_whose_events_are_not_the_last_ones_is_a_gap():
    model = TripModel(new_trip())
    mirror = mirror_of(model)
    model.write(found=[found(1)])
    mirror.expect("t-1")
    mirror.apply_snapshot("t-1", model.snapshot())
    delta = model.write(found=[found(2), found(1)])
    assert delta
    assert delta.entries is None
    assert mirror.apply_delta("t-1", delta) is Outcome.GAP


def test_a_trip_that_does_not_exist_yet_is_seen_as_soon_as_it_does():
    mirror = TripMirror(STALE_MS, LOST_MS, 10)
    mirror.expect("t-1")
    assert not mirror.is_loaded("t-1")
    assert mirror.apply_snapshot("t-1", None) is Outcome.APPLIED
    assert mirror.is_loaded("t-1")
    assert mirror.settle(0) == []
    model = TripModel(new_trip())
    model.wipe()
    delta = model.write(model.trip)
    assert delta
    assert mirror.apply_delta("t-1", delta) is Outcome.APPLIED
    (copy,) = mirror.settle(1)
    assert copy.shown
    assert copy.shown.trip == model.trip


def test_a_trip_that_redis_lost_stays_until_it_is_known_again_and_never_goes_back():
    model = TripModel(new_trip())
    model.write(moved(model.trip, ENROUTE_TO_PICKUP), car=trip_car(model.trip, 5_000))
    mirror = mirror_of(model)
    copy = mirror.copy_of("t-1")
    assert copy
    assert copy.shown
    before = copy.shown
    model.wipe()
    mirror.expect("t-1")
    mirror.apply_snapshot("t-1", None)
    assert mirror.position_of("t-1") == (0, 0)
    mirror.settle(10_001)
    assert copy.shown == before
    # A worker that begins with an old record of the trip.
    delta = model.write(new_trip())
    assert delta
    assert mirror.apply_delta("t-1", delta) is Outcome.APPLIED
    mirror.settle(10_002)
    assert copy.shown.trip == before.trip
    assert copy.shown.car == before.car
    assert copy.shown.log != before.log


def test_the_last_driver_s_car_is_not_shown_and_none_after_the_end():
    model = TripModel(new_trip())
    model.write(car=trip_car(model.trip, 5_000))
    mirror = mirror_of(model)
    copy = mirror.copy_of("t-1")
    assert copy
    assert copy.shown
    assert copy.shown.car
    for delta in (model.write(reassigned(model.trip, "d-2")), model.write(car=trip_car(model.trip, 4_000))):
        assert delta
        mirror.apply_delta("t-1", delta)
        mirror.settle(10_000)
        assert copy.shown.car is None or copy.shown.car.driver_id == "d-2"
    assert copy.shown.car == trip_car(model.trip, 4_000)
    assert copy.shown.freshness == "live"
    delta = model.write(moved(model.trip, COMPLETE))
    assert delta
    mirror.apply_delta("t-1", delta)
    mirror.settle(10_000)
    assert (copy.shown.car, copy.shown.freshness) == (None, "none")
    assert mirror.settle(1 << 60) == []


def test_a_silent_car_turns_stale_then_lost_at_its_time_and_live_again():
    model = TripModel(new_trip())
    model.write(car=trip_car(model.trip, 10_000))
    mirror = mirror_of(model, now_ms=10_000)
    copy = mirror.copy_of("t-1")
    assert copy
    assert copy.shown
    for now_ms, due, freshness in [
        (24_999, False, "live"),
        (25_000, True, "stale"),
        (69_999, False, "stale"),
        (70_000, True, "lost"),
        (1 << 60, False, "lost"),
    ]:
        assert mirror.is_due(now_ms) is due, now_ms
        assert bool(mirror.settle(now_ms) if due else []) is due
        assert copy.shown.freshness == freshness


@given(st.integers(0, 100_000), st.integers(0, 200_000))
def test_freshness_changes_exactly_when_it_is_said_to(fix_ms, now_ms):
    car = trip_car(new_trip(), fix_ms)
    freshness = freshness_of(car, now_ms, STALE_MS, LOST_MS)
    due_ms = next_transition_ms(car, freshness, STALE_MS, LOST_MS)
    if due_ms is None:
        assert freshness == "lost"
    else:
        assert due_ms > now_ms
        assert freshness_of(car, due_ms - 1, STALE_MS, LOST_MS) == freshness
        assert freshness_of(car, due_ms, STALE_MS, LOST_MS) != freshness


def test_a_log_that_was_trimmed_beyond_what_was_missed_begins_anew():
    model = TripModel(new_trip(), kept=3)
    mirror = mirror_of(model, kept=3)
    for number in range(10):
        model.write(found=[found(number)])
    mirror.expect("t-1")
    mirror.apply_snapshot("t-1", model.snapshot())
    mirror.settle(10_000)
    copy = mirror.copy_of("t-1")
    assert copy
    assert copy.after(1) is None
    assert [entry.offset for entry in copy.after(8) or []] == [9, 10, 11]
    assert copy.after(11) == []
    assert copy.after(12) is None


def test_a_failover_that_lost_the_last_events_is_another_log():
    model = TripModel(new_trip())
    for number in range(3):
        model.write(found=[found(number)])
    mirror = mirror_of(model)
    copy = mirror.copy_of("t-1")
    assert copy
    assert copy.shown
    log = copy.shown.log
    # The replica that took over had one event less, and another one has taken its place.
    lost = model.log.pop()
    model.ids.discard(lost.event.event_id)
    model.write(found=[found(99)])
    mirror.expect("t-1")
    mirror.apply_snapshot("t-1", model.snapshot())
    mirror.settle(10_000)
    assert copy.shown.log == log + 1
    assert [entry.event.event_id for entry in copy.after(3) or []] == ["a1:found:99"]
