"""One WebSocket of a rider, cheap enough for thousands in a process, that can also read slowly or fall silent.

websockets' own sans-I/O protocol speaks RFC 6455; around it is an asyncio.Protocol that hands each message on at once,
without a queue and without a task to wake. All that is worth seconds of a rush hour is one kind of frame, an unmasked
text in one piece: that is taken here (`frame_at`), for 1 µs instead of 6. Everything else, the handshake, pings,
closes, fragments and whatever is wrong, is websockets', a whole frame at a time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

#: A snapshot of 500 cars is ~100 KB; a server that sends more than this at once is wrong.
MAX_MESSAGE_BYTES = 4 << 20
#: A close that is not answered within this is followed by a reset.
CLOSE_WITHIN_S = 2.0


#: An unfragmented text, without extensions (RFC 6455, 5.2).
_PLAIN_TEXT = 0x81
_MASKED = 0x80
_END_OF_HEADERS = b"\r\n\r\n"


class RiderGone(Exception):
    """The connection ended, or was refused. `code` is the WebSocket close code, the HTTP status of a refusal, or 0
    where there was no connection at all."""

    def __init__(self, code: int, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"connection ended with {code} {reason}".rstrip() if code else f"no connection: {reason}")
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s


class RiderWire(asyncio.Protocol):
    """`on_message(payload)` hears every text message, in order; `ended` is done when the connection is over."""

    def __init__(self, protocol: ClientProtocol, request: Request, on_message: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._protocol, self._request, self._on_message = loop, protocol, request, on_message
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []  # of a message in several frames
        self._handshake = b""  # the last bytes of one that is not over
        self._framing = False  # frames are told apart here; before the handshake is over, and after nonsense, not
        self._rest = b""  # of a frame that is not all there
        self._bytes_per_s: float | None = None  # None: as fast as they come
        self._resuming: asyncio.TimerHandle | None = None
        #: Done with the answer to the handshake.
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[RiderGone] = loop.create_future()
        #: When anything last came in, by the loop's clock.
        self.heard_s = loop.time()

    @property
    def subprotocol(self) -> str | None:
        return self._protocol.subprotocol

    def send(self, text: bytes) -> None:
        """Send a text message. Raises RiderGone when the connection is over, or about to be."""
        try:
            self._protocol.send_text(text)
        except (ConnectionClosed, InvalidState):
            raise RiderGone(self._protocol.close_code or 1006, self._protocol.close_reason or "") from None
        self._flush()

    def pace(self, bytes_per_s: float | None) -> None:
        """Read no faster than this from now on: 0 is nothing at all, None is everything at once."""
        self._bytes_per_s = bytes_per_s
        if self._resuming is not None:
            self._resuming.cancel()
        self._read(bytes_per_s != 0)

    async def close(self) -> None:
        """Say goodbye; a server that does not answer, or a socket that is not read, is cut off."""
        if self._transport is None or self.ended.done():
            return
        if self._protocol.state is State.OPEN and self._bytes_per_s is None:
            self._protocol.send_close(1000)
            self._flush()
            await asyncio.wait([self.ended], timeout=CLOSE_WITHIN_S)
        self.abort()

    def abort(self) -> None:
        """Be gone without a word, as when an app is killed."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one only in what it does
        self._protocol.send_request(self._request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.heard_s = self._loop.time()
        if self._bytes_per_s:
            self._read(False)
            self._resuming = self._loop.call_later(len(data) / self._bytes_per_s, self._read, True)
        if self._framing:
            self._take_frames(data)
        elif self.opened.done():
            self._pass(data)
        else:
            self._shake_hands(data)

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
        self._protocol.receive_eof()
        gone = RiderGone(self._protocol.close_code or 1006, self._protocol.close_reason or "")
        if not self.opened.done():
            self.opened.set_exception(gone)
        self.ended.set_result(gone)

    def _shake_hands(self, data: bytes) -> None:
        """Pass on what comes until the end of the answer's headers, so that frames begin where the protocol ends."""
        seen, self._handshake = self._handshake, (self._handshake + data)[1 - len(_END_OF_HEADERS) :]
        end = (seen + data).find(_END_OF_HEADERS)
        here = len(data) if end < 0 else end + len(_END_OF_HEADERS) - len(seen)
        self._pass(data[:here])
        self._framing = end >= 0 and self._protocol.state is State.OPEN
        if here < len(data):
            (self._take_frames if self._framing else self._pass)(data[here:])

    def _take_frames(self, data: bytes) -> None:
        """Hand plain texts on, and all other frames to the protocol, which is never left with half of one."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while at < size:
            begin, end = frame_at(data, at)
            fits = end - begin <= MAX_MESSAGE_BYTES
            if end > size and fits:
                break
            plain = data[at] == _PLAIN_TEXT and data[at + 1] < _MASKED
            if plain and fits and not self._parts and self._protocol.state is State.OPEN:
                self._on_message(data[begin:end])
            else:
                self._pass(data[at:end])
            at = end
        self._rest = data[at:]

    def _pass(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
            else:
                assert isinstance(event, Response)
                self._answer(event)
        self._flush()

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            data = bytes(frame.data)
            if frame.fin and not self._parts:
                self._on_message(data)
            else:
                self._parts.append(data)
                if frame.fin:
                    whole, self._parts = b"".join(self._parts), []
                    self._on_message(whole)

    def _answer(self, response: Response) -> None:
        if self.opened.done():
            return
        if self._protocol.handshake_exc is None:
            self.opened.set_result(None)
            return
        after = response.headers.get("Retry-After", "")
        wait_s = float(after) if after.isascii() and after.isdigit() else 0.0
        # 101 with anything else wrong is no refusal, but no WebSocket either.
        status = 0 if response.status_code == 101 else response.status_code
        self.opened.set_exception(RiderGone(status, "handshake refused", wait_s))

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _read(self, on: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.resume_reading if on else self._transport.pause_reading)()


def frame_at(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` begins, and where it ends: beyond the data when some is missing."""
    have = len(data) - at
    if have < 2:
        return at + 2, at + 2
    length = data[at + 1] & 0x7F
    begin = at + 2 if length < 126 else at + 4 if length == 126 else at + 10
    if length >= 126:
        if len(data) < begin:
            return begin, begin
        length = int.from_bytes(data[at + 2 : begin], "big")
    if data[at + 1] & _MASKED:
        begin += 4
    return begin, begin + length


async def open_wire(
    url: str,
    subprotocols: Sequence[str],
    headers: Mapping[str, str],
    on_message: Callable[[bytes], None],
    receive_buffer_bytes: int | None = None,
) -> RiderWire:
    """Connect and shake hands. Raises RiderGone when refused, OSError when nobody is there.

    `receive_buffer_bytes` is what the kernel may hold for a rider who reads slowly (Linux doubles it); it has to be
    known before the connection is made.
    """
    uri = parse_uri(url)
    protocol = ClientProtocol(
        uri, subprotocols=[Subprotocol(each) for each in subprotocols], max_size=MAX_MESSAGE_BYTES
    )
    request = protocol.connect()
    for name, value in headers.items():
        request.headers[name] = value
    wire = RiderWire(protocol, request, on_message)
    loop = asyncio.get_running_loop()
    where: dict[str, Any] = {"host": uri.host, "port": uri.port}
    if receive_buffer_bytes is not None:
        where = {"sock": await _connected(uri.host, uri.port, receive_buffer_bytes)}
    if uri.secure:
        where |= {"ssl": True, "server_hostname": uri.host}
    try:
        await loop.create_connection(lambda: wire, **where)
        await wire.opened
    except BaseException:
        wire.opened.cancel()
        wire.abort()
        raise
    return wire


async def _connected(host: str, port: int, receive_buffer_bytes: int) -> socket.socket:
    """A connected socket with so small a buffer, at the first address of the host that answers."""
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, number, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connecting = socket.socket(family, kind, number)
        try:
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            connecting.setblocking(False)
            await loop.sock_connect(connecting, address)
        except OSError as error:
            connecting.close()
            failure = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise failure
