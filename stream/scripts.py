"""Run Lua scripts in Redis by their hash, many calls in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import hiredis
import redis.asyncio
from redis.exceptions import ResponseError

from stream.pipe import Pipe

#: Keys and arguments of one call.
Call = tuple[Sequence[str], Sequence[Any]]

T = TypeVar("T")


class Scripts:
    """One Redis client and the scripts it was given. Methods raise redis.exceptions.RedisError."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._pipe = Pipe(client)
        self._sha: dict[str, str] = {}

    async def run(self, script: str, items: Sequence[T], call_of: Callable[[T], Call]) -> list[Any]:
        """Run one script per item, in order, and return the replies. `call_of` makes an item's keys and arguments.

        A Redis that forgot its scripts (SCRIPT FLUSH, restart, failover) is given them again, and *all* calls are
        repeated: scripts must bear that. A call that fails does not keep those behind it from being run; its error
        is raised when all have been.
        """
        if not items:
            return []
        for attempt in (1, 2):
            if script not in self._sha:
                self._sha[script] = await self._redis.script_load(script)
            head = ("EVALSHA", self._sha[script])
            replies = await self._pipe.exchange((_packed(head, *call_of(item)) for item in items), len(items))
            error = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
            if error is None:
                return replies
            if attempt == 1 and str(error).startswith("NOSCRIPT"):
                self._sha.pop(script, None)  # another call may have noticed, too
                continue
            self._pipe.reset()
            raise error
        raise AssertionError("unreachable")


def _packed(head: tuple[str, str], keys: Sequence[str], args: Sequence[Any]) -> bytes:
    packed: bytes = hiredis.pack_command((*head, len(keys), *keys, *args))
    return packed
