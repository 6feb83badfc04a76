"""Raw asyncio protocols that load a server cheaply: HTTP/1.1 keep-alive posts, and WebSocket riders that count cars."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import cast

_HEADERS_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Poster(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight. `on_answer(self, status)` is called per answer."""

    def __init__(self, on_answer: Callable[[Poster, int], None]) -> None:
        self._on_answer = on_answer
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self.last_answer = b""
        #: Whatever the caller wants to remember about the request in flight (its scheduled time).
        self.sent_for = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def post(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._on_answer(self, 0)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(_HEADERS_END)
        at = data[:end].lower().find(_LENGTH) if end >= 0 else -1
        if at < 0 or len(data) < end + 4 + int(data[at + len(_LENGTH) : data.index(b"\r", at)]):
            self._buffer = data
            return
        self._buffer = b""
        self.last_answer = data
        self._on_answer(self, int(data[9:12]))


def http_request(path: str, host: str, token: str, body: bytes) -> bytes:
    """A POST as a phone's HTTP library sends it, ready for the socket."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ridestream-bench\r\nAccept: */*\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class RiderSocket(asyncio.Protocol):
    """A WebSocket client that sends `hello` after the handshake and hands whole text or binary messages on."""

    def __init__(
        self,
        host: str,
        path: str,
        headers: dict[str, str],
        hello: list[bytes],
        on_message: Callable[[RiderSocket, bytes], None],
    ) -> None:
        self._host, self._path, self._headers = host, path, headers
        self._hello, self._on_message = hello, on_message
        self._buffer = bytearray()
        self._open = False
        self._transport: asyncio.WriteTransport | None = None
        self.closed_because = ""
        #: Whatever the caller wants to know about this rider.
        self.place = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {self._path} HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one masked frame (the mask is zero: it only has to be there)."""
        assert self._transport is not None
        size = len(payload)
        header = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else struct.pack(">BBH", 0x80 | opcode, 0xFE, size)
        self._transport.write(header + b"\0\0\0\0" + payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed_because = self.closed_because or "connection lost"

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            data = bytes(self._buffer)
            self._buffer.clear()
        position = 0
        if not self._open:
            end = data.find(_HEADERS_END)
            if end < 0:
                self._buffer += data
                return
            if b" 101 " not in data[:32]:
                self.closed_because = data[:200].decode(errors="replace")
                self.close()
                return
            self._open, position = True, end + 4
            for message in self._hello:
                self.send(1, message)
        available = len(data)
        while available - position >= 2:
            size, start = data[position + 1], position + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[start - 2 : start], "big") if start <= available else available
            elif size == 127:
                start += 8
                size = int.from_bytes(data[start - 8 : start], "big") if start <= available else available
            if start + size > available:
                break
            opcode = data[position] & 0x0F
            position = start + size
            if opcode in (1, 2):
                self._on_message(self, data[start:position])
            elif opcode == 9:
                self.send(10, data[start:position])
            elif opcode == 8:
                self.closed_because = f"closed by server: {data[start:position]!r}"
        if position < available:
            self._buffer += data[position:]
