"""Run Lua scripts in Redis by their hash, many calls in one round trip."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import hiredis
import redis.asyncio
from redis.exceptions import NoScriptError, ResponseError, TimeoutError

#: Keys and arguments of one call.
Call = tuple[Sequence[str], Sequence[Any]]

T = TypeVar("T")

#: Redis is given something to do when there is so much: a millisecond's work for it, and seldom enough for us.
SENT_AT_ONCE_BYTES = 128 * 1024


class Scripts:
    """One Redis client and the scripts it was given. Methods raise redis.exceptions.RedisError."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._sha: dict[str, str] = {}

    async def run(self, script: str, items: Sequence[T], call_of: Callable[[T], Call]) -> list[Any]:
        """Run one script per item, in order, and return the replies. `call_of` makes an item's keys and arguments.

        Redis is at work on the first calls while the last are made.

        A Redis that forgot its scripts (SCRIPT FLUSH, restart, failover) is given them again, and *all* calls are
        repeated: scripts must bear that. A call that fails does not keep those behind it from being run; its error
        is raised when all have been.
        """
        if not items:
            return []
        for attempt in (1, 2):
            if script not in self._sha:
                self._sha[script] = await self._redis.script_load(script)
            sha = self._sha[script]
            try:
                return await self._exchange(sha, items, call_of)
            except NoScriptError:
                del self._sha[script]
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    async def _exchange(self, sha: str, items: Sequence[T], call_of: Callable[[T], Call]) -> list[Any]:
        # redis-py's asynchronous pipeline packs each argument in Python and sets a timer for each reply: a third of
        # the worker's time. Connections, errors and reading are redis-py's here, too.
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        replies: list[Any] = []
        error: ResponseError | None = None
        try:
            async with asyncio.timeout(connection.socket_timeout):
                packed, size = [], 0
                for item in items:
                    keys, args = call_of(item)
                    packed.append(hiredis.pack_command(("EVALSHA", sha, len(keys), *keys, *args)))
                    size += len(packed[-1])
                    if size > SENT_AT_ONCE_BYTES:
                        await connection.send_packed_command(packed)
                        packed, size = [], 0
                if packed:
                    await connection.send_packed_command(packed)
                for _ in items:
                    try:
                        replies.append(await connection.read_response(timeout=math.inf))
                    except ResponseError as answered:
                        error = error or answered
        except BaseException as failed:
            # Replies that nobody reads any more must not be taken for those of the next commands.
            await connection.disconnect(nowait=True)
            if isinstance(failed, asyncio.TimeoutError):
                raise TimeoutError("Redis did not answer in time") from None
            raise
        finally:
            await pool.release(connection)
        if error is not None:
            raise error
        return replies
