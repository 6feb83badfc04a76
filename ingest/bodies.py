"""Read a request's body within a size, a time and a memory limit. uvicorn has none of the three."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from infra.health import Receive
from ingest.schemas import MAX_BODY_BYTES

#: Bytes of all bodies that are being read now and came in more than one piece: 64 of the largest.
MAX_READING_BYTES = 64 * MAX_BODY_BYTES
#: An unread body up to this size is read and thrown away, so that the connection lives on; else it is closed.
SMALL_BODY_BYTES = 65_536
#: How often readers are looked through for one that takes too long: a timeout is late by this at most.
LOOK_EVERY_S = 0.25

Headers = tuple[tuple[bytes, bytes], ...]
CLOSE: Headers = ((b"connection", b"close"),)


class Refused(Exception):
    """A request that is answered with a problem document. `errors` are the places that are wrong; `more` are members
    of the document that its type has beyond the usual ones."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        headers: Headers = (),
        errors: Sequence[Mapping[str, str]] = (),
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail, self.headers = status, slug, detail, headers
        self.errors, self.more = errors, more


class BodyReader:
    """Reads bodies, each within `timeout_s`. One timer for all of them: one each costs 3 µs a request."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        #: Deadlines of the requests whose body is being read. All wait equally long, so the first is the earliest.
        self._deadlines: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._reading_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive) -> bytes | None:
        """The body; None when the client has gone. Raises Refused 408, 413, 503."""
        task = asyncio.current_task()
        assert task is not None, "ASGI servers run an app in a task"
        self._deadlines[task] = time.monotonic() + self._timeout_s
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_for_late_bodies)
        try:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body: bytes = message.get("body", b"")
            if message.get("more_body", False):
                return await self._read_more(body, receive)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise Refused(
                408, "body-timeout", f"the body did not arrive within {self._timeout_s:g} s; send it again", CLOSE
            ) from None
        finally:
            self._deadlines.pop(task, None)
            self._late.discard(task)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        return body

    async def _read_more(self, first: bytes, receive: Receive) -> bytes | None:
        parts, size = [first], len(first)
        self._reading_bytes += size
        try:
            while True:
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                if self._reading_bytes > MAX_READING_BYTES:
                    raise Refused(503, "unavailable", "too many large bodies at once", ((b"retry-after", b"2"),))
                message = await receive()
                if message["type"] != "http.request":
                    return None
                part: bytes = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._reading_bytes += len(part)
                if not message.get("more_body", False):
                    break
        finally:
            self._reading_bytes -= size
        if size > MAX_BODY_BYTES:
            raise _too_large()
        return b"".join(parts)

    def _look_for_late_bodies(self) -> None:
        self._timer = None
        now_s = time.monotonic()
        for task, deadline_s in list(self._deadlines.items()):
            if deadline_s > now_s:
                break
            del self._deadlines[task]
            self._late.add(task)
            task.cancel()
        if self._deadlines:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_for_late_bodies)


def check(headers: dict[bytes, bytes]) -> None:
    """What a request says about its body before it is sent. Raises Refused 413, 415."""
    declared = headers.get(b"content-length")
    if declared is not None and int(declared) > MAX_BODY_BYTES:  # httptools has seen that it is a number
        raise _too_large()
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json" and content_type.split(b";")[0].strip().lower() != b"application/json":
        raise Refused(415, "unsupported-media-type", "send `Content-Type: application/json`")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "unsupported-media-type", "send the body without a Content-Encoding")


def unread(headers: dict[bytes, bytes]) -> Headers:
    """`Connection: close` unless the body that we do not want to read is known to be small."""
    declared = headers.get(b"content-length", b"")
    return () if declared.isdigit() and int(declared) <= SMALL_BODY_BYTES else CLOSE


def _too_large() -> Refused:
    return Refused(413, "body-too-large", f"the body is larger than {MAX_BODY_BYTES} bytes; send less at once", CLOSE)
