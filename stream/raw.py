"""A connection that redis-py opened (address, TLS, AUTH, protocol version) and whose bytes we read ourselves.

redis-py's own reading makes a task and a timer for each reply: four times the time of the event loop's callback.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError


class RawConnection(asyncio.Protocol):
    """`await take(client)`, write to `transport`, hear `on_reply`; `await end()` at last.

    An error that Redis answers is a reply, too: a redis.exceptions.ResponseError.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.timeout_s: float | None = None
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._connection: Any = None
        self._pool: Any = None
        self._streams: asyncio.BaseProtocol | None = None

    async def take(self, client: redis.asyncio.Redis) -> None:
        """Connect as the client would. Raises RedisError or OSError."""
        self._pool = client.connection_pool
        self._connection = await self._pool.get_connection()
        self.timeout_s = self._connection.socket_timeout
        # Nothing was asked that is not answered, so nothing of the old reader's is lost.
        self.transport = cast("asyncio.Transport", self._connection._writer.transport)
        self._streams = self.transport.get_protocol()
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    def on_reply(self, reply: Any) -> None:
        """One reply. Raises RedisConnectionError to end the connection."""

    def on_read(self) -> None:
        """All replies that came together have been heard."""

    def on_end(self, reason: str) -> None:
        """The connection is lost; may be called more than once."""

    async def end(self) -> None:
        self.transport.abort()
        await self._connection.disconnect(nowait=True)
        await self._pool.release(self._connection)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self.on_reply(reply)
            self.on_read()
        except (hiredis.HiredisError, RedisConnectionError) as error:
            self.on_end(str(error))
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_end("the connection was closed")
        if self._streams is not None:
            self._streams.connection_lost(exc)  # redis-py waits for that when it closes
