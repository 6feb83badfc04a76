"""What the live map shows beside the cars: a loopback HTTP server that says, as JSON, what the simulator is doing now.

docs/wire/stage.md is its specification. It is for a map on the same machine: it listens on loopback only, and since it
may hand out share links, a browser's page may read it only when its Origin is one of `origins`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

HOST: Final = "127.0.0.1"
PATH: Final = "/v1/stage"
#: A map asks once a second; whoever goes away in the middle of an answer is not waited for.
SHUTDOWN_S: Final = 1.0
#: Names of this machine. Another name that resolves to it (DNS rebinding) would make a foreign page same-origin.
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Counters(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run in numbers. `trips` are those that have ended well; `acked_p50_ms` is of the last seconds' posts."""

    drivers: int
    riders: int
    trips: int
    pings_per_s: float
    acked_p50_ms: float | None = None
    unserved: int = 0


class WaitingRequest(msgspec.Struct, frozen=True):
    """Somebody who asked for a car and has none yet."""

    lat: float
    lon: float
    waiting_s: float


class TripUnderWay(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trip with a driver, in a state of docs/wire/trips.md; the ways are encoded polylines of 5 decimals."""

    trip_id: str
    driver_id: str
    state: str
    approach: str = ""
    route: str = ""
    share_url: str = ""


class Scene(msgspec.Struct, frozen=True, omit_defaults=True):
    """One moment of a run. `at_ms` is epoch milliseconds."""

    title: str
    at_ms: int
    counters: Counters
    requests: list[WaitingRequest]
    trips: list[TripUnderWay]


class StageError(Exception):
    """The stage cannot be shown; `args[0]` is one line that says what to do."""


class Stage:
    """Serves what `scene()` returns, on http://127.0.0.1:`port`; port 0 takes a free one."""

    def __init__(self, scene: Callable[[], Scene], port: int, origins: Collection[str]) -> None:
        """`origins`: of the live maps that may read it, like http://127.0.0.1:8082 and http://localhost:8082."""
        self._scene, self._port = scene, port
        self._origins = frozenset(origin.rstrip("/") for origin in origins)
        self._names = _LOOPBACK | {urlsplit(origin).hostname for origin in self._origins}
        self._encode = msgspec.json.Encoder().encode
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its address, for RIDESTREAM_STAGE_URL; the port is known once it has started."""
        return f"http://{HOST}:{self._port}"

    async def start(self) -> None:
        """Begin to serve. Raises StageError when the port is taken."""
        app = web.Application()
        app.router.add_get(PATH, self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError:
            await runner.cleanup()
            raise StageError(
                f"port {self._port} is taken; set RIDESTREAM_STAGE_PORT to a free one, and RIDESTREAM_STAGE_URL of "
                "push to match"
            ) from None
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Serve no more. May be called twice, and without `start`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        origin = request.headers.get("Origin")
        headers = {"Cache-Control": "no-store", "Vary": "Origin", "X-Content-Type-Options": "nosniff"}
        if urlsplit(f"//{request.host}").hostname not in self._names or (origin and origin not in self._origins):
            return web.Response(status=403, text="this page may not read the stage\n", headers=headers)
        if origin:
            headers["Access-Control-Allow-Origin"] = origin
        return web.Response(body=self._encode(self._scene()), content_type="application/json", headers=headers)
