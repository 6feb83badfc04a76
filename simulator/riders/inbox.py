"""What many riders in one process have received and not looked at yet: read at once, looked at a little at a time.

A tick of a server reaches a thousand riders within a few milliseconds; to look at what they got takes tens. Real riders
do that each on a phone of their own; here it must hold up neither the sockets of others nor the pings that fall due.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

#: So long messages are looked at before anything else gets its turn.
TURN_S = 0.004
#: Beyond this many, some tens of milliseconds of work, sockets are not read on before there is room: whoever cannot
#: keep up must be seen to be slow.
MOST_WAITING = 2_000


class Receiver(Protocol):
    """Keeps its messages itself, in order."""

    def look(self) -> None:
        """Look at the oldest message, if there is one."""


class Inbox:
    """`put` each receiver once for each message that it received."""

    def __init__(self) -> None:
        self._waiting: deque[Receiver] = deque()
        self._scheduled = False

    def put(self, receiver: Receiver) -> None:
        """It will be told to look soon, and now when too many wait."""
        self._waiting.append(receiver)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().look()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._scheduled = False
        until_s = time.monotonic() + TURN_S
        try:
            while self._waiting:
                self._waiting.popleft().look()
                if time.monotonic() >= until_s:
                    break
        finally:
            if self._waiting and not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._take_turn)
