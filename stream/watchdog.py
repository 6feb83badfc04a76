"""Notice a consumer that went silent: records wait and none is applied, or nobody can tell. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping

#: A partition may wait its turn while a worker catches up on others, and Kafka may be away, which a new start does not
#: mend: so many times longer, neither is taken for a consumer that went silent.
PATIENCE = 10


class Watchdog:
    """Compares, per partition, the end of the log with the offset that is next, from one look to another."""

    def __init__(self, stall_after_s: float) -> None:
        self._stall_after_s = stall_after_s
        #: Partition -> the offset that was next, since when, and how much of that others were being caught up on.
        self._standing: dict[int, tuple[int, float, float]] = {}
        self._looked_at_s: float | None = None
        self._blind_since_s: float | None = None
        #: The end of each partition's log, as of the last look.
        self.log_ends: Mapping[int, int] = {}

    def look(self, log_ends: Mapping[int, int], next_offsets: Mapping[int, int], now_s: float) -> int | None:
        """A partition that has had lag and no progress for too long, if there is one. `now_s` is monotonic.

        Too long is `stall_after_s`, or PATIENCE times as much while the worker catches up on other partitions.
        """
        passed_s = 0.0 if self._looked_at_s is None else now_s - self._looked_at_s
        self._looked_at_s, self.log_ends, self._blind_since_s = now_s, log_ends, None
        lagging = {number: next_offsets.get(number, 0) for number, end in log_ends.items()}
        lagging = {number: offset for number, offset in lagging.items() if offset < log_ends[number]}
        before, self._standing = self._standing, {}
        busy = any(number in before and before[number][0] != offset for number, offset in lagging.items())
        stalled = None
        for number, offset in lagging.items():
            known, since_s, waited_s = before.get(number, (offset, now_s, 0.0))
            if known != offset:
                since_s, waited_s = now_s, 0.0
            elif busy:
                waited_s += passed_s
            self._standing[number] = (offset, since_s, waited_s)
            stood_s = now_s - since_s
            if stood_s - waited_s >= self._stall_after_s or stood_s >= PATIENCE * self._stall_after_s:
                stalled = number
        return stalled

    def blind(self, now_s: float, assigned: bool) -> bool:
        """A look was not possible; True when none has been for PATIENCE x `stall_after_s`. `now_s` is monotonic.

        It is not when Kafka is away, and neither when the consumer's thread hangs, say in a rebalance: from here the
        two are the same. Not `assigned` says that no partition is ours yet, so that none of them stands still.
        """
        if not assigned:
            self._standing.clear()
        if self._blind_since_s is None:
            self._blind_since_s = now_s
        return now_s - self._blind_since_s >= PATIENCE * self._stall_after_s

    def pause(self) -> None:
        """Whatever stood still had a reason; start counting anew."""
        self._standing.clear()
        self._blind_since_s = None
