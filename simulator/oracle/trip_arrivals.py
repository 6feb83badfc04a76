"""What stream found of a trip at its stops, that the car approaches and has arrived, against what its phone sent. Pure.

- *Not too soon*: an event is of the time of a fix. That fix was sent; of an arrival it lies within the arrival radius
  of the stop, and of an approach not so far that nobody drives there in the time that is told.
- *Not too often*: an arrival once for each stop (trip_logs.py), approaches no more often than there are times to tell
  it at, and none after the arrival.
- *Not never*: who stays within the radius long enough, with fixes that come at once, has arrived. How long is long,
  `must_arrive` says: two looks at the car by stream were due, however late each is, before somebody said it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from simulator.counts.findings import Kind
from simulator.dispatch.rides import Place
from simulator.dispatch.trip_answers import TripEvent
from simulator.oracle.sphere import distance_m
from simulator.oracle.trip_progress import MAX_SPEED_MPS, SOONER_S
from simulator.phones.outboxes import Sent

Note = Callable[..., None]
ARRIVED, APPROACHING = "trip.arrived", "trip.approaching"
#: The default of RIDESTREAM_ARRIVAL_RADIUS_M (docs/configuration.md), by the fix that was sent: no margin but a metre.
ARRIVAL_RADIUS_M, ROUNDING_M = 60.0, 1.0
#: Riders are told five minutes before, and one.
APPROACHES = 2


class Visit(NamedTuple):
    """The way to one stop. Epoch ms: that the car heads there was acknowledged; somebody asked for what comes after."""

    place: str
    heading_ms: int
    leaving_ms: int


def judge_found(
    events: Sequence[TripEvent],
    stops: Mapping[str, Place],
    find: Callable[[int], Sent | None],
    since_ms: int,
    note: Note,
) -> None:
    """`events` are the log as told; `find` knows what was sent with a fix time, if that was after `since_ms`."""
    arrived: set[tuple[str, int]] = set()
    approaches: Counter[tuple[str, int]] = Counter()
    for event in events:
        if event.type not in (ARRIVED, APPROACHING):
            continue
        key, stop = (event.place, event.assignment), stops.get(event.place)
        if stop is None:
            note(Kind.WIRE, what="a stop that the trip does not have", event=event.event_id, place=event.place)
            continue
        _judge_moment(event, stop, find(event.at_ms), since_ms, note)
        if event.type == ARRIVED:
            arrived.add(key)
            continue
        approaches[key] += 1
        if approaches[key] == APPROACHES + 1:
            what = "said to approach again and again"
            note(Kind.TRIP_EVENT_DOUBLED, what=what, event=event.event_id, place=event.place)
        if key in arrived:
            what = "said to approach a stop where it has arrived"
            note(Kind.TRIP_EVENT_OUT_OF_ORDER, what=what, event=event.event_id, place=event.place)


def _judge_moment(event: TripEvent, stop: Place, sent: Sent | None, since_ms: int, note: Note) -> None:
    evidence = {"event": event.event_id, "place": event.place, "fix_time_ms": event.at_ms}
    if sent is None:
        if event.at_ms > since_ms:
            note(Kind.TRIP_EVENT_FALSE, what="found at a fix that was never sent", **evidence)
        return
    off_m = distance_m(sent.lat, sent.lon, stop.lat, stop.lon)
    if event.type == ARRIVED:
        if off_m > ARRIVAL_RADIUS_M + ROUNDING_M:
            note(Kind.TRIP_EVENT_FALSE, what="said to have arrived, and is elsewhere", off_m=off_m, **evidence)
    elif event.eta_s is None or event.eta_s < 0:
        note(Kind.WIRE, what="approaching, and nobody says when", eta_s=event.eta_s, **evidence)
    elif off_m > (event.eta_s + SOONER_S) * MAX_SPEED_MPS:
        what = "said to approach, and is too far for that"
        note(Kind.TRIP_EVENT_FALSE, what=what, off_m=off_m, eta_s=event.eta_s, **evidence)


def must_arrive(
    visit: Visit, stop: Place, sent: Sequence[tuple[int, Sent]], settle_ms: int, fresh_ms: int
) -> list[tuple[int, Sent]]:
    """The fixes, oldest first, by which the car has arrived; none when it need not have been found.

    `sent` are (fix time, what was sent) until `visit.leaving_ms`, oldest first. Of those to be shown the last in a row
    within the radius count, when ingest accepted them at most `fresh_ms` after they were taken. What was accepted at
    `a` has been looked at by `a + settle_ms`. So one look falls between the first and `settle_ms` later, and another
    no later than `settle_ms` after a newer fix that was accepted later than that.
    """
    inside: list[tuple[int, Sent]] = []
    for fix_time_ms, fix in reversed(sent):
        if fix.expect != "shown":
            continue
        accepted_ms = fix.judged_ms if fix.reason is None else None
        if (
            accepted_ms is None
            or accepted_ms - fix_time_ms > fresh_ms
            or accepted_ms < visit.heading_ms + settle_ms
            or distance_m(fix.lat, fix.lon, stop.lat, stop.lon) > ARRIVAL_RADIUS_M - ROUNDING_M
        ):
            break
        inside.append((fix_time_ms, fix))
    inside.reverse()
    first_ms = _accepted_ms(inside[0][1]) if inside else 0
    by_ms = first_ms + settle_ms
    # Where fixes overtake one another, only a newer one than was looked at is another look.
    seen_ms = max((fix_time_ms for fix_time_ms, fix in inside if _accepted_ms(fix) <= by_ms), default=0)
    again = any(
        fix_time_ms > seen_ms and by_ms < _accepted_ms(fix) <= visit.leaving_ms - settle_ms
        for fix_time_ms, fix in inside
    )
    return inside if again else []


def _accepted_ms(fix: Sent) -> int:
    assert fix.judged_ms is not None
    return fix.judged_ms
