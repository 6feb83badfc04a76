"""A trip's track at its end: every accepted fix of its driver, once, in order, where the phone said it was. Pure.

Judged is the inner part of the trip: from when its driver was known to be under way to when somebody first asked to end
it, less a margin at both ends, for at the edges it is the system's to say which fix is still of the trip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from simulator.counts.findings import Kind
from simulator.dispatch.trip_answers import Track
from simulator.phones.outboxes import Sent

Note = Callable[..., None]
#: Degrees by which a position may differ from what was sent: a tenth of a metre, for what is rounded on the way.
SAME_DEG = 1e-6


class Span(NamedTuple):
    """The inner part of a trip, and until when (epoch ms) ingest must have accepted a fix for it to be missed."""

    from_ms: int
    until_ms: int
    accepted_by_ms: int


def judge_track(span: Span, sent: Sequence[tuple[int, Sent]], track: Track, note: Note) -> int:
    """`sent` are (fix time, what was sent) of the driver within the span. Returns how many fixes were looked for."""
    times = [at_ms for at_ms, _, _ in track.fixes]
    for at_ms, many in Counter(times).items():
        if many > 1:
            note(Kind.PING_DOUBLED, what="a fix is in the track more than once", fix_time_ms=at_ms, times=many)
    for before_ms, after_ms in pairwise(times):
        if after_ms < before_ms:
            note(Kind.BACKWARDS, what="the track goes back in time", fix_time_ms=after_ms, before_ms=before_ms)
    there = {at_ms: (lat, lon) for at_ms, lat, lon in track.fixes}
    looked_for = 0
    for at_ms, fix in sent:
        accepted = fix.judged_ms is not None and fix.reason is None
        # What a phone whose clock is ahead sent before the trip was there may be of it or not.
        in_time = fix.sent_ms >= span.from_ms and fix.judged_ms is not None and fix.judged_ms <= span.accepted_by_ms
        if accepted and in_time and fix.judged_ms is not None:
            looked_for += 1
            if at_ms not in there:
                what = "accepted, and not in the trip's track"
                late_ms = fix.judged_ms - at_ms
                note(Kind.PING_LOST, what=what, fix_time_ms=at_ms, accepted_ms=fix.judged_ms, late_ms=late_ms)
        # Of two fixes with one time, one of them false, the system may keep either.
        if accepted and fix.honest and fix.expect == "shown" and at_ms in there:
            lat, lon = there[at_ms]
            if abs(lat - fix.lat) > SAME_DEG or abs(lon - fix.lon) > SAME_DEG:
                what = "the track has another place for a fix than was sent"
                note(Kind.POSITION_ERROR, what=what, fix_time_ms=at_ms, shown=(lat, lon), sent=(fix.lat, fix.lon))
    known = dict(sent)
    for at_ms in there:
        if span.from_ms <= at_ms <= span.until_ms:
            fix_known = known.get(at_ms)
            if fix_known is None:
                note(Kind.GHOST, what="a fix in the track was never sent", fix_time_ms=at_ms)
            elif fix_known.reason is not None:
                note(Kind.GHOST, what="a rejected fix is in the track", fix_time_ms=at_ms, reason=fix_known.reason)
    return looked_for
