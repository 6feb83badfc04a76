"""What a rider is still owed of one subscription: the newest of each car and nothing older. Pure.

Nothing is queued. While a rider takes nothing, only driver ids wait here, each with what the rider must be told. The
car itself is looked up when the message is made, so that a slow rider gets fewer and newer positions. When more ids
would wait than may, or an update would name more than a snapshot can, a snapshot is owed instead, which needs none.

    told before \\ now    entered            moved    left
    (nothing owed)       ENTER              MOVE     LEAVE
    ENTER                ENTER              ENTER    nothing: the rider never knew it
    MOVE                 MOVE               MOVE     LEAVE
    LEAVE                MOVE: knows it     MOVE     LEAVE
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from push.mirror import Marker
from push.nearby import Batch, Standing
from push.protocol import encode_car, join_snapshot, join_update, quote, update_tail

ENTER: Final = 1
MOVE: Final = 2
LEAVE: Final = 3
#: Most cars of one subscription, and most that one update names: with ids of 64 characters and all digits, 167 KiB.
MAX_CARS: Final = 500
#: Driver ids that may wait for one rider who takes nothing, in all its subscriptions: ~10 KiB with the longest ids.
MAX_WAITING: Final = 64
#: The same for a rider who is told in parts, so that a full map can be on its way while cars leave and enter: ~150 KiB
#: with the longest ids, all of cars that nobody else sees, and ~37 KiB with ids that others see too. For that, no more
#: than a part, ~2 KiB, is ever in the socket's buffer.
MAX_WAITING_PACED: Final = 2 * MAX_CARS


class Message(NamedTuple):
    """A message ready to be sent, how many positions and trip events it carries, and its type for the counters.

    `resumed` is how a trip that was watched before went on: `replay` or `snapshot`.
    """

    payload: bytes
    positions: int
    type: str
    events: int = 0
    resumed: str = ""


def bodies(markers: Iterable[Marker], now_ms: int) -> list[bytes]:
    """The cars' JSON as of `now_ms`, each made once for everyone."""
    made = []
    for marker in markers:
        if marker.body_at_ms != now_ms:
            marker.body = encode_car(marker.car, now_ms, marker.stale)
            marker.body_at_ms = now_ms
        made.append(marker.body)
    return made


def tail_of(batch: Batch, now_ms: int) -> bytes:
    """The JSON that all riders of the batch share as of `now_ms`; a cell's moves are shared by all queries."""
    if batch.at_ms != now_ms:
        moved = bodies(batch.move, now_ms)
        for change in batch.moved_in:
            if change.at_ms != now_ms:
                change.body, change.at_ms = b",".join(bodies(change.moved, now_ms)), now_ms
            moved.append(change.body)
        batch.tail, batch.at_ms = update_tail(bodies(batch.enter, now_ms), moved, batch.leave), now_ms
    return batch.tail


class Outbox:
    """One subscription of one rider. `owe` takes in what changed, `take` makes the next message of it."""

    __slots__ = ("_batch", "_pending", "_quoted_sub", "_snapshot_due", "conflated", "held_until_s", "seq", "standing")

    def __init__(self, sub: str, standing: Standing) -> None:
        """The first message will be a snapshot."""
        self.standing = standing
        self.held_until_s: float | None = None  # the caller's note: say nothing before this
        self._quoted_sub = quote(sub)
        self.seq = 0  # of the last message taken
        self.conflated = 0  # positions that a newer one replaced before they were sent; the caller resets it
        self._snapshot_due = True
        self._batch: Batch | None = None
        self._pending: dict[str, int] | None = None

    def __bool__(self) -> bool:
        """Whether anything is owed."""
        return self._snapshot_due or self._batch is not None or bool(self._pending)

    def __len__(self) -> int:
        """Driver ids that wait here (a batch not taken yet is shared, and counts when it is deferred)."""
        return len(self._pending) if self._pending is not None else 0

    def owe(self, batch: Batch) -> None:
        """Take in what one tick changed in `standing`."""
        if self._snapshot_due:
            self.conflated += batch.positions
        elif self._batch is None and not self._pending:
            self._batch = batch
        else:
            self._unshare()
            self._add(batch)

    def defer(self, room: int) -> None:
        """The rider takes nothing now: remember which cars, or, beyond `room` of them, that all are to be told anew."""
        self._unshare()
        if len(self) > room:
            self._start_over()

    def _unshare(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            self._add(batch)

    def _start_over(self) -> None:
        pending, self._pending = self._pending or {}, None
        self.conflated += sum(owed != LEAVE for owed in pending.values())
        self._snapshot_due = True

    def _add(self, batch: Batch) -> None:
        pending = self._pending
        if pending is None:
            pending = self._pending = {}
        for marker in batch.enter:
            known = pending.get(marker.driver_id)
            pending[marker.driver_id] = ENTER if known is None or known == ENTER else MOVE
        for marker in batch.moves():
            known = pending.get(marker.driver_id)
            if known in (ENTER, MOVE):
                self.conflated += 1
            pending[marker.driver_id] = ENTER if known == ENTER else MOVE
        for driver_id in batch.leave:
            known = pending.get(driver_id)
            if known in (ENTER, MOVE):
                self.conflated += 1
            if known == ENTER:
                del pending[driver_id]
            else:
                pending[driver_id] = LEAVE

    def switch(self, standing: Standing) -> None:
        """The rider looks elsewhere: what enters and leaves by that is owed like any other change."""
        before, after, shown = self.standing.view, standing.view, standing.shown
        self.standing = standing
        if not self._snapshot_due:
            self._unshare()
            enter = [shown[driver_id] for driver_id in after if driver_id not in before]
            self._add(Batch(enter, [], [driver_id for driver_id in before if driver_id not in after]))

    def take(self, now_ms: int, budget: int | None = None) -> Message | None:
        """The next message as of `now_ms` (event time of the last settlement), or None when nothing is owed.

        With a `budget` the message names only as many cars as have room in so many bytes, the nearest ones first in a
        snapshot, and at least one; the others are still owed.
        """
        if budget is not None:
            return self._take_part(now_ms, budget)
        shown = self.standing.shown
        if self._snapshot_due:
            return self._snapshot(now_ms)
        batch, self._batch = self._batch, None
        if batch is None:
            pending, self._pending = self._pending, None
            if not pending:
                return None
            if len(pending) > MAX_CARS:
                return self._snapshot(now_ms)
            batch = Batch(
                [shown[driver_id] for driver_id, owed in pending.items() if owed == ENTER],
                [shown[driver_id] for driver_id, owed in pending.items() if owed == MOVE],
                [driver_id for driver_id, owed in pending.items() if owed == LEAVE],
            )
        elif batch.positions + len(batch.leave) > MAX_CARS:
            return self._snapshot(now_ms)
        self.seq += 1
        tail = tail_of(batch, now_ms)
        return Message(join_update(self._quoted_sub, self.seq, now_ms, tail), batch.positions, "update")

    def _snapshot(self, now_ms: int) -> Message:
        self._snapshot_due = False
        self.seq += 1
        shown = self.standing.shown
        cars = bodies([shown[driver_id] for driver_id in self.standing.view], now_ms)
        return Message(join_snapshot(self._quoted_sub, self.seq, now_ms, cars), len(cars), "snapshot")

    def _take_part(self, now_ms: int, budget: int) -> Message | None:
        standing = self.standing
        shown = standing.shown
        if self._snapshot_due:
            self._snapshot_due = False
            nearest = sorted(standing.view, key=lambda driver_id: standing.distance_m(shown[driver_id].car))
            self._pending = dict.fromkeys(nearest, ENTER)
            cars = bodies([shown[driver_id] for driver_id in self._part(now_ms, budget)], now_ms)
            self.seq += 1
            return Message(join_snapshot(self._quoted_sub, self.seq, now_ms, cars), len(cars), "snapshot")
        if self._batch is not None and len(tail_of(self._batch, now_ms)) <= budget:
            return self.take(now_ms)
        self._unshare()
        part = self._part(now_ms, budget)
        if not part:
            return None
        self.seq += 1
        batch = Batch(
            [shown[driver_id] for driver_id, owed in part.items() if owed == ENTER],
            [shown[driver_id] for driver_id, owed in part.items() if owed == MOVE],
            [driver_id for driver_id, owed in part.items() if owed == LEAVE],
        )
        return Message(
            join_update(self._quoted_sub, self.seq, now_ms, tail_of(batch, now_ms)), batch.positions, "update"
        )

    def _part(self, now_ms: int, budget: int) -> dict[str, int]:
        """Take from what is owed until the budget is spent: who left first, then what came to be first.

        Were a car told to enter before another leaves in its place, the rider would see more than its limit meanwhile.
        """
        pending, shown = self._pending or {}, self.standing.shown
        part: dict[str, int] = {}
        for driver_id, owed in sorted(pending.items(), key=lambda each: each[1] != LEAVE):
            if budget <= 0:
                break
            part[driver_id] = owed
            budget -= len(driver_id) if owed == LEAVE else len(bodies([shown[driver_id]], now_ms)[0])
        for driver_id in part:
            del pending[driver_id]
        if not pending:
            self._pending = None
        return part
