"""Keeps a mirror true to Redis: one connection of sharded pub/sub, and a re-read wherever something was missed.

What is mirrored by its keys, regions or trips, is written and published in one step, with (epoch, seq). A key is joined
before it is read, so no delta falls between: join, read, apply what came meanwhile. Whenever a channel is (re)joined,
a delta is missing, or the index turns out to be further than the mirror, the key is read again. While Redis is away
the mirror keeps what it has, and cars turn stale and gone by their age.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Final, Generic, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from push.copies import Channels, Copies, Index
from push.metrics import FeedMetrics
from push.mirror import Outcome
from push.shards import Shards

log = logging.getLogger(__name__)

#: How often the mirror's (epoch, seq) are compared with the index's: the last delta before a silence may be lost too.
CHECK_S: Final = 2.0
#: A delta that was published before the comparison may still be on its way to us.
ON_ITS_WAY_S: Final = 0.25
#: After the index was lost: workers write everything they hold within their 1 s tick; then what is not there is gone.
CONFIRM_S: Final = 3.0
BACKOFF_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
#: Redis answers in less than a millisecond; one that takes longer than this is away.
AWAY_AFTER_S: Final = 3.0
#: Reads under way at once: a reconnection re-reads all, and one node must not crowd out the workers.
READS_AT_ONCE: Final = 8


def redis_client(url: str) -> redis.asyncio.Redis:
    """A client that reports a lost connection instead of hiding it: reconnecting is `Feed`'s, who must re-read."""
    return redis.asyncio.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=AWAY_AFTER_S, socket_connect_timeout=AWAY_AFTER_S
    )


Key = TypeVar("Key", bound=Hashable)
Delta = TypeVar("Delta")
Snapshot = TypeVar("Snapshot")


class Feed(Generic[Key, Delta, Snapshot]):
    """`watch` and `unwatch` say which keys are looked at; `run` does the rest until it is cancelled."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        mirror: Copies[Key, Delta, Snapshot],
        index: Index[Key, Snapshot],
        channels: Channels[Key, Delta],
        wake: Callable[[], bool],
        unwatched_for_s: float,
        metrics: FeedMetrics,
        check_s: float = CHECK_S,
    ) -> None:
        """`wake` is called whenever the mirror may have something to settle; it returns whether that has to wait."""
        self._client, self._mirror, self._index, self._wake = client, mirror, index, wake
        self._channel_of, self._key_of, self._unpack = channels
        self._unwatched_for_s, self._check_s, self._metrics = unwatched_for_s, check_s, metrics
        self._wanted: dict[Key, float | None] = {}  # key -> when it may be dropped
        self._joined: set[Key] = set()  # keys whose channel the present connection was asked for
        self._reading: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._shards: Shards | None = None
        self._deltas = 0  # since they were last counted
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._news = asyncio.Event()
        self._away: str | None = "Redis has not answered yet"

    @property
    def away(self) -> str | None:
        """None while Redis answers, else what is wrong, in words for an operator."""
        return self._away

    def watch(self, key: Key) -> None:
        """Somebody looks at the key."""
        if key not in self._wanted:
            self._mirror.expect(key)
        self._wanted[key] = None
        self._news.set()

    def catch_up(self) -> None:
        """The mirror is about to settle: read what has come."""
        if self._shards is not None:
            self._shards.resume()

    def unwatch(self, key: Key) -> None:
        """Nobody looks at it for now; it is dropped later, because riders come and go."""
        if key in self._wanted:
            self._wanted[key] = asyncio.get_running_loop().time() + self._kept_for_s(key)

    def _kept_for_s(self, _key: Key) -> float:
        return self._unwatched_for_s

    async def run(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    await self._live()
                except (RedisError, OSError) as error:
                    if self._away is None:
                        failures = 0
                        self._metrics.reconnects.inc()
                    self._away = f"Redis does not answer: {error}"
                    if failures == 0:
                        log.warning("%s", self._away)
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
        finally:
            for task in self._reading.values():
                task.cancel()
            await asyncio.gather(*self._reading.values(), return_exceptions=True)

    async def _live(self) -> None:
        """One life of the connection. Raises RedisError or OSError when it ends."""
        self._joined.clear()
        self._news.set()
        await self._client.ping()
        shards = await Shards.open(self._client, self._take, lambda channel: self._read(self._key_of(channel)))
        parts: list[asyncio.Task[None]] = []
        try:
            heed_cancellation()
            self._shards = shards
            if self._away is not None:
                log.info("Redis answers")
                self._away = None
            parts += [asyncio.create_task(part) for part in (self._join(shards), shards.ended(), self._check(shards))]
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            self._shards = None
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            with suppress(RedisError, OSError):
                await shards.close()

    async def _join(self, shards: Shards) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            fresh = [key for key in self._wanted if key not in self._joined]
            if fresh:
                self._joined.update(fresh)
                shards.join(map(self._channel_of, fresh))
                shards.resume()

    def _take(self, channel: bytes, payload: bytes) -> bool:
        key = self._key_of(channel)
        try:
            outcome = self._mirror.apply_delta(key, self._unpack(payload))
        except ValueError:
            log.error("a change could not be read; is a worker of another version running?")
            outcome = Outcome.GAP
        self._deltas += 1
        if outcome is Outcome.APPLIED:
            return self._wake()
        if outcome is Outcome.GAP:
            self._metrics.gaps.inc()
            self._read(key)
        return False

    def _read(self, key: Key) -> None:
        """Read the key, or once more after the read that is under way."""
        if key in self._reading:
            self._again.add(key)
        elif key in self._wanted:
            self._reading[key] = asyncio.create_task(self._read_until_whole(key))

    async def _read_until_whole(self, key: Key) -> None:
        try:
            for pause_s in BACKOFF_S:
                self._again.discard(key)
                async with self._reads:
                    if key not in self._wanted:
                        return
                    # What was buffered before the read is asked for is in what it returns.
                    self._mirror.expect(key)
                    snapshot = await self._index.snapshot(key)
                    heed_cancellation()
                self._metrics.reads.inc()
                if key not in self._wanted:
                    return
                outcome = self._mirror.apply_snapshot(key, snapshot)
                self._wake()
                if outcome is Outcome.UNCONFIRMED:
                    asyncio.get_running_loop().call_later(CONFIRM_S, self._read, key)
                if outcome is Outcome.GAP:
                    self._metrics.gaps.inc()
                elif key not in self._again:
                    return
                await asyncio.sleep(pause_s)
        except (RedisError, OSError, ValueError) as error:
            # The next check, or the next connection, reads it.
            log.warning("%s could not be read: %s", self._metrics.kind, error)
        finally:
            del self._reading[key]

    async def _check(self, shards: Shards) -> None:
        """Drop what nobody looks at, and find what was missed without anyone noticing."""
        missed_before: set[Key] = set()
        while True:
            await asyncio.sleep(self._check_s)
            self._drop_unwatched(shards)
            self._metrics.deltas.inc(self._deltas)
            self._deltas = 0
            missed = await self._missed()
            heed_cancellation()
            for key in missed:
                self._metrics.gaps.inc()
                self._read(key)
            if missed & missed_before:
                raise RedisConnectionError("published changes do not arrive")
            missed_before = missed
            for key in self._joined:
                if self._mirror.position_of(key) is None:
                    self._read(key)

    async def _missed(self) -> set[Key]:
        """Regions whose copy is not what the index says, and does not become so in a moment."""
        before = {key: self._mirror.position_of(key) for key in self._joined}
        copied = {key: position for key, position in before.items() if position is not None}
        if not copied:
            await self._client.ping()
            return set()
        index = await self._index.positions_of(copied)
        if all(self._mirror.position_of(key) == index[key] for key in copied):
            return set()
        await asyncio.sleep(ON_ITS_WAY_S)
        missed = set()
        for key, (epoch, seq) in index.items():
            position = self._mirror.position_of(key)
            went_back = epoch == copied[key][0] and seq < copied[key][1]
            if position is not None and (position[0] != epoch or position[1] < seq or went_back):
                missed.add(key)
        return missed

    def _drop_unwatched(self, shards: Shards) -> None:
        now_s = asyncio.get_running_loop().time()
        idle = [key for key, until_s in self._wanted.items() if until_s is not None and until_s <= now_s]
        for key in idle:
            del self._wanted[key]
            self._joined.discard(key)
            self._mirror.drop(key)
        if idle:
            self._wake()
            shards.leave(map(self._channel_of, idle))


def heed_cancellation() -> None:
    """Call it after each exchange with Redis: redis-py sends inside `asyncio.wait_for`, which swallows a cancellation
    that comes together with its result (Python 3.11; fixed in 3.12). A task that goes on then never ends."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
