"""Coming to a zone and leaving it take two fixes each, staying is told once, and no late fix tells anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingest.events import OFFLINE, ONLINE, Ping
from ingest.trips import ZONE_DWELLED, ZONE_ENTERED, ZONE_EXITED
from stream.zone_tracker import ZoneEvent, ZoneTracker, encode_zone_event
from stream.zones import Zones
from tests.stream import maps

NOW_WITHIN_MS = 15_000
#: Two squares that share a corner's neighbourhood: `east` reaches 100 m into `west`, and both are 1 km wide.
WEST = (40.75, -73.98)
EAST = maps.off(WEST, 0.0, 900.0)
ZONES = Zones.parse(
    maps.collection(
        maps.feature("west", [maps.square(WEST, 500.0)], kind="airport", dwell_s=10),
        maps.feature("east", [maps.square(EAST, 500.0)], kind="no_pickup", exit_margin_m=60),
    )
)
#: Metres east of the middle of `west`, on both sides of every border and of every margin.
WEST_M, EAST_M = (-500.0, 500.0, 30.0), (400.0, 1_400.0, 60.0)
STEPS_M = [-900.0, -531.0, -529.0, -501.0, -499.0, 0.0, 339.0, 341.0, 399.0, 401.0, 499.0, 501.0, 529.0, 531.0, 900.0]
STEPS_M += [1_399.0, 1_401.0, 1_459.0, 1_461.0, 9_000.0]


class Fix(NamedTuple):
    """A fix so many metres east of the middle, `age_ms` old when it is read."""

    fix_time_ms: int
    east_m: float
    state: str = ONLINE
    age_ms: int = 0

    def ping(self) -> Ping:
        lat, lon = maps.off(WEST, 0.0, self.east_m)
        return Ping("d", self.fix_time_ms, lat, lon, received_at_ms=0, vehicle_state=self.state)


def observe(tracker: ZoneTracker, fix: Fix) -> list[ZoneEvent]:
    return tracker.observe("d", fix.ping(), fix.fix_time_ms + fix.age_ms)


def told(fixes: Iterable[Fix], tracker: ZoneTracker | None = None) -> list[tuple[str, str, int]]:
    tracker = tracker or ZoneTracker(ZONES, NOW_WITHIN_MS)
    return [(event.verb, event.zone_id, event.fix_time_ms) for fix in fixes for event in observe(tracker, fix)]


def model(fixes: Iterable[Fix]) -> list[tuple[str, str, int]]:
    """By metres along a line and one zone at a time: nothing of it knows cells, polygons or what was kept."""
    story = []
    for zone_id, (west_m, east_m, margin_m), dwell_ms in (("west", WEST_M, 10_000), ("east", EAST_M, None)):
        within, since_ms, dwelled = False, 0, False
        before: tuple[str, int] | None = None
        newest_ms = -1
        for fix in fixes:
            if fix.fix_time_ms <= newest_ms or fix.age_ms >= NOW_WITHIN_MS:
                continue
            newest_ms = fix.fix_time_ms
            if fix.state == OFFLINE:
                if within:
                    story.append(("exit", zone_id, fix.fix_time_ms))
                within, before = False, None
                continue
            out_m = max(west_m - fix.east_m, fix.east_m - east_m)
            now = "in" if out_m <= 0 else "near" if out_m <= margin_m else "far"
            if not within and now == "in" and before is not None and before[0] == "in":
                within, since_ms, dwelled = True, before[1], False
                story.append(("enter", zone_id, fix.fix_time_ms))
            elif within and now == "far" and before is not None and before[0] == "far":
                within = False
                story.append(("exit", zone_id, fix.fix_time_ms))
            if within and now != "far" and dwell_ms and not dwelled and fix.fix_time_ms - since_ms >= dwell_ms:
                dwelled = True
                story.append(("dwell", zone_id, fix.fix_time_ms))
            before = (now, fix.fix_time_ms)
    return sorted(story)


@st.composite
def drives(draw: st.DrawFn, in_order: bool = False) -> list[Fix]:
    """Drives that dwell on the borders. Unless in order, with late, repeated and old fixes, and going offline."""
    states = st.sampled_from([ONLINE] * 9 + [OFFLINE])
    ages = st.sampled_from([0] * 6 + [NOW_WITHIN_MS - 1, NOW_WITHIN_MS, 90_000])
    found, fix_time_ms = [], 100_000
    for _ in range(draw(st.integers(1, 40))):
        fix_time_ms += draw(st.integers(1, 6)) * 1_000
        late_ms = 0 if in_order else draw(st.sampled_from([0] * 6 + [1_000, 2_000, 30_000]))
        step_m = draw(st.sampled_from(STEPS_M))
        for _ in range(draw(st.integers(1, 3))):
            found.append(Fix(fix_time_ms - late_ms, step_m, draw(states), draw(ages)))
            fix_time_ms += draw(st.sampled_from([1_000, 1_000, 0]))
    return found


@settings(max_examples=300, deadline=None)
@given(drives())
def test_what_is_told_is_what_the_rules_say(fixes: list[Fix]) -> None:
    assert sorted(told(fixes)) == model(fixes)


@settings(max_examples=200, deadline=None)
@given(drives(in_order=True), st.sets(st.integers(0, 100)))
def test_a_worker_that_takes_over_tells_what_the_first_would_have_told(fixes: list[Fix], deaths: set[int]) -> None:
    fixes = [*{fix.fix_time_ms: fix for fix in reversed(fixes)}.values()][::-1]
    tracker, kept = ZoneTracker(ZONES, NOW_WITHIN_MS), None
    story = []
    for number, fix in enumerate(fixes):
        if number in deaths:
            tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
            if kept is not None:
                tracker.restore("d", kept)
            assert tracker.save("d") == kept
            assert not tracker.changed()
        story += told([fix], tracker)
        if tracker.changed():
            kept = tracker.save("d")
    assert sorted(story) == model(fixes)


@settings(max_examples=200, deadline=None)
@given(drives(), st.data())
def test_a_late_a_repeated_or_an_old_fix_changes_and_tells_nothing(fixes: list[Fix], data: st.DataObject) -> None:
    tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
    told(fixes, tracker)
    current = [fix.fix_time_ms for fix in fixes if fix.age_ms < NOW_WITHIN_MS]
    assume(current)  # before its first fix nothing of a driver is late
    newest_ms = max(current)
    before = tracker.save("d")
    tracker.changed()
    for _ in range(5):
        late = Fix(data.draw(st.integers(0, newest_ms)), data.draw(st.sampled_from(STEPS_M)))
        old = Fix(newest_ms + 5_000, data.draw(st.sampled_from(STEPS_M)), age_ms=NOW_WITHIN_MS)
        offline = late._replace(state=OFFLINE)
        assert told([late, late, old, old, offline], tracker) == []
    assert tracker.save("d") == before
    assert not tracker.changed()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-25.0, 25.0), min_size=1, max_size=60))
def test_a_car_that_stands_at_the_border_comes_once_and_leaves_once(jitter_m: list[float]) -> None:
    fixes = [Fix(1_000 * number, -500.0 + each) for number, each in enumerate(jitter_m)]
    away = [Fix(100_000 + 1_000 * number, -900.0) for number in range(3)]
    verbs = [verb for verb, _, _ in told(fixes + away) if verb != "dwell"]
    assert verbs in ([], ["enter", "exit"])


def test_one_false_fix_is_neither_coming_nor_going() -> None:
    stray = [Fix(1_000, -900.0), Fix(2_000, 0.0), Fix(3_000, -900.0), Fix(4_000, 0.0), Fix(5_000, -900.0)]
    assert told(stray) == []
    stays = [Fix(1_000, 0.0), Fix(2_000, 0.0), Fix(3_000, -900.0), Fix(4_000, 0.0), Fix(5_000, -900.0), Fix(6_000, 0.0)]
    assert told(stays) == [("enter", "west", 2_000)]


def test_a_driver_goes_from_zone_to_zone_and_is_told_in_order() -> None:
    fixes = [Fix(1_000 * number, -900.0 + 50.0 * number) for number in range(60)]
    assert told(fixes) == [
        ("enter", "west", 9_000),
        ("dwell", "west", 18_000),
        ("enter", "east", 27_000),
        ("exit", "west", 30_000),
        ("exit", "east", 49_000),
    ]


def test_staying_is_told_once_a_visit_and_by_the_time_of_the_fixes() -> None:
    first = [Fix(at, 0.0) for at in (1_000, 5_000, 10_999, 11_000, 20_000, 40_000)]
    again = [Fix(50_000, -900.0), Fix(51_000, -900.0), Fix(60_000, 0.0), Fix(75_000, 0.0)]
    assert told(first + again) == [
        ("enter", "west", 5_000),
        ("dwell", "west", 11_000),
        ("exit", "west", 51_000),
        ("enter", "west", 75_000),
        ("dwell", "west", 75_000),
    ]


def test_going_offline_leaves_at_once_and_coming_back_enters_anew() -> None:
    fixes = [Fix(1_000, 450.0), Fix(2_000, 450.0), Fix(3_000, 450.0, OFFLINE), Fix(4_000, 450.0, OFFLINE)]
    assert told(fixes) == [
        ("enter", "west", 2_000),
        ("enter", "east", 2_000),
        ("exit", "west", 3_000),
        ("exit", "east", 3_000),
    ]
    assert told([*fixes, Fix(5_000, 0.0), Fix(6_000, 0.0)])[4:] == [("enter", "west", 6_000)]


def test_a_driver_in_no_zone_costs_no_memory_but_a_time() -> None:
    tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
    told([Fix(1_000, 9_000.0), Fix(2_000, 9_000.0)], tracker)
    assert tracker.save("d") is None
    assert tracker.changed() == set()


def test_a_driver_who_stays_where_he_is_is_not_saved_with_every_fix() -> None:
    tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
    told([Fix(1_000 * number, 1_000.0) for number in range(10)], tracker)
    assert tracker.changed() == {"d"}
    saved = tracker.save("d")
    told([Fix(1_000 * number, 1_000.0) for number in range(10, 20)], tracker)
    assert tracker.changed() == set()
    assert tracker.save("d") == saved


def test_a_driver_who_came_back_from_the_border_is_saved_as_being_back() -> None:
    tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
    told([Fix(1_000, 0.0), Fix(2_000, 0.0), Fix(3_000, -900.0)], tracker)
    tracker.changed()
    told([Fix(4_000, 0.0)], tracker)
    assert tracker.changed() == {"d"}
    saved = tracker.save("d")
    assert saved is not None
    other = ZoneTracker(ZONES, NOW_WITHIN_MS)
    other.restore("d", saved)
    assert told([Fix(5_000, -900.0)], other) == []
    assert told([Fix(6_000, -900.0)], other) == [("exit", "west", 6_000)]


def test_a_driver_who_is_forgotten_begins_anew() -> None:
    tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
    told([Fix(1_000, 0.0), Fix(2_000, 0.0)], tracker)
    tracker.changed()
    tracker.forget("d")
    assert tracker.save("d") is None
    assert tracker.changed() == {"d"}
    tracker.forget("d")
    assert tracker.changed() == set()
    assert told([Fix(1_000, 0.0), Fix(2_000, 0.0)], tracker) == [("enter", "west", 2_000)]


def test_a_zone_that_left_the_file_is_left_without_a_word() -> None:
    tracker = ZoneTracker(ZONES, NOW_WITHIN_MS)
    told([Fix(1_000, 450.0), Fix(2_000, 450.0)], tracker)
    saved = tracker.save("d")
    assert saved is not None
    fewer = ZoneTracker(Zones.parse(maps.collection(maps.feature("east", [maps.square(EAST, 500.0)]))), NOW_WITHIN_MS)
    fewer.restore("d", saved)
    assert fewer.changed() == {"d"}
    assert told([Fix(2_000, -900.0), Fix(3_000, -900.0), Fix(4_000, -900.0)], fewer) == [("exit", "east", 4_000)]


def test_what_was_saved_by_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        ZoneTracker(ZONES, NOW_WITHIN_MS).restore("d", b"\x01")


@pytest.mark.parametrize(("type_", "verb"), [(ZONE_ENTERED, "enter"), (ZONE_EXITED, "exit"), (ZONE_DWELLED, "dwell")])
def test_a_zone_event_in_kafka_holds_no_position(type_: str, verb: str) -> None:
    event = ZoneEvent(type_, "jfk", "airport", "d-1", 5_000)
    assert json.loads(encode_zone_event(event, 5_000)) == {
        "event_id": f"d-1:{verb}:jfk:5000",
        "type": type_,
        "driver_id": "d-1",
        "zone_id": "jfk",
        "kind": "airport",
        "at_ms": 5_000,
    }
