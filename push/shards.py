"""One connection of sharded pub/sub, read in the event loop's own callback: a delta costs no task and no timer.

redis-py opens the connection (address, TLS, AUTH, protocol version); from then on bytes go straight to hiredis.
Measured for deltas that arrive one by one: redis-py's PubSub 4x the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError


class Shards(asyncio.Protocol):
    """`await Shards.open(…)`, `join` and `leave` channels, `await ended()`, and always `await close()`."""

    def __init__(self, on_message: Callable[[bytes, bytes], bool], on_joined: Callable[[bytes], None]) -> None:
        self._on_message, self._on_joined = on_message, on_joined
        self._resting = False
        self._reader = hiredis.Reader()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._connection: Any = None
        self._pool: Any = None

    @classmethod
    async def open(
        cls,
        client: redis.asyncio.Redis,
        on_message: Callable[[bytes, bytes], bool],
        on_joined: Callable[[bytes], None],
    ) -> Shards:
        """`on_message(channel, payload)` hears what is published from `on_joined(channel)` on. Raises RedisError.

        If it returns True, nothing more is read until `resume`: the system collects what comes meanwhile.
        """
        shards = cls(on_message, on_joined)
        shards._pool = client.connection_pool
        shards._connection = await shards._pool.get_connection()
        # Nothing was asked that is not answered, so nothing of the old reader's is lost.
        shards._transport = cast("asyncio.Transport", shards._connection._writer.transport)
        shards._transport.set_protocol(shards)
        shards._transport.resume_reading()
        return shards

    def join(self, channels: Iterable[str]) -> None:
        self._send("SSUBSCRIBE", *channels)

    def leave(self, channels: Iterable[str]) -> None:
        self._send("SUNSUBSCRIBE", *channels)

    def _send(self, *command: str) -> None:
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # typed for one argument only

    async def ended(self) -> None:
        """Wait until the connection is lost. Raises RedisError then."""
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        self._transport.abort()
        await self._connection.disconnect(nowait=True)
        await self._pool.release(self._connection)
        if not self._ended.done():
            self._ended.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            rest = False
            while (reply := self._reader.gets()) is not False:
                rest = self._take(reply)
            if rest and not self._transport.is_closing():
                self._resting = True
                self._transport.pause_reading()
        except (hiredis.HiredisError, RedisConnectionError) as error:
            self._end(str(error))
            self._transport.abort()

    def resume(self) -> None:
        """Read on."""
        if self._resting and not self._transport.is_closing():
            self._resting = False
            self._transport.resume_reading()

    def _take(self, reply: Any) -> bool:
        if not isinstance(reply, list):
            raise RedisConnectionError(f"Redis refused a channel: {reply}")
        if reply[0] == b"smessage":
            return self._on_message(reply[1], reply[2])
        if reply[0] == b"ssubscribe":
            self._on_joined(reply[1])
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was closed")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(RedisConnectionError(reason))
            self._ended.exception()  # it may be that nobody waits any more
