"""Whatever is lost on the way to push, and however often a rider is cut off: every event once, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.trips import COMPLETE, ENROUTE_TO_DROPOFF, ENROUTE_TO_PICKUP, TripEvent
from push.mirror import Outcome
from push.trip_mirror import TripMirror
from push.trip_outbox import EVENTS_AT_ONCE, TripOutbox
from push.trip_view import TripView
from stream.trip_channels import TripDelta
from tests.push.trip_model import TripApp, TripModel, moved, new_trip, reassigned, trip_car

STALE_MS, LOST_MS = 15_000, 60_000


class World:
    """A trip in Redis, a mirror that may miss changes of it, and riders who come and go."""

    def __init__(self, kept: int = 1_000, riders: int = 1, shared: bool = False) -> None:
        self.model, self.now_ms, self.numbers = TripModel(new_trip(), kept), 100_000, 0
        self.mirror = TripMirror(STALE_MS, LOST_MS, kept)
        self.read()
        copy = self.mirror.copy_of("t-1")
        assert copy is not None
        self.view = TripView(copy, shared)
        self.apps = [TripApp() for _ in range(riders)]
        self.outboxes = [self.connect(app) for app in self.apps]

    def connect(self, app: TripApp) -> TripOutbox:
        outbox = TripOutbox("mine", self.view, (app.epoch, app.offset) if app.epoch else None)
        outbox.held = False
        return outbox

    def read(self) -> None:
        self.mirror.expect("t-1")
        assert self.mirror.apply_snapshot("t-1", self.model.snapshot()) is Outcome.APPLIED

    def hear(self, delta: TripDelta | None) -> None:
        if delta is not None and self.mirror.apply_delta("t-1", delta) is Outcome.GAP:
            self.read()

    def settle(self) -> None:
        self.mirror.settle(self.now_ms)

    def take(self, rider: int, positions: bool = True, most: int = 1_000) -> list[dict[str, Any]]:
        told = []
        while len(told) < most and (message := self.outboxes[rider].take(self.now_ms, positions)) is not None:
            body = json.loads(message.payload)
            assert body["type"] == message.type
            assert body.get("sub") == "mine"
            assert len(body.get("events", ())) == message.events
            self.apps[rider].fold(body)
            told.append(body)
        return told

    def event(self) -> TripEvent:
        self.numbers += 1
        trip = self.model.trip
        return TripEvent(f"found:{self.numbers}", "trip.approaching", self.now_ms, trip.state, trip.driver_id, 1)


def test_a_rider_is_told_all_of_it_then_events_freshness_and_the_newest_position():
    world = World()
    world.settle()
    (snapshot,) = world.take(0)
    assert (snapshot["mode"], snapshot["offset"], snapshot["freshness"]) == ("snapshot", 1, "none")
    assert snapshot["trip"]["rider_id"] == "rider-1"
    assert snapshot["trip"]["pickup"]["name"] == "Home, 2nd floor"
    assert "history" not in snapshot["trip"]
    for at_ms in (97_000, 98_000, 99_000):
        world.hear(world.model.write(car=trip_car(world.model.trip, at_ms, remaining_m=700.0, eta_s=100.0)))
    world.hear(world.model.write(moved(world.model.trip, ENROUTE_TO_PICKUP)))
    world.settle()
    events, freshness, position = world.take(0)
    assert [event["event_id"] for event in events["events"]] == ["v2"]
    assert events["trip"]["state"] == ENROUTE_TO_PICKUP
    assert freshness == {
        "type": "trip_freshness", "sub": "mine", "server_time_ms": 100_000, "freshness": "live", "age_ms": 1_000,
        "fix_time_ms": 99_000,
    }  # fmt: skip
    assert (position["car"]["fix_time_ms"], position["car"]["age_ms"]) == (99_000, 1_000)
    assert position["progress"]["eta_ms"] == 199_000
    assert world.take(0) == []


def test_a_rider_who_takes_no_positions_still_gets_events_and_freshness():
    world = World()
    world.settle()
    world.take(0)
    world.hear(world.model.write(moved(world.model.trip, ENROUTE_TO_PICKUP), car=trip_car(world.model.trip, 99_000)))
    world.settle()
    assert [each["type"] for each in world.take(0, positions=False)] == ["trip_events", "trip_freshness"]
    world.hear(world.model.write(car=trip_car(world.model.trip, 99_500)))
    world.settle()
    (position,) = world.take(0)
    assert position["car"]["fix_time_ms"] == 99_500


def test_many_events_come_in_messages_of_a_bounded_number_and_the_trip_with_the_last():
    world = World()
    world.settle()
    world.take(0)
    for _ in range(2 * EVENTS_AT_ONCE):
        world.hear(world.model.write(found=[world.event()]))
    world.hear(world.model.write(moved(world.model.trip, ENROUTE_TO_PICKUP)))
    world.settle()
    told = world.take(0)
    assert [len(each["events"]) for each in told] == [EVENTS_AT_ONCE, EVENTS_AT_ONCE, 1]
    assert ["trip" in each for each in told] == [False, False, True]


def test_a_rider_who_comes_back_gets_exactly_what_it_missed_or_all_when_that_is_gone():
    world = World(kept=5, riders=2)
    world.settle()
    for rider in (0, 1):
        world.take(rider)
    for _ in range(3):
        world.hear(world.model.write(found=[world.event()]))
    world.settle()
    world.outboxes[0] = world.connect(world.apps[0])
    (replay,) = world.take(0)
    assert (replay["mode"], replay["replayed"], len(replay["events"])) == ("replay", 3, 3)
    for _ in range(9):
        world.hear(world.model.write(found=[world.event()]))
    world.settle()
    world.outboxes[1] = world.connect(world.apps[1])
    message = world.outboxes[1].take(world.now_ms, True)
    assert message is not None
    assert message.resumed == "snapshot"
    told = json.loads(message.payload)
    assert [event["offset"] for event in told["events"]] == [9, 10, 11, 12, 13]
    # A rider who is connected, and for whom the log was trimmed, is told anew too.
    (anew,) = world.take(0)
    assert anew["mode"] == "snapshot"


def test_a_position_of_another_epoch_or_from_the_future_is_a_snapshot():
    world = World()
    world.settle()
    for recover in (("7", 99), ("8", 0), ("", 0), ("seven", 0), ("٧", 0)):
        outbox = TripOutbox("mine", world.view, recover)
        outbox.held = False
        message = outbox.take(world.now_ms, True)
        assert message is not None
        assert message.resumed == "snapshot", recover


def test_after_the_end_there_is_a_last_event_and_no_position_ever():
    world = World()
    world.hear(world.model.write(car=trip_car(world.model.trip, 99_000)))
    world.settle()
    world.take(0)
    world.hear(world.model.write(moved(world.model.trip, COMPLETE), car=trip_car(world.model.trip, 99_500)))
    world.settle()
    assert [each["type"] for each in world.take(0)] == ["trip_events", "trip_freshness"]
    assert world.apps[0].freshness == "none"
    world.hear(world.model.write(car=trip_car(world.model.trip, 99_900)))
    world.settle()
    assert world.take(0) == []


def test_a_share_link_ends_with_its_trip_after_the_last_event():
    world = World(shared=True)
    world.settle()
    world.take(0)
    world.hear(world.model.write(moved(world.model.trip, COMPLETE)))
    world.settle()
    events, ended = world.take(0)
    assert events["trip"] == {"trip_id": "t-1", "version": 2, "state": COMPLETE}
    assert ended["type"] == "trip_ended"
    assert world.outboxes[0].over
    late = world.connect(TripApp())
    message = late.take(world.now_ms, True)
    assert message is not None
    assert json.loads(message.payload) == {"type": "trip_ended", "sub": "mine", "reason": "trip_over"}
    assert late.take(world.now_ms, True) is None


def test_a_share_link_is_not_told_anew_of_a_trip_that_has_ended_meanwhile():
    world = World(shared=True)
    world.settle()
    world.take(0)
    world.model.wipe()
    world.hear(world.model.write(moved(world.model.trip, COMPLETE)))
    world.settle()
    assert [each["type"] for each in world.take(0)] == ["trip_ended"]


def test_a_rider_resumes_in_the_log_that_it_was_told_and_not_in_one_that_came_after():
    world = World()
    assert world.outboxes[0].position == ""
    world.settle()
    for _ in range(4):
        world.hear(world.model.write(found=[world.event()]))
    world.settle()
    world.take(0)
    app = world.apps[0]
    world.model.wipe()
    world.hear(world.model.write(world.model.trip))
    for _ in range(6):
        world.hear(world.model.write(found=[world.event()]))
    world.settle()  # and the rider, who reads nothing, is closed with 4008
    assert world.outboxes[0].position == f"{app.epoch}/{app.offset}"
    world.outboxes[0] = world.connect(app)
    (anew,) = world.take(0)
    assert anew["mode"] == "snapshot"
    assert [event["event_id"] for event in app.events] == [entry.event.event_id for entry in world.model.log]


def test_riders_who_watch_the_same_are_told_the_same_bytes():
    world = World(riders=2)
    world.settle()
    for rider in (0, 1):
        world.take(rider)
    world.hear(world.model.write(car=trip_car(world.model.trip, 99_000)))
    world.settle()
    shown = world.view.copy.shown
    assert shown is not None
    assert shown.car is not None
    tails = [world.view.position(shown, shown.car, world.now_ms) for _ in range(2)]
    assert tails[0] is tails[1]


def test_a_held_subscription_owes_nothing():
    world = World()
    world.settle()
    world.outboxes[0].held = True
    assert world.take(0) == []


STEPS = st.one_of(
    st.tuples(st.sampled_from(["event", "move", "reassign", "gone", "wipe", "read", "overlap"]), st.booleans()),
    st.tuples(st.just("drive"), st.integers(-5_000, 5_000), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 40_000)),
    st.tuples(st.just("turn"), st.integers(0, 1), st.booleans(), st.sampled_from([0, 1, 2, 99])),
    st.tuples(st.just("cut off"), st.integers(0, 1), st.sampled_from([0, 1, 99])),
)


def run(world: World, steps: list[tuple[Any, ...]]) -> Iterator[None]:
    model = world.model
    for step in steps:
        deltas: list[TripDelta | None] = []
        match step:
            case "event", _:
                deltas.append(model.write(found=[world.event()]))
            case "move", _:
                states = (ENROUTE_TO_PICKUP, ENROUTE_TO_DROPOFF)
                deltas.append(model.write(moved(model.trip, states[model.trip.version % 2])))
            case "reassign", _:
                deltas.append(model.write(reassigned(model.trip, f"d-{model.trip.assignment + 1}")))
            case "gone", _:
                deltas.append(model.write(car_gone=True))
            case "drive", shift_ms, _:
                deltas.append(model.write(car=trip_car(model.trip, world.now_ms + shift_ms)))
            case "wipe", _:
                model.wipe()
            case "read", _:
                world.read()
            case "overlap", both:  # something is written while the trip is being read
                world.mirror.expect("t-1")
                before = model.snapshot()
                delta = model.write(found=[world.event()])
                assert delta is not None
                assert world.mirror.apply_delta("t-1", delta) is Outcome.BUFFERED
                assert world.mirror.apply_snapshot("t-1", model.snapshot() if both else before) is Outcome.APPLIED
            case "wait", for_ms:
                world.now_ms += for_ms
            case "turn", rider, positions, most:
                world.settle()
                world.take(rider, positions, most)
                app = world.apps[rider]
                if world.outboxes[rider].position:
                    assert world.outboxes[rider].position == f"{app.epoch}/{app.offset}"
            case "cut off", rider, heard:
                # What was sent in the last moment may not have arrived.
                app, outbox = world.apps[rider], world.outboxes[rider]
                world.take(rider, True, heard)
                outbox.take(world.now_ms, True)
                world.outboxes[rider] = world.connect(app)
        arrives = step[-1] if step[0] in ("event", "move", "reassign", "gone", "drive") else True
        for delta in deltas:
            if arrives:
                world.hear(delta)
        yield


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([3, 1_000]), st.lists(STEPS, max_size=40))
def test_every_rider_ends_with_every_event_once_and_in_order(kept, steps):
    world = World(kept, riders=2)
    for _ in run(world, steps):
        pass  # the apps hold every message to the promises
    if not world.model.known:
        world.model.write()
    world.read()
    world.settle()
    for rider, app in enumerate(world.apps):
        world.take(rider)
        log = [entry.event.event_id for entry in world.model.log]
        told = [event["event_id"] for event in app.events]
        assert app.offset == len(log)
        assert told == log[len(log) - len(told) :]
        if kept == 1_000:
            assert told == log
        else:
            assert len(told) >= min(kept, len(log))
        shown = world.view.copy.shown
        assert shown is not None
        assert app.trip["version"] == shown.trip.version
        assert app.freshness == shown.freshness
        assert (app.car or {}).get("fix_time_ms") == (shown.car.fix_time_ms if shown.car else None)
