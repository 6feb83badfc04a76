"""Keeps the mirror of the regions true to the index of cars."""

from __future__ import annotations

from collections.abc import Callable

import redis.asyncio

from push.copies import Channels
from push.feed import CHECK_S, Feed
from push.metrics import FeedMetrics
from push.mirror import Mirror
from stream.channels import RegionDelta, RegionSnapshot, channel_of, region_of_channel, unpack_delta
from stream.index import DriverIndex


class RegionFeed(Feed[int, RegionDelta, RegionSnapshot]):
    """`watch` and `unwatch` regions."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        mirror: Mirror,
        wake: Callable[[], bool],
        unwatched_for_s: float,
        metrics: FeedMetrics,
        check_s: float = CHECK_S,
    ) -> None:
        channels = Channels(channel_of, region_of_channel, unpack_delta)
        super().__init__(client, mirror, DriverIndex(client), channels, wake, unwatched_for_s, metrics, check_s)
