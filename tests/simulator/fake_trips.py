"""A system that knows trips and nothing else: ingest's trip API, push's reads, and its trip channel, on one socket.

It keeps docs/wire/trips.md, reads.md and websocket.md as far as a dispatcher and riders notice, and breaks what a test
tells it to.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from aiohttp import WSCloseCode, web

#: What befalls a command: an answer in place of it; "drop": no answer, and nothing is done; "mute": done, not answered.
Trouble = Callable[[str, int], "web.Response | Literal['drop', 'mute'] | None"]
EPOCH = "1700000000000000"
#: As of a car that stands at a stop.
STANDS = {"leg": "", "off_route": False, "distance_m": 0.0}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def problem(status: int, **members: Any) -> web.Response:
    return web.json_response({"type": "/problems/x", "status": status, **members}, status=status)


class FakeTrips:
    """`trips` are as ingest tells them, `logs` as push does. `trouble(path, number)` befalls command `number`."""

    def __init__(self) -> None:
        self.url = ""
        self.trouble: Trouble = lambda _path, _number: None
        self.trips: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.cars: list[str] = []
        self.tracks: dict[str, list[tuple[int, float, float]]] = {}
        self.positions: dict[str, dict[str, Any]] = {}
        #: Every command: path, key, body, authorization.
        self.commands: list[tuple[str, str, dict[str, Any], str]] = []
        self.subscribed: list[dict[str, Any]] = []
        self.hidden: set[str] = set()
        self._answered: dict[str, tuple[int, dict[str, Any]]] = {}
        self._watching: dict[str, list[web.WebSocketResponse]] = defaultdict(list)

    @property
    def stream_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/stream"

    def states(self, trip_id: str) -> list[str]:
        return [event["state"] for event in self.trips[trip_id]["history"]]

    # -- ingest -----------------------------------------------------------------------------------------------------

    async def command(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        key = request.headers["Idempotency-Key"]
        self.commands.append((request.path, key, body, request.headers["Authorization"]))
        trouble = self.trouble(request.path, len(self.commands))
        if isinstance(trouble, web.Response):
            return trouble
        assert request.transport is not None
        if trouble == "drop":
            request.transport.abort()
            return web.Response()
        if key not in self._answered:
            answer = self._do(request, body)
            if isinstance(answer, web.Response):
                return answer
            self._answered[key] = (201 if request.path == "/v1/trips" else 200, json.loads(json.dumps(answer)))
            await self.tell(answer["trip_id"], answer["history"][-1])
        if trouble == "mute":
            request.transport.abort()
            return web.Response()
        status, told = self._answered[key]
        return web.json_response(told, status=status)

    def _do(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any] | web.Response:
        trip_id = body.get("trip_id") or request.match_info["trip_id"]
        if request.path == "/v1/trips":
            if trip_id in self.trips:
                return problem(409, state=self.trips[trip_id]["state"])
            trip = {name: body[name] for name in ("trip_id", "driver_id", "rider_id", "pickup", "dropoff")}
            self.trips[trip_id] = trip | {"version": 0, "state": "", "history": [], "assignment": 1}
            self._log(trip_id, "NEW", "trip.created")
            return self.trips[trip_id]
        if trip_id not in self.trips:
            return problem(404)
        state = "CANCELED" if request.path.endswith("/cancel") else body["state"]
        if state == self.trips[trip_id]["state"]:
            return problem(409, state=state)
        self._log(trip_id, state, "trip.state_changed")
        return self.trips[trip_id]

    def _log(self, trip_id: str, state: str, type_: str) -> None:
        trip = self.trips[trip_id]
        trip["version"] += 1
        trip["state"] = state
        event = {"event_id": f"v{trip['version']}", "type": type_, "at_ms": now_ms(), "state": state}
        trip["history"].append(event | {"driver_id": trip["driver_id"], "assignment": 1, "by": "dispatch"})

    async def read_ledger(self, request: web.Request) -> web.Response:
        trip = self.trips.get(request.match_info["trip_id"])
        if "push" not in request.headers["Authorization"]:
            return problem(404) if trip is None else web.json_response(trip)
        trip_id = request.match_info["trip_id"]
        log = self.logs[trip_id]
        return web.json_response({"epoch": EPOCH, "offset": len(log), "events": log})

    # -- push -------------------------------------------------------------------------------------------------------

    async def nearby(self, _request: web.Request) -> web.Response:
        at_ms = now_ms()
        known = {"lat": 40.75, "lon": -73.99, "fix_time_ms": at_ms, "age_ms": 0, "freshness": "live", "cell": "8"}
        return web.json_response({"server_time_ms": at_ms, "cars": [{"driver_id": car} | known for car in self.cars]})

    async def track(self, request: web.Request) -> web.Response:
        trip = self.trips[request.match_info["trip_id"]]
        fixes = self.tracks.get(trip["driver_id"], [])
        places = [[lon, lat] for _, lat, lon in fixes]
        geometry: Any = {"type": "LineString", "coordinates": places}
        if len(places) < 2:
            geometry = {"type": "Point", "coordinates": places[0]} if places else None
        times = [datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds") for at_ms, *_ in fixes]
        properties = {"driver_id": trip["driver_id"], "coordTimes": times}
        return web.json_response({"type": "Feature", "geometry": geometry, "properties": properties})

    async def share(self, request: web.Request) -> web.Response:
        return web.json_response({"url": f"{self.url}/share#{request.match_info['trip_id']}"}, status=201)

    async def tell(self, trip_id: str, *events: dict[str, Any], skipped: int = 0) -> None:
        """Log events, and tell whoever watches; `skipped` offsets are left out."""
        log = self.logs[trip_id]
        told = []
        for event in events:
            offset = (log[-1]["offset"] if log else 0) + 1 + skipped
            log.append(event | {"offset": offset})
            told.append(log[-1])
        message = {"type": "trip_events", "epoch": EPOCH, "offset": log[-1]["offset"], "events": told}
        await self.send(trip_id, message | {"trip": self._shown(trip_id)})
        if self.trips[trip_id]["state"] in ("COMPLETE", "CANCELED") and trip_id in self.positions:
            del self.positions[trip_id]
            await self.send(trip_id, {"type": "trip_freshness", "freshness": "none"})

    async def drive(self, trip_id: str, fix_time_ms: int, lat: float, lon: float) -> None:
        """The trip's car is there."""
        car = {"driver_id": self.trips[trip_id]["driver_id"], "lat": lat, "lon": lon, "fix_time_ms": fix_time_ms}
        car |= {"age_ms": now_ms() - fix_time_ms, "freshness": "live"}
        first = trip_id not in self.positions
        self.positions[trip_id] = car
        if first:
            await self.send(trip_id, {"type": "trip_freshness", "freshness": "live"})
        await self.send(trip_id, {"type": "trip_position", "car": car, "progress": STANDS})

    async def send(self, trip_id: str, message: dict[str, Any]) -> None:
        for socket in self._watching[trip_id]:
            await socket.send_str(_compact(message | {"sub": "my-trip", "server_time_ms": now_ms()}))

    async def cut_off(self, trip_id: str, code: int = 1012) -> None:
        """Close every connection that watches the trip."""
        for socket in list(self._watching[trip_id]):
            await socket.close(code=code)

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("ridestream.v1",))
        await socket.prepare(request)
        await socket.send_str(_compact({"type": "welcome", "heartbeat_ms": 5_000}))
        async for frame in socket:
            asked = json.loads(frame.data)
            self.subscribed.append(asked)
            trip_id = asked["trip_id"]
            if trip_id not in self.trips or trip_id in self.hidden:
                await socket.send_str(_compact({"type": "error", "sub": asked["sub"], "code": "unknown_trip"}))
                continue
            await socket.send_str(_compact(self._snapshot(trip_id, asked)))
            self._watching[trip_id].append(socket)
        for sockets in self._watching.values():
            if socket in sockets:
                sockets.remove(socket)
        return socket

    def _snapshot(self, trip_id: str, asked: dict[str, Any]) -> dict[str, Any]:
        log, car = self.logs[trip_id], self.positions.get(trip_id)
        message = {"type": "trip_snapshot", "sub": asked["sub"], "epoch": EPOCH, "offset": log[-1]["offset"]}
        message |= {"server_time_ms": now_ms(), "trip": self._shown(trip_id), "mode": "snapshot", "events": log}
        message |= {"freshness": "none"} if car is None else {"freshness": "live", "car": car, "progress": STANDS}
        if "recover" in asked and asked["recover"]["epoch"] == EPOCH:
            missed = [event for event in log if event["offset"] > asked["recover"]["offset"]]
            message |= {"mode": "replay", "events": missed, "replayed": len(missed)}
        return message

    def _shown(self, trip_id: str) -> dict[str, Any]:
        return {name: self.trips[trip_id][name] for name in ("trip_id", "version", "state", "driver_id", "assignment")}


def _compact(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


@asynccontextmanager
async def fake_trips() -> AsyncIterator[FakeTrips]:
    """Serve on a free port until the block ends."""
    fake = FakeTrips()
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/trips", fake.command),
            web.post("/v1/trips/{trip_id}/events", fake.command),
            web.post("/v1/trips/{trip_id}/cancel", fake.command),
            web.get("/v1/trips/{trip_id}", fake.read_ledger),
            web.get("/v1/trips/{trip_id}/track", fake.track),
            web.post("/v1/trips/{trip_id}/shares", fake.share),
            web.get("/v1/nearby", fake.nearby),
            web.get("/v1/stream", fake.stream),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        for sockets in fake._watching.values():
            for socket in list(sockets):
                await socket.close(code=WSCloseCode.GOING_AWAY)
        await runner.cleanup()
