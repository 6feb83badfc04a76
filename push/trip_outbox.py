"""What one rider is still owed of one trip: every event, in order; of positions and freshness the newest. Pure.

Nothing is queued. Of the events only the offset of the last one that was sent is known here; they wait in the trip's
log, which all its watchers share. When the log no longer holds the next one, or is another log, the trip is told anew.

    owed, in this order    told as           when
    all of it              trip_snapshot     at first; when what follows is not kept; when Redis lost the log
    events                 trip_events       always: they are never left out
    freshness              trip_freshness    when it is not what was last told
    position               trip_position     when the rider can take one, and it is newer than the last
    that it is over        trip_ended        to the holder of a share link: nothing comes after it
"""

from __future__ import annotations

from typing import Final

from push.outbox import Message
from push.protocol import encode_server, quote
from push.trip_messages import join_trip
from push.trip_mirror import Shown
from push.trip_view import REPLAY, SNAPSHOT, TripView
from stream.trip_channels import LogEntry, TripCar

#: Events of one message: about 3 KiB, so that one is never long in the way.
EVENTS_AT_ONCE: Final = 16
#: Why a share link shows nothing any more.
TRIP_OVER: Final = "trip_over"
REVOKED: Final = "revoked"
EXPIRED: Final = "expired"


class TripOutbox:
    """One trip subscription of one rider. `take` makes the next message. A held one owes nothing yet."""

    __slots__ = ("_car", "_epoch", "_freshness", "_log", "_mark", "_quoted_sub", "_recover", "ending", "held", "offset",
                 "over", "sub", "view")  # fmt: skip

    def __init__(self, sub: str, view: TripView, recover: tuple[str, int] | None = None) -> None:
        """`recover` is the (epoch, offset) up to which the rider knows the trip's events."""
        self.sub, self.view, self._recover = sub, view, recover
        self._quoted_sub = quote(sub)
        self._log = 0  # which log `offset` is of; none yet
        self._epoch = 0  # of that log, as it was told
        self.offset = 0  # of the last event that was sent
        self._mark = (0, False)
        self._car: TripCar | None = None
        self._freshness = ""
        self.held = True  # until it is known that the rider may see the trip
        self.ending = ""  # why the holder of a share link is to see no more of it
        self.over = False  # the rider knows that

    @property
    def position(self) -> str:
        """`<epoch>/<offset>` from which the rider can resume; "" before it has been told anything.

        It is of the log that was told: an offset says nothing in the log that is shown by now, if that is another.
        """
        return f"{self._epoch}/{self.offset}" if self._log else ""

    def take(self, now_ms: int, positions: bool) -> Message | None:
        """The next message as of `now_ms` (event time), or None; without `positions` the car can wait."""
        if self.over:
            return None
        if self.ending:
            return self._end()
        copy = self.view.copy
        shown = copy.shown
        if self.held or shown is None or not copy.is_settled:
            return None
        over = self.view.redacted and shown.trip.ended
        entries = copy.after(self.offset) if self._log == shown.log else None
        if entries is None and over:
            self.ending = TRIP_OVER
            return self._end()
        if entries is None:
            return self._snapshot(shown, now_ms)
        mark = self.view.trip_mark(shown)
        if entries or mark > self._mark:
            return self._events(shown, list(entries), mark, now_ms)
        if over:
            self.ending = TRIP_OVER
            return self._end()
        if shown.freshness != self._freshness:
            self._freshness = shown.freshness
            return self._message("trip_freshness", self.view.freshness(shown, now_ms))
        if positions and shown.car is not None and shown.car != self._car:
            self._car = shown.car
            return self._message("trip_position", self.view.position(shown, shown.car, now_ms), positions=1)
        return None

    def _snapshot(self, shown: Shown, now_ms: int) -> Message:
        recover, self._recover = self._recover, None
        after = None
        if recover is not None and recover[0] == str(shown.epoch) and self.view.copy.after(recover[1]) is not None:
            after = recover[1]
        self._log, self._epoch, self.offset = shown.log, shown.epoch, shown.offset
        self._mark = self.view.trip_mark(shown)
        self._car, self._freshness = shown.car, shown.freshness
        resumed = "" if recover is None else SNAPSHOT if after is None else REPLAY
        tail = self.view.snapshot(shown, after, now_ms)
        events = shown.offset - (self.view.copy.first - 1 if after is None else after)
        return self._message("trip_snapshot", tail, shown.car is not None, events, resumed)

    def _events(self, shown: Shown, entries: list[LogEntry], mark: tuple[int, bool], now_ms: int) -> Message:
        last = len(entries) <= EVENTS_AT_ONCE
        entries = entries[:EVENTS_AT_ONCE]
        with_trip = last and mark > self._mark
        if last:
            self._mark = max(mark, self._mark)
        if entries:
            self.offset = entries[-1].offset
        tail = self.view.events(shown, entries, self.offset, with_trip, now_ms)
        return self._message("trip_events", tail, events=len(entries))

    def _end(self) -> Message:
        self.over = True
        return Message(encode_server("trip_ended", {"sub": self.sub, "reason": self.ending}), 0, "trip_ended")

    def _message(self, type_: str, tail: bytes, positions: int = 0, events: int = 0, resumed: str = "") -> Message:
        return Message(join_trip(type_.encode(), self._quoted_sub, tail), positions, type_, events, resumed)
