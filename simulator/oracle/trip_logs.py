"""One trip's events at its end: what a rider was told against what was said and what was found. Pure.

- *Said* is the trip's history as ingest answers it: every event of it was acknowledged, so the rider must have been
  told each of them, in its order, and as it is there. (Twice is noted when it is told: simulator/riders/trip_view.py.)
- *Found* is what stream found from the pings (`trip.approaching`, `trip.arrived`, zones). Nobody outside knows what it
  ought to find, but whoever asks push for the trip's log must be told the same as the rider was, and nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from simulator.counts.findings import Kind
from simulator.dispatch.trip_answers import TripEvent

#: Hears of one finding: its kind, and the evidence.
Note = Callable[..., None]
ARRIVED = "trip.arrived"


def judge_log(
    said: Sequence[TripEvent], told: Sequence[TripEvent], kept: Sequence[TripEvent] | None, note: Note
) -> None:
    """`said` is ingest's history, `told` the rider's log in the order told, `kept` push's; None: it did not answer."""
    _judge_said(said, told, note)
    arrivals = Counter((event.place, event.assignment) for event in told if event.type == ARRIVED)
    for (place, _), times in arrivals.items():
        if times > 1:
            note(Kind.TRIP_EVENT_DOUBLED, what="the car arrived more than once", place=place, times=times)
    if kept is not None:
        _judge_kept(kept, told, note)


def judge_promises(before: Sequence[TripEvent], after: Sequence[TripEvent], note: Note) -> None:
    """Two answers of ingest, the later one `after`: what was acknowledged stays."""
    for at, event in enumerate(before):
        if at >= len(after) or after[at] != event:
            what = "acknowledged, and not in the trip's history any more"
            note(Kind.TRIP_EVENT_LOST, what=what, event=event.event_id, state=event.state)


def _judge_said(said: Sequence[TripEvent], told: Sequence[TripEvent], note: Note) -> None:
    by_id = {event.event_id: event for event in said}
    heard = [event for event in told if event.event_id in by_id]
    ids = {event.event_id for event in heard}
    for event in said:
        if event.event_id not in ids:
            note(
                Kind.TRIP_EVENT_LOST,
                what="acknowledged, and never told to the rider",
                event=event.event_id,
                state=event.state,
                said_at_ms=event.at_ms,
            )
    for event in heard:
        if replace(event, offset=0) != by_id[event.event_id]:
            note(Kind.WIRE, what="told otherwise than acknowledged", event=event.event_id)
    for event in told:
        if event.event_id.startswith("v") and event.event_id not in by_id:
            note(Kind.WIRE, what="told, though nobody said it", event=event.event_id, state=event.state)
    _judge_order([event.event_id for event in said], [event.event_id for event in heard], note)


def _judge_kept(kept: Sequence[TripEvent], told: Sequence[TripEvent], note: Note) -> None:
    ids, kept_ids = {event.event_id for event in told}, {event.event_id for event in kept}
    for event in kept:
        # What people said was judged by ingest's word.
        if event.event_id not in ids and not event.event_id.startswith("v"):
            what = "in the trip's log, and never told to the rider"
            note(Kind.TRIP_EVENT_LOST, what=what, event=event.event_id, offset=event.offset)
    first = kept[0].offset if kept else 0
    for event in told:
        if event.event_id not in kept_ids and event.offset >= first:
            note(Kind.WIRE, what="told, and not in the trip's log", event=event.event_id, offset=event.offset)
    _judge_order([event.event_id for event in kept], [event.event_id for event in told], note)


def _judge_order(order: Sequence[str], told: Sequence[str], note: Note) -> None:
    ranks = {event_id: rank for rank, event_id in enumerate(order)}
    last, last_id = -1, ""
    for event_id in told:
        rank = ranks.get(event_id)
        if rank is None:
            continue
        if rank < last:
            note(Kind.TRIP_EVENT_OUT_OF_ORDER, what="told after a later event", event=event_id, after=last_id)
        else:
            last, last_id = rank, event_id
