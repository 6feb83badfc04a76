"""When riders are told: at once after a silence, then at most every tick, and more rarely when telling takes long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import perf_counter, thread_time
from typing import Final

log = logging.getLogger(__name__)

#: Ticks lengthen up to their maximum as soon as turns take more than this share of the time. A frame costs ~15 us
#: whatever is in it, so one frame of five ticks' news costs a third of five frames, and nobody sees 100 ms on a map.
BUSY_SHARE: Final = 0.1


def next_interval_s(spent_s: float, tick_s: float, max_tick_s: float) -> float:
    """From one turn's start to the next one's."""
    return min(max(max_tick_s, tick_s), max(tick_s, spent_s / BUSY_SHARE))


class Ticker:
    """Calls `turn` after `wake`. A turn is an iterator: other tasks run wherever it yields.

    `before` is called ahead of each turn, and what it makes readable is read before the turn begins: news that come
    while a turn is due anyway need not be read one by one.
    """

    def __init__(
        self,
        turn: Callable[[], Iterator[None]],
        tick_s: float,
        max_tick_s: float,
        spent: Callable[[float], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._turn, self._tick_s, self._max_tick_s, self._report = turn, tick_s, max_tick_s, spent
        self._before = before
        self._loop = asyncio.get_running_loop()
        self._turning: Iterator[None] | None = None
        self._handle: asyncio.Handle | None = None
        self._again = self._paced = False
        self._started_s = self._spent_s = self._next_s = 0.0

    def wake(self) -> bool:
        """There is something to tell. Returns whether that has to wait for the next tick."""
        if self._turning is not None:
            self._again = True
            return True
        if self._handle is None:
            wait_s = self._next_s - perf_counter()
            self._paced = wait_s > 0
            self._handle = (
                self._loop.call_later(wait_s, self._prepare) if wait_s > 0 else self._loop.call_soon(self._prepare)
            )
        return self._paced

    def stop(self) -> None:
        """No turn begins after this."""
        self._turn = lambda: iter(())
        if self._handle is not None:
            self._handle.cancel()

    def _prepare(self) -> None:
        self._paced = False
        self._before()
        # The event loop looks for what can be read between two rounds of callbacks.
        self._handle = self._loop.call_soon(self._after_reading)

    def _after_reading(self) -> None:
        self._handle = self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._again, self._spent_s, self._started_s = False, 0.0, perf_counter()
        self._turning = self._turn()
        self._step()

    def _step(self) -> None:
        # Work, not waiting: on a busy machine a turn may be put aside, and longer ticks would not help that.
        started_s = thread_time()
        done = True
        try:
            assert self._turning is not None
            next(self._turning)
            done = False
        except StopIteration:
            pass
        except Exception:
            # A turn that fails is a defect; the riders' next one must come nevertheless.
            log.exception("a turn failed")
        self._spent_s += thread_time() - started_s
        if not done:
            self._handle = self._loop.call_soon(self._step)
            return
        self._turning = self._handle = None
        self._next_s = self._started_s + next_interval_s(self._spent_s, self._tick_s, self._max_tick_s)
        self._report(self._spent_s)
        if self._again:
            self.wake()
