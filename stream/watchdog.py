"""Notice a consumer that went silent: records wait in Kafka, and none is applied. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping


class Watchdog:
    """Compares, per partition, the end of the log with the offset that is next, from one look to another."""

    def __init__(self, stall_after_s: float) -> None:
        self._stall_after_s = stall_after_s
        self._moved_at_s: dict[int, tuple[int, float]] = {}
        #: The end of each partition's log, as of the last look.
        self.log_ends: Mapping[int, int] = {}

    def look(self, log_ends: Mapping[int, int], next_offsets: Mapping[int, int], now_s: float) -> int | None:
        """A partition that has had lag and no progress for `stall_after_s`, if there is one.

        `now_s` is monotonic. Leave out the partitions that have a reason to stand still.
        """
        self.log_ends = log_ends
        stalled = None
        for partition in list(self._moved_at_s):
            if partition not in log_ends:
                del self._moved_at_s[partition]
        for partition, end in log_ends.items():
            offset = next_offsets.get(partition, 0)
            known, since_s = self._moved_at_s.get(partition, (-1, now_s))
            if offset >= end or offset != known:
                self._moved_at_s[partition] = (offset, now_s)
            elif now_s - since_s >= self._stall_after_s:
                stalled = partition
        return stalled

    def pause(self) -> None:
        """Whatever stood still had a reason; start counting anew."""
        self._moved_at_s.clear()
