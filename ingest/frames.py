"""Collect admitted pings by partition and say which frames are due. Pure: no clock, no Kafka; time is handed in.

Nothing is lost, doubled or reordered: a driver's pings leave in the order in which they came. They are packed as they
come, while the processor has them at hand: so they take ~85 bytes each while they wait, not ~350.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingest.events import Ping, frame_of_packed, pack_pings

#: The longest a ping can be in a frame: two ids of 66 bytes, eight numbers of 9, a type, a state, the array's head.
MAX_PING_BYTES = 2 * 66 + 8 * 9 + 13 + 9 + 3
#: Below the 1,000,012 bytes of a batch that Kafka's brokers take by default (`message.max.bytes`), headers included.
MAX_FRAME_BYTES = 900_000
#: While Kafka owes us an acknowledgement a frame handed over would only wait in the client, which sends one batch
#: per partition at a time; so it may as well wait here and fill. Bounded, so that one slow partition leader does
#: not slow down the others for long: 4 x 5 ms is still below a blink of a map.
HOLD_LINGERS = 4


class Frame:
    """Pings of one partition, packed. `owners` are whoever wants to know what became of them; opaque here."""

    __slots__ = ("_packed", "count", "opened_at_s", "owners", "partition")

    def __init__(self, partition: int, opened_at_s: float) -> None:
        self.partition, self.opened_at_s = partition, opened_at_s
        self.count = 0
        self.owners: list[Any] = []
        self._packed: list[bytes] = []

    def extend(self, pings: Sequence[Ping]) -> None:
        """Put these behind those that are in."""
        self._packed.append(pack_pings(pings))
        self.count += len(pings)

    def value(self) -> bytes:
        """The record value."""
        return frame_of_packed(self.count, self._packed)


class Framer:
    """The frames that are open now, at most one per partition, and those that are full and wait to be taken."""

    def __init__(self, linger_s: float, max_pings: int) -> None:
        """A frame is due `linger_s` after its first ping, or when it has `max_pings` (or would outgrow Kafka)."""
        self._linger_s = linger_s
        self._max_pings = min(max_pings, MAX_FRAME_BYTES // MAX_PING_BYTES)
        self._open: dict[int, Frame] = {}
        self._full: list[Frame] = []

    def __bool__(self) -> bool:
        return bool(self._open or self._full)

    @property
    def full(self) -> bool:
        """Whether a frame is due because of its size."""
        return bool(self._full)

    def add(self, partition: int, pings: Sequence[Ping], now_s: float) -> list[Frame]:
        """Put pings of one partition into its frame, and into new ones as it fills; return the frames they are in."""
        frame = self._open.get(partition)
        if frame is None:
            frame = self._open[partition] = Frame(partition, now_s)
        used, start = [frame], 0
        while True:
            room = self._max_pings - frame.count
            frame.extend(pings[start : start + room] if start or len(pings) > room else pings)
            if frame.count < self._max_pings:
                return used
            self._full.append(self._open.pop(partition))
            start += room
            if start >= len(pings):
                return used
            frame = self._open[partition] = Frame(partition, now_s)
            used.append(frame)

    def due_at_s(self, waiting_for_ack: bool) -> float | None:
        """When `take_due` will next have something, if nothing is added until then; None when nothing is held."""
        if self._full:
            return self._full[0].opened_at_s
        # Frames are opened in time order and a dict keeps that order: the first is the oldest.
        for oldest in self._open.values():
            return oldest.opened_at_s + self._linger_s * (HOLD_LINGERS if waiting_for_ack else 1)
        return None

    def take_due(self, now_s: float, waiting_for_ack: bool) -> list[Frame]:
        """Full frames; and all open ones once the oldest is due, because one burst costs less than several."""
        due, self._full = self._full, []
        open_due_at_s = self.due_at_s(waiting_for_ack)
        if open_due_at_s is not None and open_due_at_s <= now_s:
            due.extend(self._open.values())
            self._open = {}
        return due

    def take_all(self) -> list[Frame]:
        """Everything that is held, due or not: at the end."""
        taken = [*self._full, *self._open.values()]
        self._full, self._open = [], {}
        return taken
