"""One connected rider: its socket, its session and its outboxes. Sends without waiting, and says when it cannot."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from push.outbox import MAX_WAITING, Outbox
from push.protocol import NO_PONG, SLOW_CONSUMER
from push.session import Close, Session, close

PING_FRAME: Final = Frame(Opcode.PING, b"").serialize(mask=False)
_TEXT: Final = 0x80 | Opcode.TEXT


class RiderConnection(ServerConnection):
    """websockets' connection, which also notes signs of life and tells when the socket takes data again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard_s = self.loop.time()
        self.on_writable: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        self.heard_s = self.loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()


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
        "_written",
        "closing",
        "connection",
        "last_sent_s",
        "limit_bytes",
        "outboxes",
        "session",
        "subject",
    )

    def __init__(self, connection: RiderConnection, session: Session, limit_bytes: int) -> None:
        self.connection, self.session, self.limit_bytes = connection, session, limit_bytes
        self.outboxes: dict[str, Outbox] = {}
        self.closing: int | None = None  # the close code, once the server has decided to end the connection
        self.subject = ""  # whose connection it is, once that is known
        now_s = connection.loop.time()
        self.last_sent_s = self._progress_s = self._asked_s = now_s
        self._written = self._taken = 0

    def buffered(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self.connection.transport.get_write_buffer_size()

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
        if blocked is not None and len(self.outboxes) > 1:
            # The subscription that had to wait comes first next time.
            names = list(self.outboxes)
            first = names.index(blocked)
            self.outboxes = {name: self.outboxes[name] for name in names[first:] + names[:first]}

    def check(self, now_s: float, heartbeat_s: float, stalled_after_s: float, no_pong_after_s: float) -> Close | None:
        """Look whether anybody is there; asks with a ping when nothing was heard for a heartbeat."""
        waiting = self.buffered()
        if waiting == 0 or self._written - waiting > self._taken:
            self._progress_s, self._taken = now_s, self._written - waiting
        if waiting and now_s - self._progress_s >= stalled_after_s:
            return close(SLOW_CONSUMER)
        silent_s = now_s - self.connection.heard_s
        if not waiting and silent_s >= no_pong_after_s:
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
