"""What everybody who watches one trip in the same way is told: each message made once for all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from push.redaction import share_event, share_progress, share_trip, shows_way
from push.trip_messages import (
    TripMessage,
    car_message,
    encode,
    event_message,
    progress_message,
    trip_message,
)
from push.trip_mirror import Shown, TripCopy
from stream.trip_channels import LogEntry, TripCar

SNAPSHOT: Final = "snapshot"
REPLAY: Final = "replay"
MODES: Final = (SNAPSHOT, REPLAY)


class TripView:
    """One trip for those who may see all of it, or, `redacted`, for the holders of share links.

    Methods return a message's members without `type` and `sub`, as JSON as of `now_ms` (event time). The last trip,
    events and position are remembered: riders who watch the same are told the same.
    """

    __slots__ = ("_events", "_position", "_trip", "copy", "redacted")

    def __init__(self, copy: TripCopy, redacted: bool) -> None:
        self.copy, self.redacted = copy, redacted
        self._trip: tuple[object, bytes] = (None, b"")
        self._events: tuple[object, bytes] = (None, b"")
        self._position: tuple[object, bytes] = (None, b"")

    def trip_mark(self, shown: Shown) -> tuple[int, bool]:
        """What a watcher has of the trip when it has been told now; a greater one means that it is told again.

        The holder of a share link gets the way ahead as soon as it is known where on it the car is.
        """
        return shown.trip.version, not self.redacted or shows_way(shown.trip, shown.car)

    def snapshot(self, shown: Shown, after: int | None, now_ms: int) -> bytes:
        """`trip_snapshot`: the trip as it is, with the events beyond `after`, or all that are kept where it is None."""
        entries = self.copy.after(self.copy.first - 1 if after is None else after) or ()
        mode = b'"mode":"snapshot"' if after is None else b'"mode":"replay","replayed":%d' % len(entries)
        car = shown.car
        where = b"" if car is None else b'%b,"age_ms":%d,' % (self._where(shown, car, now_ms), _age(car, now_ms))
        return b'%b,"epoch":"%d","offset":%d,"server_time_ms":%d,"trip":%b,%b"freshness":"%b","events":%b}' % (
            mode,
            shown.epoch,
            shown.offset,
            now_ms,
            self._trip_json(shown),
            where,
            shown.freshness.encode(),
            self._events_json(shown, entries),
        )

    def events(self, shown: Shown, entries: Sequence[LogEntry], offset: int, with_trip: bool, now_ms: int) -> bytes:
        """`trip_events`: these, up to `offset`, and, where it has changed, the trip."""
        key = (shown, len(entries), offset, with_trip, now_ms)
        if self._events[0] != key:
            trip = b',"trip":%b' % self._trip_json(shown) if with_trip else b""
            tail = b'"epoch":"%d","offset":%d,"server_time_ms":%d,"events":%b%b}' % (
                shown.epoch,
                offset,
                now_ms,
                self._events_json(shown, entries),
                trip,
            )
            self._events = key, tail
        return self._events[1]

    def position(self, shown: Shown, car: TripCar, now_ms: int) -> bytes:
        """`trip_position`: where the car is, and how far it has to go."""
        key = (shown, now_ms)
        if self._position[0] != key:
            self._position = key, b'"server_time_ms":%d,%b}' % (now_ms, self._where(shown, car, now_ms))
        return self._position[1]

    def freshness(self, shown: Shown, now_ms: int) -> bytes:
        """`trip_freshness`: how fresh the position is from now on."""
        said = b'"server_time_ms":%d,"freshness":"%b"' % (now_ms, shown.freshness.encode())
        if shown.car is None:
            return said + b"}"
        return said + b',"age_ms":%d,"fix_time_ms":%d}' % (_age(shown.car, now_ms), shown.car.fix_time_ms)

    def _where(self, shown: Shown, car: TripCar, now_ms: int) -> bytes:
        progress = share_progress(car, shown.trip) if self.redacted else progress_message(car)
        return b'"car":%b,"progress":%b' % (encode(car_message(car, shown.freshness, now_ms)), encode(progress))

    def _message(self, shown: Shown) -> TripMessage:
        return share_trip(shown.trip, shown.car) if self.redacted else trip_message(shown.trip)

    def _trip_json(self, shown: Shown) -> bytes:
        key = (shown.trip.version, shown.car if self.redacted else None)
        if self._trip[0] != key:
            self._trip = key, encode(self._message(shown))
        return self._trip[1]

    def _events_json(self, shown: Shown, entries: Sequence[LogEntry]) -> bytes:
        if self.redacted:
            return encode([share_event(entry, shown.trip) for entry in entries])
        return encode([event_message(entry) for entry in entries])


def _age(car: TripCar, now_ms: int) -> int:
    return max(0, now_ms - car.fix_time_ms)
