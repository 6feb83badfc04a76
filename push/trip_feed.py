"""Keeps the mirror of the watched trips true to the trips in Redis."""

from __future__ import annotations

from collections.abc import Callable

import redis.asyncio

from push.copies import Channels
from push.feed import CHECK_S, Feed
from push.metrics import FeedMetrics
from push.trip_mirror import TripMirror
from stream.trip_channels import TripDelta, TripSnapshot, trip_channel, trip_of_channel, unpack_trip_delta
from stream.trip_index import TripIndex


class TripFeed(Feed[str, TripDelta, TripSnapshot | None]):
    """`watch` and `unwatch` trips. One that does not exist is forgotten as soon as nobody asks for it."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        mirror: TripMirror,
        wake: Callable[[], bool],
        unwatched_for_s: float,
        metrics: FeedMetrics,
        check_s: float = CHECK_S,
    ) -> None:
        channels = Channels(trip_channel, trip_of_channel, unpack_trip_delta)
        super().__init__(client, mirror, TripIndex(client), channels, wake, unwatched_for_s, metrics, check_s)
        self._trips = mirror

    def _kept_for_s(self, key: str) -> float:
        copy = self._trips.copy_of(key)
        return self._unwatched_for_s if copy is not None and copy.trip is not None else 0.0
