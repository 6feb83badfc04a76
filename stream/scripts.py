"""Run Lua scripts in Redis by their hash, many calls in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

#: Keys and arguments of one call.
Call = tuple[Sequence[str], Sequence[Any]]


class Scripts:
    """One Redis client and the scripts it was given. Methods raise redis.exceptions.RedisError."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._sha: dict[str, str] = {}

    async def run(self, script: str, calls: Sequence[Call]) -> list[Any]:
        """Run one script per call, in order, and return the replies.

        A Redis that forgot its scripts (SCRIPT FLUSH, restart, failover) is given them again, and *all* calls are
        repeated: scripts must bear that.
        """
        if not calls:
            return []
        for attempt in (1, 2):
            if script not in self._sha:
                self._sha[script] = await self._redis.script_load(script)
            pipeline = self._redis.pipeline(transaction=False)
            sha = self._sha[script]
            for keys, args in calls:
                pipeline.execute_command("EVALSHA", sha, len(keys), *keys, *args)
            try:
                return list(await pipeline.execute())
            except NoScriptError:
                del self._sha[script]
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")
