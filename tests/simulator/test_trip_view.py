"""A rider's screen of one trip: whatever is cut off and resumed it shows the whole log, and no lie goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from simulator.counts.findings import Findings, Kind
from simulator.dispatch.rides import COMPLETE, ENDED, STATES
from simulator.dispatch.trip_answers import TripEvent
from simulator.riders.trip_view import (
    SUB,
    ShownTrip,
    TripCar,
    TripEvents,
    TripFreshness,
    TripMessage,
    TripPosition,
    TripSnapshot,
    TripView,
    decode_trip_message,
)

AT_MS = 1_767_225_600_000
Mutant = Callable[["Server", TripMessage], "list[TripMessage]"]


class Server:
    """Push as docs/wire/websocket.md promises it, of one trip; a mutant changes what leaves it."""

    def __init__(self, mutant: Mutant | None = None) -> None:
        self.log: list[TripEvent] = []
        self.trip = ShownTrip("t-1", 0, "", "d-1", 1)
        self.car: TripCar | None = None
        self.freshness = "none"
        self.now_ms = AT_MS
        self._mutant = mutant
        self._said = ""
        self.told = 0
        self.on_next()

    def on_next(self) -> None:
        """Somebody says the next state."""
        state = STATES[self.trip.version]
        self.trip = replace(self.trip, version=self.trip.version + 1, state=state)
        self._log(f"v{self.trip.version}", "trip.state_changed", "dispatch")
        if state in ENDED:
            self.car, self.freshness = None, "none"

    def find(self, number: int) -> None:
        """stream finds something."""
        self._log(f"a1:zone:{number}", "geofence.entered", "")

    def drive(self, ago_ms: int) -> None:
        self.now_ms += 1_000
        fix_time_ms = max(self.now_ms - ago_ms, 0 if self.car is None else self.car.fix_time_ms)
        self.freshness = "live" if self.now_ms - fix_time_ms < 15_000 else "stale"
        self.car = TripCar("d-1", 40.75, -73.99, fix_time_ms, self.now_ms - fix_time_ms, self.freshness)

    def _log(self, event_id: str, type_: str, by: str) -> None:
        self.log.append(TripEvent(event_id, type_, self.now_ms, self.trip.state, "d-1", 1, len(self.log) + 1, by=by))

    def snapshot(self, recover: int | None = None) -> list[TripMessage]:
        """What a new connection is told first; `recover` is the offset that it knows."""
        self.told, self._said = len(self.log), self.freshness
        self._shown = self.car
        mode, events = ("snapshot", self.log) if recover is None else ("replay", self.log[recover:])
        snapshot = TripSnapshot(
            SUB,
            mode,  # type: ignore[arg-type]
            "e-1",
            len(self.log),
            self.now_ms,
            self.trip,
            self.freshness,
            list(events),
            self.car,
            len(events) if mode == "replay" else 0,
        )
        return self._out(snapshot)

    def news(self) -> list[TripMessage]:
        """What is owed to a connection: events, then freshness, then the position."""
        owed: list[TripMessage] = []
        if self.told < len(self.log):
            events, self.told = self.log[self.told :], len(self.log)
            owed += self._out(TripEvents(SUB, "e-1", len(self.log), self.now_ms, events, self.trip))
        if self.freshness != self._said:
            self._said = self.freshness
            owed += self._out(TripFreshness(SUB, self.now_ms, self.freshness))
        if self.car is not None and self.car != self._shown:
            self._shown = self.car
            owed += self._out(TripPosition(SUB, self.now_ms, self.car))
        return owed

    def _out(self, message: TripMessage) -> list[TripMessage]:
        return [message] if self._mutant is None else self._mutant(self, message)


def watch(server: Server, seed: int, steps: int = 40) -> tuple[TripView, Findings]:
    """A trip to its end, seen by a rider who is cut off now and then. Every message crosses the wire."""
    random, findings = Random(seed), Findings()
    view = TripView("t-1", findings)

    def take(messages: list[TripMessage]) -> None:
        for message in messages:
            view.take(decode_trip_message(msgspec.json.encode(message)), server.now_ms)

    take(server.snapshot())
    for step in range(steps):
        match random.randrange(6):
            case 0 if server.trip.state not in ENDED:
                server.on_next()
            case 1 if server.trip.state not in ENDED:
                server.find(step)
            case 2:
                view.cut_off()
                take(server.snapshot(None if random.random() < 0.2 else view.offset))
            case _ if server.trip.state not in ENDED:
                server.drive(random.choice([100, 2_000, 20_000]))
        if random.random() < 0.8:
            take(server.news())
    while server.trip.state != COMPLETE:
        server.on_next()
        take(server.news())
    # It may have ended in the last step, whose news were not taken yet.
    take(server.news())
    return view, findings


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
@example(seed=38357)
def test_a_server_that_keeps_its_promises_is_never_accused_and_its_log_is_shown_whole(seed: int) -> None:
    server = Server()
    view, findings = watch(server, seed)
    assert findings.counts.total() == 0, findings.first
    assert view.events == server.log
    assert view.offset == len(server.log)
    assert view.has_ended
    assert view.car is None


def lose_an_event(_: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripEvents) and len(message.events) == 1 and message.offset % 3 == 0:
        return []
    return [message]


def conflate(_: Server, message: TripMessage) -> list[TripMessage]:
    """Only the newest event of several is told."""
    return [replace(message, events=message.events[-1:])] if isinstance(message, TripEvents) else [message]


def double(_: Server, message: TripMessage) -> list[TripMessage]:
    return [message, message] if isinstance(message, TripEvents) else [message]


def swap(_: Server, message: TripMessage) -> list[TripMessage]:
    return [replace(message, events=message.events[::-1])] if isinstance(message, TripEvents) else [message]


def replay_too_much(server: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripSnapshot) and message.mode == "replay":
        return [replace(message, events=list(server.log), replayed=len(server.log))]
    return [message]


def rewrite(_: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripSnapshot) and message.mode == "snapshot" and len(message.events) > 3:
        return [replace(message, events=[replace(event, state="NEW") for event in message.events])]
    return [message]


def go_back(server: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripPosition):
        return [replace(message, car=replace(message.car, fix_time_ms=message.car.fix_time_ms - server.told * 3_000))]
    return [message]


def drive_on_after_the_end(server: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripEvents) and message.trip is not None and message.trip.state == COMPLETE:
        car = TripCar("d-1", 40.75, -73.99, server.now_ms, 0, "live")
        return [message, TripPosition(SUB, server.now_ms, car)]
    return [message]


def show_another(_: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripPosition):
        return [replace(message, car=replace(message.car, driver_id="d-2"))]
    return [message]


def always_live(_: Server, message: TripMessage) -> list[TripMessage]:
    return [] if isinstance(message, TripFreshness) else [message]


def say_twice(_: Server, message: TripMessage) -> list[TripMessage]:
    return [message, message] if isinstance(message, TripFreshness) else [message]


def skip_the_snapshot(_: Server, message: TripMessage) -> list[TripMessage]:
    return [] if isinstance(message, TripSnapshot) else [message]


def old_trip(_: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripEvents) and message.trip is not None and message.trip.version > 2:
        return [replace(message, trip=replace(message.trip, version=1, state="NEW"))]
    return [message]


def another_trip(_: Server, message: TripMessage) -> list[TripMessage]:
    if isinstance(message, TripSnapshot):
        return [replace(message, trip=replace(message.trip, trip_id="t-2"))]
    return [message]


def another_time(server: Server, message: TripMessage) -> list[TripMessage]:
    return [replace(message, server_time_ms=server.now_ms - server.told)]


@pytest.mark.parametrize(
    ("mutant", "kind"),
    [
        (lose_an_event, Kind.TRIP_EVENT_LOST),
        (conflate, Kind.TRIP_EVENT_LOST),
        (double, Kind.TRIP_EVENT_DOUBLED),
        (swap, Kind.TRIP_EVENT_OUT_OF_ORDER),
        (replay_too_much, Kind.TRIP_EVENT_DOUBLED),
        (rewrite, Kind.TRIP_EVENT_LOST),
        (go_back, Kind.BACKWARDS),
        (drive_on_after_the_end, Kind.GHOST),
        (show_another, Kind.GHOST),
        (always_live, Kind.WIRE),
        (say_twice, Kind.WIRE),
        (skip_the_snapshot, Kind.WIRE),
        (old_trip, Kind.TRIP_EVENT_OUT_OF_ORDER),
        (another_trip, Kind.WIRE),
        (another_time, Kind.WIRE),
    ],
)
def test_each_broken_promise_is_noted_under_its_name(mutant: Mutant, kind: Kind) -> None:
    found = [watch(Server(mutant), seed)[1] for seed in range(12)]
    caught = [findings for findings in found if findings.counts[kind]]
    assert len(caught) >= 6, "most trips meet it"
    finding = caught[0].first[kind]
    assert (finding.who, finding.driver_id) in {("t-1", "d-1"), ("t-1", "")}
    assert finding.evidence["what"]


def test_a_log_that_is_told_anew_after_a_loss_of_redis_replaces_what_was_known() -> None:
    server = Server()
    findings = Findings()
    view = TripView("t-1", findings)
    for message in server.snapshot():
        view.take(message, AT_MS)
    server.find(1)
    (again,) = server.snapshot()
    assert isinstance(again, TripSnapshot)
    view.take(replace(again, epoch="e-2"), AT_MS)
    assert (view.epoch, view.offset, findings.counts.total()) == ("e-2", 2, 0)
    assert [event.event_id for event in view.events] == ["v1", "a1:zone:1"]


def test_news_are_what_was_not_known_before() -> None:
    server = Server()
    view = TripView("t-1", Findings())
    (first,) = server.snapshot()
    assert [event.event_id for event in view.take(first, AT_MS).events] == ["v1"]
    server.drive(100)
    told = [view.take(message, AT_MS) for message in server.news()]
    assert [news.car is not None for news in told] == [False, True]
    server.on_next()
    view.cut_off()
    assert view.settled_since_ms is None
    (resumed,) = server.snapshot(view.offset)
    assert [event.event_id for event in view.take(resumed, AT_MS + 5).events] == ["v2"]
    assert view.settled_since_ms == AT_MS + 5
