"""Tasks that go on beside a run: they end with it, and the run ends with the first of them that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress


async def beside(sides: Sequence[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
    """Do the work, and fail at once with a side task that fails: nobody would judge the rest of the run."""
    doing = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait((doing, *sides), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end([doing])


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel them, and wait until they are over. Raises what one of them failed with."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
