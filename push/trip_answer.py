"""A trip as one answer over HTTP: what a WebSocket's `trip_snapshot` holds, for those who ask once. Pure."""

from __future__ import annotations

import msgspec

from push.redaction import share_event, share_progress, share_trip
from push.trip_messages import (
    EventMessage,
    ProgressMessage,
    TripCarMessage,
    TripMessage,
    car_message,
    event_message,
    progress_message,
    trip_message,
)
from push.trip_mirror import freshness_of, visible_car
from stream.settings import FreshnessSettings
from stream.trip_channels import TripSnapshot


class TripAnswer(msgspec.Struct, frozen=True):
    """A trip and its log as of `server_time_ms`.

    `epoch` and `offset` are where a WebSocket subscription goes on (`recover`). `freshness` is live, stale, lost, or
    none while there is no `car`.
    """

    server_time_ms: int
    epoch: str
    offset: int
    freshness: str
    trip: TripMessage
    events: list[EventMessage]
    age_ms: int | msgspec.UnsetType = msgspec.UNSET
    car: TripCarMessage | msgspec.UnsetType = msgspec.UNSET
    progress: ProgressMessage | msgspec.UnsetType = msgspec.UNSET


def trip_answer(snapshot: TripSnapshot, shared: bool, now_ms: int, settings: FreshnessSettings) -> TripAnswer:
    """`shared` is for the holder of a share link, who sees no place once the trip has ended. `now_ms` is event time."""
    trip, car = snapshot.trip, visible_car(snapshot.trip, snapshot.car)
    answer = TripAnswer(
        now_ms,
        str(snapshot.epoch),
        snapshot.offset,
        freshness_of(car, now_ms, settings.trip_stale_after_ms, settings.trip_lost_after_ms),
        share_trip(trip, car) if shared else trip_message(trip),
        [share_event(entry, trip) if shared else event_message(entry) for entry in snapshot.entries],
    )
    if car is None:
        return answer
    shown = car_message(car, answer.freshness, now_ms)
    progress = share_progress(car, trip) if shared else progress_message(car)
    return msgspec.structs.replace(answer, age_ms=shown.age_ms, car=shown, progress=progress)
