"""A rider's wire tells messages apart as websockets does, however the network cuts what a server sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from simulator.riders.wire import MAX_MESSAGE_BYTES, RiderWire

URI = parse_uri("ws://127.0.0.1:1/v1/stream")


class Socket(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written += data

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass


class Alone:
    """What websockets makes of the same bytes by itself."""

    def __init__(self) -> None:
        self.protocol = ClientProtocol(URI, max_size=MAX_MESSAGE_BYTES)
        self.messages: list[bytes] = []
        self._parts: list[bytes] = []

    def receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._parts.append(bytes(event.data))
                if event.fin:
                    self.messages.append(b"".join(self._parts))
                    self._parts = []


def answer(asked: bytes) -> bytes:
    """What a server says to a handshake."""
    server = ServerProtocol()
    server.receive_data(asked)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    return b"".join(server.data_to_send())


def said_back(asked: bytes, written: bytes) -> list[tuple[Opcode, bytes]]:
    """The frames that a client wrote after its request, by masks of its own."""
    server = ServerProtocol()
    server.receive_data(asked)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    server.receive_data(written)
    return [(each.opcode, bytes(each.data)) for each in server.events_received() if isinstance(each, Frame)]


def text(size: int, letter: bytes = b"x", fin: bool = True) -> bytes:
    return Frame(Opcode.TEXT, letter * size, fin).serialize(mask=False)


PIECES = st.one_of(
    st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]).map(text),
    st.sampled_from([0, 3, 200]).map(lambda size: text(size, b"y", fin=False)),
    st.tuples(st.sampled_from([0, 3, 200]), st.booleans()).map(
        lambda each: Frame(Opcode.CONT, b"z" * each[0], each[1]).serialize(mask=False)
    ),
    st.binary(max_size=20).map(lambda data: Frame(Opcode.PING, data).serialize(mask=False)),
    st.just(Frame(Opcode.BINARY, b"\x00\x01").serialize(mask=False)),
    st.just(Frame(Opcode.CLOSE, Close(4008, "slow").serialize()).serialize(mask=False)),
    st.just(Frame(Opcode.TEXT, b"masked").serialize(mask=True)),
    st.just(b"\x81\x7f" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big") + b"far too long"),
    st.just(b"\xc1\x01x"),  # an extension that nobody agreed on
    st.just(b"\x83\x00"),  # no opcode
)


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 2_000), max_size=12))
@example([text(3), text(126)], list(range(140)))
@example([text(4, b"y", fin=False), text(5)], [])
def test_whatever_a_server_sends_and_wherever_it_is_cut_riders_hear_what_websockets_would(
    pieces: Sequence[bytes], cuts: Sequence[int]
) -> None:
    async def hear() -> None:
        messages: list[bytes] = []
        alone, socket = Alone(), Socket()
        request = alone.protocol.connect()
        wire = RiderWire(ClientProtocol(URI, max_size=MAX_MESSAGE_BYTES), request, messages.append)
        wire._protocol.key = alone.protocol.key  # one handshake answers both
        wire.connection_made(socket)
        alone.protocol.send_request(request)
        asked = b"".join(alone.protocol.data_to_send())
        stream = answer(asked) + b"".join(pieces)
        at = [0, *sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]
        for begin, end in pairwise(at):
            if begin < end:
                wire.data_received(stream[begin:end])
        await wire.opened
        alone.receive(stream)

        assert messages == alone.messages
        assert wire._protocol.state is alone.protocol.state
        ours, theirs = socket.written.removeprefix(asked), b"".join(alone.protocol.data_to_send())
        assert said_back(asked, ours) == said_back(asked, theirs)
        wire.connection_lost(None)
        alone.protocol.receive_eof()
        gone = wire.ended.result()
        assert (gone.code, gone.reason) == (alone.protocol.close_code, alone.protocol.close_reason or "")

    asyncio.run(hear())
