"""Take admitted pings to Kafka in frames, and say of each request whether Kafka has all of its pings. Runs on the loop.

What the routes need of it is `PingProducer`; tests bring their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

from kafka.errors import KafkaError

from ingest.events import Ping, partition_of
from ingest.frames import Frame, Framer
from ingest.tally import Tally

log = logging.getLogger(__name__)

#: How often frames are looked through for one that has waited too long: a timeout is late by this at most.
WATCH_EVERY_S = 0.1
#: The client is rebuilt when it has been silent for so many acknowledgement timeouts with frames in its hands.
SILENT_TIMEOUTS = 2


class Overloaded(Exception):
    """Nothing was taken; `args[0]` says why, for the client."""


#: Called once, on the loop: True when Kafka has acknowledged every ping; False when it has not in time. It may have
#: some of them then; sending all again is harmless.
Acknowledged = Callable[[bool], None]


class PingProducer(Protocol):
    """What the routes need."""

    def refusal(self) -> str | None:
        """Why no pings can be taken now, for the client; None when they can. Cheap: asked before a body is read."""

    def send(self, pings: Sequence[Ping], acknowledged: Acknowledged) -> None:
        """Take at least one ping. Raises Overloaded, and then took none."""


class FrameLog(Protocol):
    """Where frames go: `link.KafkaLink`."""

    trouble: str | None

    def append(self, partition: int, value: bytes, done: Callable[[BaseException | None], None]) -> None: ...
    def flush(self) -> None: ...
    def rebuild(self) -> None: ...


class Ticket:
    """One request's wait for its frames."""

    __slots__ = ("acknowledged", "frames_left")

    def __init__(self, acknowledged: Acknowledged) -> None:
        self.acknowledged, self.frames_left = acknowledged, 0


class FramingProducer:
    """PingProducer on a FrameLog. Bounded: never more than `max_unacked` pings wait, however long Kafka is away."""

    def __init__(
        self, log: FrameLog, framer: Framer, partitions: int, max_unacked: int, ack_timeout_s: float, tally: Tally
    ) -> None:
        self._log, self._framer, self._partitions = log, framer, partitions
        self._max_unacked, self._ack_timeout_s, self._tally = max_unacked, ack_timeout_s, tally
        #: Pings taken whose frame Kafka has neither acknowledged nor given up: what we hold in memory.
        self.unacked = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        #: Frames in the client's hands and when they were handed over, oldest first.
        self._in_flight: dict[Frame, float] = {}
        self._done: deque[tuple[Frame, BaseException | None]] = deque()
        self._settling = False
        self._last_ack_s = self._rebuilt_s = time.monotonic()
        self._silent_since_s: float | None = None
        self._watch = self._loop.call_later(WATCH_EVERY_S, self._look_for_late_frames)

    def refusal(self) -> str | None:
        if self.unacked >= self._max_unacked:
            return "too many pings wait for Kafka"
        if self._silent_since_s is not None:
            return "Kafka does not acknowledge"
        return self._log.trouble

    def send(self, pings: Sequence[Ping], acknowledged: Acknowledged) -> None:
        if self.unacked + len(pings) > self._max_unacked:
            raise Overloaded("too many pings wait for Kafka")
        now_s = time.monotonic()
        ticket = Ticket(acknowledged)
        for partition, theirs in self._by_partition(pings).items():
            for frame in self._framer.add(partition, theirs, now_s):
                frame.owners.append(ticket)
                ticket.frames_left += 1
        self.unacked += len(pings)
        if self._framer.full:
            self._send_due(now_s)
        elif self._timer is None:
            self._arm(now_s)

    def _by_partition(self, pings: Sequence[Ping]) -> dict[int, Sequence[Ping]]:
        """The pings of each partition, in order."""
        partitions = self._partitions
        drivers = {ping.driver_id for ping in pings}
        if len(drivers) == 1:
            return {partition_of(drivers.pop(), partitions): pings}
        by_partition: dict[int, list[Ping]] = {}
        for ping in pings:
            by_partition.setdefault(partition_of(ping.driver_id, partitions), []).append(ping)
        return cast(dict[int, Sequence[Ping]], by_partition)

    async def close(self, timeout_s: float) -> None:
        """Send what is held, wait at most `timeout_s` for the acknowledgements, and stop."""
        self._send(self._framer.take_all())
        if self._in_flight:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=timeout_s)
        self._watch.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for frame in self._in_flight:
            _resolve(frame, False)

    def _arm(self, now_s: float) -> None:
        due_at_s = self._framer.due_at_s(bool(self._in_flight))
        if due_at_s is not None:
            self._timer = self._loop.call_later(max(0.0, due_at_s - now_s), self._on_timer, due_at_s)

    def _on_timer(self, due_at_s: float) -> None:
        # The loop's timers have a resolution of 1 ms: what it woke us for is due, whatever the clock says.
        self._timer = None
        self._send_due(max(due_at_s, time.monotonic()))

    def _send_due(self, now_s: float) -> None:
        self._send(self._framer.take_due(now_s, bool(self._in_flight)))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm(now_s)

    def _send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._in_flight[frame] = time.monotonic()
            try:
                self._log.append(frame.partition, frame.value(), partial(self._on_done, frame))
            except KafkaError as error:
                self._on_done(frame, error)
        if frames:
            self._log.flush()

    def _on_done(self, frame: Frame, error: BaseException | None) -> None:
        # Called on the client's thread, for all frames of a produce request in a row: one wake-up for all of them.
        self._done.append((frame, error))
        if not self._settling:
            self._settling = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._settling = False
        now_s = time.monotonic()
        while self._done:
            frame, error = self._done.popleft()
            sent_s = self._in_flight.pop(frame, None)
            if sent_s is None:
                continue
            self.unacked -= frame.count
            _resolve(frame, error is None)
            if error is None:
                self._last_ack_s, self._silent_since_s = now_s, None
                self._tally.kafka_ack.observe(now_s - sent_s)
            else:
                self._suspect(sent_s, type(error).__name__)
        if self._in_flight:
            return
        if self._framer:
            self._send_due(now_s)
        elif self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _look_for_late_frames(self) -> None:
        now_s = time.monotonic()
        for frame, sent_s in self._in_flight.items():
            if now_s - frame.opened_at_s < self._ack_timeout_s:
                break
            if frame.owners:
                _resolve(frame, False)
                self._suspect(sent_s, "no acknowledgement in time")
        if self._silent_since_s is not None and (
            not self._in_flight or now_s - self._silent_since_s > SILENT_TIMEOUTS * self._ack_timeout_s
        ):
            self._silent_since_s, self._rebuilt_s = None, now_s
            self._log.rebuild()
        self._watch = self._loop.call_later(WATCH_EVERY_S, self._look_for_late_frames)

    def _suspect(self, sent_s: float, why: str) -> None:
        """A frame failed. Unless Kafka has acknowledged something since it was sent, all of Kafka is suspect."""
        if self._silent_since_s is None and sent_s > max(self._last_ack_s, self._rebuilt_s):
            self._silent_since_s = time.monotonic()
            log.warning("Kafka did not acknowledge a frame: %s", why)


def _resolve(frame: Frame, acked: bool) -> None:
    owners, frame.owners = frame.owners, []
    for ticket in owners:
        if not acked:
            # The first frame that fails answers for the request; 0 is never reached by the others.
            if ticket.frames_left > 0:
                ticket.frames_left = -1
                ticket.acknowledged(False)
        elif ticket.frames_left > 0:
            ticket.frames_left -= 1
            if ticket.frames_left == 0:
                ticket.acknowledged(True)
