"""Many commands on their way to Redis at once, over one connection, each with its reply."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stream.raw import RawConnection

#: Redis is given something to do when there is so much: a millisecond's work for it, and seldom enough for us.
SENT_AT_ONCE_BYTES = 128 * 1024


class _Exchange:
    __slots__ = ("answered", "missing", "replies")

    def __init__(self, missing: int, answered: asyncio.Future[None]) -> None:
        self.missing, self.answered = missing, answered
        self.replies: list[Any] = []


class Pipe:
    """`exchange` by any number of tasks; it connects when it has to. Methods raise redis.exceptions.RedisError."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._connecting = asyncio.Lock()
        self._wire: _Wire | None = None

    async def exchange(self, packed: Iterator[bytes], count: int) -> list[Any]:
        """Send `count` packed commands, and return their replies; an error Redis answers is a ResponseError among them.

        Redis is at work on the first commands while `packed` makes the last. If they have not all come within the
        client's socket timeout, the connection is given up: what was carried out is not known then.
        """
        if count == 0:
            return []
        wire = await self._connected()
        exchange = wire.send(packed, count)
        try:
            async with asyncio.timeout(wire.timeout_s):
                await exchange.answered
        except TimeoutError:
            wire.give_up("Redis did not answer in time")
            raise RedisTimeoutError("Redis did not answer in time") from None
        return exchange.replies

    def reset(self) -> None:
        """Connect anew for the next exchange: who answers may no longer be the one to ask (a failover)."""
        if self._wire is not None:
            self._wire.give_up("connecting anew")

    async def _connected(self) -> _Wire:
        if self._wire is not None and self._wire.alive:
            return self._wire
        async with self._connecting:
            if self._wire is None or not self._wire.alive:
                ended, self._wire = self._wire, None
                if ended is not None:
                    await ended.end()
                wire = _Wire()
                await wire.take(self._client)
                self._wire = wire
            return self._wire


class _Wire(RawConnection):
    def __init__(self) -> None:
        super().__init__()
        self.alive = True
        self._asked: deque[_Exchange] = deque()

    def send(self, packed: Iterator[bytes], count: int) -> _Exchange:
        exchange = _Exchange(count, asyncio.get_running_loop().create_future())
        self._asked.append(exchange)
        try:
            held: list[bytes] = []
            size = 0
            for command in packed:
                held.append(command)
                size += len(command)
                if size > SENT_AT_ONCE_BYTES:
                    self._write(held)
                    held, size = [], 0
            self._write(held)
        except BaseException:
            # Some were sent: the replies of the next commands could not be told from theirs.
            exchange.answered.cancel()
            self.give_up("a command could not be made")
            raise
        return exchange

    def _write(self, held: Sequence[bytes]) -> None:
        if held:
            self.transport.writelines(held)

    def on_reply(self, reply: Any) -> None:
        if not self._asked:
            raise RedisConnectionError("Redis answered what it was not asked")
        exchange = self._asked[0]
        exchange.replies.append(reply)
        exchange.missing -= 1
        if exchange.missing == 0:
            self._asked.popleft()
            if not exchange.answered.done():  # whoever asked may have been cancelled
                exchange.answered.set_result(None)

    def on_end(self, reason: str) -> None:
        self.alive = False
        asked, self._asked = self._asked, deque()
        for exchange in asked:
            if not exchange.answered.done():
                exchange.answered.set_exception(RedisConnectionError(reason))
                exchange.answered.exception()  # it may be that nobody waits any more

    def give_up(self, reason: str) -> None:
        self.on_end(reason)
        self.transport.abort()
