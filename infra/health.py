"""/livez, /readyz and /metrics as a small ASGI app that every service serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from infra.problems import CONTENT_TYPE as PROBLEM_TYPE
from infra.problems import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: Returns None when the service can do its work, else what it waits for, in words for an operator.
Readiness = Callable[[], str | None]

PATHS = frozenset({"/livez", "/readyz", "/metrics"})


class Health:
    """ASGI app. `/livez` depends on nothing but the event loop; `/readyz` asks `readiness`."""

    def __init__(self, readiness: Readiness, registry: CollectorRegistry = REGISTRY) -> None:
        self._readiness, self._registry = readiness, registry

    def respond(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for one of PATHS."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        waiting_for = self._readiness() if path == "/readyz" else None
        if waiting_for is not None:
            return 503, PROBLEM_TYPE, problem(503, "not-ready", waiting_for)
        return 200, "application/json", b'{"status":"ok"}'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in PATHS:
            status, content_type, body = self.respond(scope["path"])
        else:
            status, content_type, body = 404, PROBLEM_TYPE, problem(404, "not-found", "no such path")
        headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
