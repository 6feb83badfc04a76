"""How much may be on its way to a slow rider, and what is left out when even that is too much. Pure.

What counts is what the rider's app has not read yet, wherever it waits: in our buffer, in a kernel's, in the network.
So a WebSocket ping follows what was sent, and its pong says that all before it was read, how long that took, and
how many bytes a second the rider takes. As little is kept on its way as keeps that time near `target_s`, because a
position that waits in a buffer grows old there.

    step      entered when                                               what the rider gets
    FAST      at first                                                   everything, newest only
    SLOWER    the least that may be on its way takes longer than         a position, and news of the map, every
              `target_s`, for `slower_after_s`                           `interval_s`; trip events at once
    TRIP      that takes twice as long, for `drop_map_after_s`           the trip alone; its map is dropped
    CLOSE     no pong for `stalled_after_s`                              close 4008 with the position to resume from

A rider without a trip keeps its map on every step: it is all that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

#: The least: some six positions of a trip. With less on its way, a long way would be left idle most of the time.
MIN_WINDOW_BYTES: Final = 4_096
#: At first: two round trips later a rider who reads has four times as much.
FIRST_WINDOW_BYTES: Final = 8_192
#: The most: what the kernel's send buffer takes with the default settings.
MAX_WINDOW_BYTES: Final = 65_536
#: More may be on its way when what was there took less than this share of the time that it may take. A satellite's
#: 0.6 s there and back is less.
QUICK_SHARE: Final = 0.75
#: A map is told in parts of at least so many bytes, about ten cars: less would be mostly frames.
PART_BYTES: Final = 2_048


class Step(IntEnum):
    FAST = 0
    SLOWER = 1
    TRIP = 2
    CLOSE = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Seconds; see the settings `slow_…` and `stalled_after_s`."""

    target_s: float
    slower_after_s: float
    drop_map_after_s: float
    interval_s: float
    stalled_after_s: float


class Ladder:
    """One rider's. `written` counts all bytes ever handed to its socket; `now_s` is monotonic."""

    __slots__ = (
        "_delay_s", "_limits", "_next_s", "_pinged", "_pinged_s", "_read", "_since_s", "_towards",
        "drain_bytes_per_s", "step", "window_bytes",
    )  # fmt: skip

    def __init__(self, limits: Thresholds, written: int, now_s: float) -> None:
        self._limits = limits
        self.window_bytes = FIRST_WINDOW_BYTES
        self.step = Step.FAST
        self.drain_bytes_per_s = 0.0  # as the last pong said
        self._read = written  # bytes that are known to be read
        self._pinged: int | None = None  # bytes written before the ping that is not answered yet
        self._pinged_s = 0.0
        self._delay_s = 0.0  # between the last ping and its pong
        self._towards, self._since_s = Step.FAST, now_s  # the step that is due, and since when
        self._next_s = now_s

    @property
    def is_asking(self) -> bool:
        """Whether a ping has not been answered yet."""
        return self._pinged is not None

    def on_its_way(self, written: int) -> int:
        """Bytes that are not known to be read."""
        return written - self._read

    def room(self, written: int, now_s: float) -> int:
        """Bytes of positions that may be written now. Trip events do not ask."""
        return max(0, self.window_bytes - self.on_its_way(written)) if now_s >= self._next_s else 0

    def told(self, now_s: float) -> None:
        """Positions were written."""
        if self.step >= Step.SLOWER:
            self._next_s = now_s + self._limits.interval_s

    def ping(self, written: int, now_s: float) -> bytes | None:
        """The payload of a ping to be written now, if one is due."""
        if self._pinged is not None or self.on_its_way(written) < self.window_bytes // 4:
            return None
        self._pinged, self._pinged_s = written, now_s
        return b"%d" % written

    def pong(self, payload: bytes, now_s: float) -> bool:
        """The rider answered; returns whether that was our question."""
        pinged = self._pinged
        if pinged is None or payload != b"%d" % pinged:
            return False
        taken, self._read, self._pinged = pinged - self._read, pinged, None
        delay_s = self._delay_s = now_s - self._pinged_s
        self.drain_bytes_per_s = taken / max(delay_s, 1e-3)
        if delay_s > self._limits.target_s:
            self.window_bytes = max(MIN_WINDOW_BYTES, self.window_bytes // 2)
        elif delay_s < self._limits.target_s * QUICK_SHARE and 2 * taken >= self.window_bytes:
            self.window_bytes = min(MAX_WINDOW_BYTES, 2 * self.window_bytes)
        return True

    def judge(self, now_s: float, has_map: bool) -> Step:
        """The step the rider stands on from now on; call it about once a second."""
        limits = self._limits
        silent_s = 0.0 if self._pinged is None else now_s - self._pinged_s
        if silent_s >= limits.stalled_after_s:
            self.step = Step.CLOSE
            return self.step
        late = self.window_bytes == MIN_WINDOW_BYTES and self._delay_s > limits.target_s
        if not late and silent_s <= 2 * limits.target_s:
            self._step(Step.FAST, limits.slower_after_s, now_s)
        elif self.step is Step.FAST:
            self._step(Step.SLOWER, limits.slower_after_s, now_s)
        elif late and has_map and self._delay_s > 2 * limits.target_s:
            # Of a rider in a tunnel nothing is known: only one who reads, and too slowly, loses its map.
            self._step(Step.TRIP, limits.drop_map_after_s, now_s)
        else:
            self._step(self.step, 0.0, now_s)
        return self.step

    def _step(self, towards: Step, after_s: float, now_s: float) -> None:
        if towards is not self._towards:
            self._towards, self._since_s = towards, now_s
        if now_s - self._since_s >= after_s:
            self.step = towards
