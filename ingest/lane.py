"""A fast lane in uvicorn's HTTP protocol: a whole POST /v1/pings is answered without an ASGI task.

uvicorn's task, scope, events and header checks cost ~35 µs a request, more than everything ingest does with a ping.
The lane takes only requests that came in one piece (headers and body in one read) on an idle connection; every other
one (slow, chunked, pipelined, another path) goes uvicorn's ordinary way to the same route.
"""

from __future__ import annotations

import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingest.bodies import Refused
from ingest.routes import PATH, Answer, PingsRoute

_URL = PATH.encode()


class _Turn:
    """Stands for a lane request where uvicorn keeps its own `RequestResponseCycle`, so that it queues, drains and
    closes around it as around any other."""

    __slots__ = ("disconnected", "headers", "keep_alive", "protocol", "response_complete", "started_s")

    def __init__(self, protocol: PingsLane, headers: dict[bytes, bytes]) -> None:
        self.protocol, self.headers = protocol, headers
        self.keep_alive = True
        self.disconnected = self.response_complete = False
        self.started_s = time.perf_counter()

    @property
    def message_event(self) -> _Turn:
        return self

    def set(self) -> None:
        """uvicorn wakes up whoever reads the body; nobody does."""

    def respond(self, answer: Answer) -> None:
        """Write the response and let the connection go on, or close it when uvicorn or a header says so."""
        protocol = self.protocol
        self.response_complete = True
        transport = protocol.transport
        if self.disconnected or transport.is_closing():
            return
        status, body, headers = answer
        parts = [STATUS_LINE[status]]
        for name, value in protocol.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection":
                self.keep_alive = False
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"content-length: %d\r\n\r\n" % len(body), body)
        transport.write(b"".join(parts))
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()


class PingsLane(HttpToolsProtocol):
    """uvicorn's protocol, with the lane."""

    def __init__(self, route: PingsRoute, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._route = route
        #: The read that is being parsed, when it began with a request; else empty.
        self._read = b""
        self._between_requests = True
        self._turn: _Turn | None = None
        self._turn_body = b""

    def data_received(self, data: bytes) -> None:
        self._read = data if self._between_requests else b""
        super().data_received(data)
        self._read = b""

    def on_message_begin(self) -> None:
        # What uvicorn prepares here (a scope) is of use only if the request goes its way: see on_headers_complete.
        self._between_requests = False
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        if self.url == _URL and self._read and self._takes(headers := dict(self.headers)):
            self._turn = self.cycle = _Turn(self, headers)  # type: ignore[assignment]
            self._turn_body = b""
        else:
            url, fields, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers += fields
            super().on_headers_complete()
        self._read = b""  # only the first request of a read is known to have come whole

    def on_body(self, body: bytes) -> None:
        if self._turn is None:
            super().on_body(body)
        else:
            self._turn_body += body

    def on_message_complete(self) -> None:
        self._between_requests = True
        turn, self._turn = self._turn, None
        if turn is None:
            super().on_message_complete()
            return
        try:
            rule = self._route.open("POST", turn.headers)
        except Refused as refused:
            turn.respond(self._route.refuse(refused))
        else:
            self._route.take(rule, self._turn_body, turn.started_s, turn.respond)

    def _takes(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the request whose headers are complete is whole, plain, and the only one on its connection."""
        parser, cycle = self.parser, self.cycle
        length = headers.get(b"content-length")
        if (
            length is None
            or self.expect_100_continue
            or self.flow.write_paused
            or not (cycle is None or cycle.response_complete)
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or not parser.should_keep_alive()
        ):
            return False
        head_ends = self._read.find(b"\r\n\r\n")
        return head_ends >= 0 and len(self._read) - head_ends - 4 >= int(length)
