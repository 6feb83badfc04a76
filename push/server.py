"""The WebSocket endpoint /v1/stream: carries riders' frames to their sessions, and ends connections.

No rider is ever waited for. A rider costs one reading task, which is websockets' own, and outboxes of bounded size;
deadlines, heartbeats and pings of all riders are one wheel.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from infra.clock import Clock
from infra.identity import Principal
from push.actions import Action, Close, Look, Pong, Send, Unwatch, Watch, WatchTrip, Welcome, close
from push.doors import open_doors
from push.handshake import refusal, token_of
from push.ladder import Step
from push.metrics import RiderMetrics
from push.mirror import Mirror
from push.protocol import CLOSE_REASONS, DRAINING, TOO_MANY_CONNECTIONS, encode_server
from push.rider import Rider, RiderConnection
from push.session import Limits, Session
from push.settings import PushSettings
from push.share_guard import GoodLinks, ShareGuard
from push.subscriptions import Regions, Subscriptions
from push.trip_mirror import TripMirror
from push.trip_watch import Trips

#: Riders are looked at once a second, an eighth of them at a time.
WHEEL_SLOTS: Final = 8
WHEEL_TURN_S: Final = 1.0
RETRY_AFTER_S: Final = 5
#: Codes of RFC 6455 that are worth a label; clients may send any number.
_COMMON_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011})


class PushServer:
    """Serves riders from two mirrors. `start`, then `drain` to leave. Create it with the event loop running."""

    def __init__(
        self,
        settings: PushSettings,
        clock: Clock,
        verify: Callable[[str, float], Principal],
        mirror: Mirror,
        trips: TripMirror,
        good_links: GoodLinks,
        metrics: RiderMetrics,
        rng: random.Random,
    ) -> None:
        self._settings, self._clock, self._verify = settings, clock, verify
        self._metrics, self._rng = metrics, rng
        self._subscriptions = Subscriptions(settings, clock, mirror, trips, metrics, self._close)
        self._guard = ShareGuard(good_links, self._subscriptions.trips, self._subscriptions.owe)
        self._thresholds = settings.thresholds
        self._limits = Limits(
            settings.max_radius_m,
            settings.max_rings,
            settings.max_cars,
            settings.max_subscriptions,
            settings.max_messages_per_s,
            settings.auth_timeout_s,
        )
        self._wheel: list[dict[Rider, None]] = [{} for _ in range(WHEEL_SLOTS)]
        self._arrivals = 0
        self._by_subject: Counter[str] = Counter()
        self._closings: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[Server] = []
        #: Call it whenever the mirror may have something to settle.
        self.wake = self._subscriptions.wake
        self.draining = False

    async def start(self, regions: Regions, trips: Trips, listening: socket.socket) -> None:
        """Serve riders on a bound socket (see `rider.listen`)."""
        self._subscriptions.follow(regions, trips)
        self._servers = await open_doors(listening, self._ride, self._admit, self._settings)
        self._tasks = [asyncio.create_task(part) for part in (self._turn_wheel(), self._guard.run())]

    async def drain(self) -> None:
        """Stop accepting, tell every rider, and close them one by one over `drain_s`."""
        self.draining = True
        for server in self._servers:
            server.close(close_connections=False)
        riders = self._riders()
        self._rng.shuffle(riders)
        drain_s = self._settings.drain_s
        for rider in riders:
            # Riders come back to other nodes; spread them once more, because they all see the same news.
            wait_ms = int(self._rng.uniform(0, 1_000 * max(1.0, drain_s / 2)))
            self._send(rider, "draining", {"reconnect_in_ms": wait_ms})
        started_s = perf_counter()
        for done, rider in enumerate(riders):
            wait_s = started_s + drain_s * done / len(riders) - perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._close(rider, close(DRAINING))
        for rider in self._riders():  # those who were in the middle of their handshake
            self._close(rider, close(DRAINING))
        while self._closings:
            await asyncio.wait(self._closings)
        await self.stop()

    async def stop(self) -> None:
        """End at once, without telling anybody."""
        self._subscriptions.stop()
        for task in self._tasks:
            task.cancel()
        for rider in self._riders():
            rider.connection.transport.abort()
        for server in self._servers:
            server.close()
        for server in self._servers:
            await server.wait_closed()

    def _riders(self) -> list[Rider]:
        return [rider for slot in self._wheel for rider in slot]

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        refused = refusal(request, self.draining or sum(map(len, self._wheel)) >= self._settings.max_connections)
        if refused is None:
            return None
        response = connection.respond(*refused)
        if refused[0] == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response

    async def _ride(self, connection: ServerConnection) -> None:
        """One connection's life after its handshake."""
        assert isinstance(connection, RiderConnection)
        assert connection.request is not None
        session = Session(self._limits, self._verify, connection.loop.time())
        rider = Rider(connection, session, self._settings.write_limit_bytes, self._thresholds)
        connection.on_writable = lambda: self._subscriptions.owe(rider)
        connection.on_pong = lambda payload: self._subscriptions.owe(rider) if rider.answered(payload) else None
        self._arrivals += 1
        slot = self._wheel[self._arrivals % WHEEL_SLOTS]
        slot[rider] = None
        try:
            token = token_of(connection.request)
            if token is not None:
                self._perform(rider, session.authenticate(token, time.time()))
            while True:
                text = await connection.recv()
                if rider.closing is None:
                    self._perform(rider, session.received(text, connection.loop.time(), time.time()))
                if rider.buffered() >= rider.limit_bytes:
                    # A client that does not read what it is told is not listened to either.
                    await connection.drain()
        except (ConnectionClosed, OSError):
            pass
        finally:
            connection.on_writable = connection.on_pong = None
            del slot[rider]
            self._forget(rider)
            code = rider.closing or connection.close_code
            known = code in CLOSE_REASONS or code in _COMMON_CODES
            self._metrics.disconnects.labels(str(code) if known else "other").inc()

    def _perform(self, rider: Rider, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(type_, payload):
                    rider.send(payload)
                    self._subscriptions.sent[type_] += 1
                case Pong(id_):
                    self._send(rider, "pong", {"id": id_, "server_time_ms": self._clock.now_ms()})
                case Watch(sub, query):
                    self._subscriptions.watch(rider, sub, query)
                case WatchTrip(sub, trip_id, recover):
                    self._subscriptions.trips.watch(rider, sub, trip_id, recover)
                    self._subscriptions.owe(rider)
                    self._guard.look()
                case Look(sub, query):
                    self._subscriptions.look(rider, sub, query)
                case Unwatch(sub):
                    self._subscriptions.unwatch(rider, sub)
                case Welcome(id_):
                    self._welcome(rider, id_)
                case Close():
                    self._close(rider, action)

    def _send(self, rider: Rider, type_: str, fields: dict[str, Any]) -> None:
        rider.send(encode_server(type_, fields))
        self._subscriptions.sent[type_] += 1

    def _welcome(self, rider: Rider, id_: str | None) -> None:
        settings, principal = self._settings, rider.session.principal
        assert principal is not None
        if not rider.subject:
            if self._by_subject[principal.subject] >= settings.max_connections_per_rider:
                self._close(rider, close(TOO_MANY_CONNECTIONS))
                return
            rider.subject = principal.subject
            self._by_subject[rider.subject] += 1
            self._metrics.connections.inc()
        self._send(
            rider,
            "welcome",
            {
                "id": id_,
                "session": rider.connection.id.hex[:16],
                "server_time_ms": self._clock.now_ms(),
                "heartbeat_ms": int(settings.heartbeat_s * 1_000),
                "stale_after_ms": settings.stale_after_ms,
                "gone_after_ms": settings.gone_after_ms,
                "limits": self._limits.public(),
            },
        )

    def _close(self, rider: Rider, ending: Close) -> None:
        if rider.closing is not None:
            return
        rider.closing = ending.code
        self._forget(rider)
        task = asyncio.create_task(rider.connection.end(ending))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    def _forget(self, rider: Rider) -> None:
        self._subscriptions.forget(rider)
        if rider.subject:
            self._metrics.connections.dec()
            self._by_subject[rider.subject] -= 1
            if not self._by_subject[rider.subject]:
                del self._by_subject[rider.subject]
            rider.subject = ""

    async def _turn_wheel(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        step_s = min(WHEEL_TURN_S, settings.heartbeat_s, settings.auth_timeout_s) / WHEEL_SLOTS
        turn = 0
        while True:
            due_s = loop.time() + step_s
            await asyncio.sleep(step_s)
            now_s, wall_s = loop.time(), time.time()
            self._metrics.loop_lag.observe(max(0.0, now_s - due_s))
            self._subscriptions.look_at_time(now_s)
            turn += 1
            for rider in list(self._wheel[turn % WHEEL_SLOTS]):
                self._check(rider, now_s, wall_s)

    def _check(self, rider: Rider, now_s: float, wall_s: float) -> None:
        settings = self._settings
        ending = rider.session.due(now_s, wall_s) or rider.check(
            now_s, settings.heartbeat_s, settings.stalled_after_s, settings.no_pong_after_s
        )
        silent_s = now_s - rider.last_sent_s
        if ending is None and rider.ladder is not None:
            ending = self._climb(rider, now_s)
        if ending is not None:
            self._close(rider, ending)
        elif rider.session.principal is not None and silent_s >= settings.heartbeat_s and rider.buffered() == 0:
            self._send(rider, "heartbeat", {"server_time_ms": self._clock.now_ms()})

    def _climb(self, rider: Rider, now_s: float) -> Close | None:
        """The slow ladder, for a paced rider."""
        step = rider.judge(now_s)
        if step is not None:
            self._metrics.steps.labels(step.name.lower()).inc()
        if step is Step.CLOSE:
            return rider.slow()
        if rider.keeps_trip_only:
            for sub in list(rider.outboxes):
                self._subscriptions.unwatch(rider, sub)
                rider.session.forget(sub)
                self._send(rider, "dropped", {"sub": sub, "reason": "slow"})
        if rider.waits:
            self._subscriptions.owe(rider)
        self._subscriptions.end_if_over(rider)
        return None
