"""A narrow way between a rider and push: a TCP proxy that lets so many bytes a second through to each."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

#: Bytes that a socket of the proxy takes ahead. Linux doubles what it is given.
BUFFER_BYTES = 4_096
#: A segment of loopback is 64 KiB: more than the buffer takes. This is about a phone's.
SEGMENT_BYTES = 1_200
TICK_S = 0.05
MADE_UP_S = 1.0


class NarrowWay:
    """Listens on a port of its own; what `url` sends comes through at `bytes_per_s`. An async context manager."""

    def __init__(self, url: str, bytes_per_s: float) -> None:
        self._target = urlsplit(url)
        self._bytes_per_s = bytes_per_s
        self._server: asyncio.Server | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self.bytes_through = 0
        #: Local ports of the connections to push.
        self.ports: set[int] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for flow in self._flows:
            flow.cancel()
        await asyncio.gather(*self._flows, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._target.path}"

    async def _carry(self, down_reader: asyncio.StreamReader, down_writer: asyncio.StreamWriter) -> None:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        narrow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        narrow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(narrow, (self._target.hostname, self._target.port))
        self.ports.add(narrow.getsockname()[1])
        self._flows |= {
            asyncio.create_task(self._up(down_reader, narrow)),
            asyncio.create_task(self._down(narrow, down_writer)),
        }

    async def _up(self, reader: asyncio.StreamReader, narrow: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(4_096):
                await loop.sock_sendall(narrow, data)
            narrow.shutdown(socket.SHUT_WR)

    async def _down(self, narrow: socket.socket, writer: asyncio.StreamWriter) -> None:
        """A socket that is read by hand: a stream would read ahead."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        with suppress(OSError):
            while data := await loop.sock_recv(narrow, max(1, int(self._bytes_per_s * TICK_S))):
                writer.write(data)
                self.bytes_through += len(data)
                # A pause that took too long on a busy machine is made up for: the way is narrow, not broken.
                due_s = max(due_s, loop.time() - MADE_UP_S) + len(data) / self._bytes_per_s
                await asyncio.sleep(max(0.0, due_s - loop.time()))
        writer.close()
        narrow.close()
