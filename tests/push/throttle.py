"""A slow network: a relay that takes so many bytes a second from the server, and holds little in between."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self

STEP_S = 0.05


class Throttle:
    """`async with Throttle(port, bytes_per_s) as way`: riders connect to `way.port`. Upwards nothing is slow."""

    def __init__(self, port: int, bytes_per_s: float) -> None:
        self._to, self.bytes_per_s = port, bytes_per_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = socket.socket()
        # As little as the kernel allows: what it holds for us would be a network that is not slow.
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        upstream.setblocking(False)
        await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", self._to))
        parts = [self._down(upstream, writer), self._up(reader, upstream)]
        tasks = [asyncio.create_task(part) for part in parts]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        upstream.close()
        writer.close()

    async def _down(self, upstream: socket.socket, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        due_s, may = loop.time(), 0.0
        while True:
            due_s += STEP_S
            await asyncio.sleep(due_s - loop.time())
            may += self.bytes_per_s * STEP_S
            while may >= 1:
                data = b""
                with contextlib.suppress(BlockingIOError):
                    data = upstream.recv(int(may))
                    if not data:
                        return
                if not data:
                    may = 0.0
                    break
                may -= len(data)
                writer.write(data)

    @staticmethod
    async def _up(reader: asyncio.StreamReader, upstream: socket.socket) -> None:
        while data := await reader.read(65_536):
            await asyncio.get_running_loop().sock_sendall(upstream, data)
