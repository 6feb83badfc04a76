"""Show how a run goes: one living line on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rich.console import Console

TERMINAL_EVERY_S = 0.25
#: A log should not fill with progress.
PLAIN_EVERY_S = 10.0


async def show(line: Callable[[], str], console: Console, quiet: bool) -> None:
    """Show what `line` says until cancelled."""
    if quiet:
        await asyncio.Event().wait()
    elif console.is_terminal:
        with console.status(line()) as status:
            while True:
                await asyncio.sleep(TERMINAL_EVERY_S)
                status.update(line())
    else:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            console.print(line(), markup=False, highlight=False, soft_wrap=True)
