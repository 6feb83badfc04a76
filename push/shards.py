"""One connection of sharded pub/sub: a delta that arrives alone costs no task and no timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from stream.raw import RawConnection


class Shards(RawConnection):
    """`await Shards.open(…)`, `join` and `leave` channels, `await ended()`, and always `await close()`."""

    def __init__(self, on_message: Callable[[bytes, bytes], bool], on_joined: Callable[[bytes], None]) -> None:
        super().__init__()
        self._on_message, self._on_joined = on_message, on_joined
        self._rest = self._resting = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

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
        await shards.take(client)
        return shards

    def join(self, channels: Iterable[str]) -> None:
        self._send("SSUBSCRIBE", *channels)

    def leave(self, channels: Iterable[str]) -> None:
        self._send("SUNSUBSCRIBE", *channels)

    def _send(self, *command: str) -> None:
        self.transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # typed for one argument only

    async def ended(self) -> None:
        """Wait until the connection is lost. Raises RedisError then."""
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        await self.end()
        if not self._ended.done():
            self._ended.cancel()

    def resume(self) -> None:
        """Read on."""
        if self._resting and not self.transport.is_closing():
            self._resting = False
            self.transport.resume_reading()

    def on_reply(self, reply: Any) -> None:
        if not isinstance(reply, list):
            raise RedisConnectionError(f"Redis refused a channel: {reply}")
        self._rest = reply[0] == b"smessage" and self._on_message(reply[1], reply[2])
        if reply[0] == b"ssubscribe":
            self._on_joined(reply[1])

    def on_read(self) -> None:
        if self._rest and not self.transport.is_closing():
            self._resting = True
            self.transport.pause_reading()

    def on_end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(RedisConnectionError(reason))
            self._ended.exception()  # it may be that nobody waits any more
