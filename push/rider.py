"""One connected rider: its socket, its session and its outboxes. Sends without waiting, and says when it cannot.

A rider who watches nothing but cars and takes what it is told is told everything at once, which costs least. One with
a trip, or whose socket was once full, is *paced*: its trip goes first, its map follows in small parts, and no more is
on its way than it reads in about a second (`ladder.py`).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from push.actions import Close, close
from push.ladder import PART_BYTES, Ladder, Step, Thresholds
from push.outbox import MAX_WAITING, MAX_WAITING_PACED, Message, Outbox
from push.protocol import NO_PONG, SLOW_CONSUMER
from push.session import Session
from push.trip_outbox import TripOutbox

PING_FRAME: Final = Frame(Opcode.PING, b"").serialize(mask=False)
#: A close frame that cannot be written, or is not answered, within this is followed by a reset.
CLOSE_WITHIN_S: Final = 2.0
_TEXT: Final = 0x80 | Opcode.TEXT


class RiderConnection(ServerConnection):
    """websockets' connection, which also notes signs of life and tells when the socket takes data again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard_s = self.loop.time()
        self.on_writable: Callable[[], None] | None = None
        self.on_pong: Callable[[bytes], None] | None = None

    def data_received(self, data: bytes) -> None:
        self.heard_s = self.loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    def acknowledge_pings(self, data: bytes) -> None:
        super().acknowledge_pings(data)
        if data and self.on_pong is not None:
            self.on_pong(data)

    async def end(self, ending: Close) -> None:
        """A close frame, and a reset if that cannot be written or is not answered."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self.close(ending.code, ending.reason)
        except (TimeoutError, ConnectionClosed, OSError):
            self.transport.abort()


def text_frame(payload: bytes) -> bytes:
    """An unfragmented, unmasked, uncompressed text frame (RFC 6455, 5.2), as a server sends it.

    One concatenation; `websockets`' own serialisation of a frame costs as much again as the write itself.
    """
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65_536:
        return bytes((_TEXT, 126, size >> 8, size & 255)) + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + payload


class Rider:
    """Owned by the server; `limit_bytes` may wait in the socket's buffer, beyond that positions wait conflated."""

    __slots__ = (
        "_asked_s",
        "_progress_s",
        "_taken",
        "_thresholds",
        "_written",
        "closing",
        "connection",
        "ladder",
        "last_sent_s",
        "limit_bytes",
        "outboxes",
        "session",
        "subject",
        "trips",
        "waits",
    )

    def __init__(self, connection: RiderConnection, session: Session, limit_bytes: int, thresholds: Thresholds) -> None:
        self.connection, self.session, self.limit_bytes = connection, session, limit_bytes
        self._thresholds = thresholds
        self.outboxes: dict[str, Outbox] = {}
        self.trips: dict[str, TripOutbox] = {}
        self.ladder: Ladder | None = None  # while the rider is paced
        self.waits = False  # a paced rider is owed what it cannot take yet
        self.closing: int | None = None  # the close code, once the server has decided to end the connection
        self.subject = ""  # whose connection it is, once that is known
        now_s = connection.loop.time()
        self.last_sent_s = self._progress_s = self._asked_s = now_s
        self._written = self._taken = 0

    def buffered(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self.connection.transport.get_write_buffer_size()

    @property
    def is_over(self) -> bool:
        """Whether the rider came by a share link, and knows that this has ended."""
        return any(trip.over for trip in self.trips.values())

    def is_open(self) -> bool:
        return (
            self.closing is None and self.connection.state is State.OPEN and not self.connection.transport.is_closing()
        )

    def send(self, payload: bytes) -> None:
        """Hand one message to the socket. Never waits; call it only while `buffered()` is below the limit."""
        if self.is_open():
            frame = text_frame(payload)
            self._written += len(frame)
            self.last_sent_s = self.connection.loop.time()
            self.connection.transport.write(frame)

    def flush(self, now_ms: int, sent: Counter[str]) -> None:
        """Send what is owed while the socket takes it; what it does not take stays conflated.

        Counts messages by type in `sent`, and `positions` and `conflated`.
        """
        blocked: str | None = None
        room = MAX_WAITING
        for sub, outbox in self.outboxes.items():
            if outbox:
                if blocked is not None or self.buffered() >= self.limit_bytes:
                    blocked = blocked or sub
                    outbox.defer(room)
                    room -= len(outbox)
                elif outbox.held_until_s is None:
                    message = outbox.take(now_ms)
                    if message is not None:
                        self.send(message.payload)
                        sent[message.type] += 1
                        sent["positions"] += message.positions
            if outbox.conflated:
                sent["conflated"] += outbox.conflated
                outbox.conflated = 0
        if blocked is not None:
            self._first_next_time(blocked)
            self.pace()

    def pace(self) -> None:
        """From now on the rider is told no more than it takes."""
        if self.ladder is None:
            self.ladder = Ladder(self._thresholds, self._written, self.connection.loop.time())

    def flush_paced(self, now_ms: int, sent: Counter[str]) -> None:
        """`flush` for a paced rider: the trips first, then the map in parts, as far as there is room on the way."""
        ladder, now_s = self.ladder, self.connection.loop.time()
        assert ladder is not None
        positions = sent["positions"]
        for trip in self.trips.values():
            while self.buffered() < self.limit_bytes:
                message = trip.take(now_ms, ladder.room(self._written, now_s) > 0)
                if message is None:
                    break
                self._tell(message, sent)
        may_wait, waiting = MAX_WAITING_PACED, None
        for sub, outbox in self.outboxes.items():
            if outbox.held_until_s is None:
                while outbox and waiting is None and self.buffered() < self.limit_bytes:
                    room = ladder.room(self._written, now_s)
                    message = outbox.take(now_ms, max(PART_BYTES, room // 4)) if room else None
                    if message is None:
                        break
                    self._tell(message, sent)
                if outbox:
                    waiting = waiting or sub
                    outbox.defer(may_wait)
                    may_wait -= len(outbox)
            if outbox.conflated:
                sent["conflated"] += outbox.conflated
                outbox.conflated = 0
        self._first_next_time(waiting)
        if sent["positions"] > positions:
            ladder.told(now_s)
        self.waits = waiting is not None or ladder.room(self._written, now_s) == 0
        ping = ladder.ping(self._written, now_s)
        if ping is not None and self.is_open():
            self.connection.transport.write(Frame(Opcode.PING, ping).serialize(mask=False))

    def _first_next_time(self, sub: str | None) -> None:
        """The subscription that had to wait comes first next time."""
        if sub is not None and len(self.outboxes) > 1:
            names = list(self.outboxes)
            first = names.index(sub)
            self.outboxes = {name: self.outboxes[name] for name in names[first:] + names[:first]}

    def _tell(self, message: Message, sent: Counter[str]) -> None:
        self.send(message.payload)
        sent[message.type] += 1
        sent["positions"] += message.positions
        sent["events"] += message.events
        if message.resumed:
            sent[f"resumed {message.resumed}"] += 1

    def answered(self, payload: bytes) -> bool:
        """A pong came. Returns whether the rider may be able to take more by that."""
        ladder = self.ladder
        return ladder is not None and ladder.pong(payload, self.connection.loop.time()) and self.waits

    def judge(self, now_s: float) -> Step | None:
        """The step of the slow ladder that a paced rider has just come to; None when it stays where it is."""
        ladder = self.ladder
        if ladder is None:
            return None
        before = ladder.step
        step = ladder.judge(now_s, bool(self.trips and self.outboxes))
        if not self.trips and not self.waits and not ladder.is_asking and step is Step.FAST:
            self.ladder = None  # told at once again
        return step if step is not before else None

    @property
    def keeps_trip_only(self) -> bool:
        """Whether the rider is too slow for a map."""
        return self.ladder is not None and self.ladder.step is Step.TRIP and bool(self.trips)

    def slow(self) -> Close:
        """How the connection of a rider who is too slow ends: it says from where its trip goes on."""
        position = next((trip.position for trip in self.trips.values() if trip.position), "")
        return close(SLOW_CONSUMER, f"slow consumer: resume {position}" if position else "")

    def check(self, now_s: float, heartbeat_s: float, stalled_after_s: float, no_pong_after_s: float) -> Close | None:
        """Look whether anybody is there; asks with a ping when nothing was heard for a heartbeat."""
        waiting = self.buffered()
        if waiting == 0 or self._written - waiting > self._taken:
            self._progress_s, self._taken = now_s, self._written - waiting
        if waiting and now_s - self._progress_s >= stalled_after_s:
            return self.slow()
        silent_s = now_s - self.connection.heard_s
        # Of a paced rider with an open question the ladder knows more: it has not read what was sent.
        if not waiting and silent_s >= no_pong_after_s and not (self.ladder is not None and self.ladder.is_asking):
            return close(NO_PONG)
        if silent_s >= heartbeat_s and now_s - self._asked_s >= heartbeat_s and waiting < self.limit_bytes:
            self._asked_s = now_s
            if self.is_open():
                self.connection.transport.write(PING_FRAME)
        return None


def listen(host: str, port: int, send_buffer_bytes: int | None = None) -> socket.socket:
    """A bound socket; its connections inherit the kernel send buffer's size. Raises OSError when the port is busy."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer_bytes is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        listening.bind((host, port))
    except BaseException:
        listening.close()
        raise
    return listening
