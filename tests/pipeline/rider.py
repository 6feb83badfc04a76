"""Riders of these tests: one who watches and judges every message, and one who subscribes and never reads again."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.oracle.fold import Shown
from tests.pipeline.polling import until

SUBPROTOCOL = "ridestream.v1"


class Rider(threading.Thread):
    """Watches one place until it is closed, in a thread of its own, and reconnects when it is cut off.

    `view` is what a rider's app would draw: driver id -> the car as it was sent. `faults` holds, in words, everything
    that a server may not do: a car that moves backwards in time, a sequence with a gap, a move of an unknown car.
    """

    def __init__(self, url: str, token: str, lat: float, lon: float, radius_m: float, limit: int | None = None) -> None:
        super().__init__(daemon=True)
        self._url, self._token = url, token
        self._subscribe = {"type": "subscribe", "sub": "near", "lat": lat, "lon": lon, "radius_m": radius_m}
        if limit is not None:
            self._subscribe["limit"] = limit
        self.lat, self.lon, self.radius_m = lat, lon, radius_m
        self.view: dict[str, dict[str, Any]] = {}
        self.faults: list[str] = []
        #: (wall seconds, server_time_ms, driver_id, fix_time_ms) of every entered or moved car, in order of arrival.
        self.arrivals: list[tuple[float, int, str, int]] = []
        self.connections = self.snapshots = self.updates = self.received_bytes = 0
        self._newest: dict[str, int] = {}
        self._seq = 0
        self._closing = threading.Event()
        self._connection: ClientConnection | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        if self._connection is not None:
            self._connection.close()
        self.join(10)

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        while not self._closing.is_set():
            try:
                with connect(
                    self._url,
                    additional_headers=headers,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    max_size=None,
                ) as connection:
                    self._connection = connection
                    self.connections += 1
                    connection.send(json.dumps(self._subscribe))
                    for text in connection:
                        self.received_bytes += len(text)
                        self._take(json.loads(text))
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                pass
            self._closing.wait(0.2)

    def shown(self) -> dict[str, Shown]:
        """The view in the oracle's terms."""
        return {
            driver_id: Shown(car["fix_time_ms"], car["lat"], car["lon"], car["cell"])
            for driver_id, car in self.view.items()
        }

    def await_view(self, index: dict[str, Shown], drivers: Iterable[str], within_s: float = 60.0) -> None:
        """Wait until the view holds exactly these drivers, as the index has them. Fails the test if it never does."""
        wanted = {driver_id: index[driver_id] for driver_id in drivers}

        def difference() -> str:
            seen = self.shown()
            missing, extra = sorted(wanted.keys() - seen.keys()), sorted(seen.keys() - wanted.keys())
            other = sorted(id_ for id_ in wanted.keys() & seen.keys() if wanted[id_] != seen[id_])
            return f"missing {missing}, too many {extra}, otherwise {other}, faults {self.faults}"

        until(lambda: self.snapshots and self.shown() == wanted, within_s, difference)

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "snapshot":
                self.snapshots += 1
                self._seq = message["seq"]
                view = {car["driver_id"]: car for car in message["cars"]}
                for car in view.values():
                    self._see(car, message["server_time_ms"])
                self.view = view
            case "update":
                self.updates += 1
                self._expect(message["seq"] == self._seq + 1, f"seq {message['seq']} after {self._seq}")
                self._seq = message["seq"]
                view = dict(self.view)
                for driver_id in message["leave"]:
                    self._expect(view.pop(driver_id, None) is not None, f"{driver_id} left without being there")
                for car in message["enter"]:
                    self._expect(car["driver_id"] not in view, f"{car['driver_id']} entered twice")
                for car in message["move"]:
                    self._expect(car["driver_id"] in view, f"{car['driver_id']} moved without being there")
                for car in message["enter"] + message["move"]:
                    self._see(car, message["server_time_ms"])
                    view[car["driver_id"]] = car
                self.view = view  # replaced whole: the test's thread reads it
            case "error":
                self.faults.append(f"error: {message}")

    def _see(self, car: dict[str, Any], server_time_ms: int) -> None:
        driver_id, fix_time_ms = car["driver_id"], car["fix_time_ms"]
        before = self._newest.get(driver_id, 0)
        self._expect(fix_time_ms >= before, f"{driver_id} moved back in time, from {before} to {fix_time_ms}")
        self._newest[driver_id] = max(before, fix_time_ms)
        self.arrivals.append((time.time(), server_time_ms, driver_id, fix_time_ms))

    def _expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


class StalledRider:
    """Subscribes, and then never reads: what the server sends fills a buffer of `receive_bytes` and stays there.

    A plain socket, because every client library reads ahead.
    """

    def __init__(
        self, url: str, token: str, lat: float, lon: float, radius_m: float, receive_bytes: int = 4_096
    ) -> None:
        parts = urlsplit(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(60)
        self._socket.connect((parts.hostname, parts.port))
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            (
                f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ).encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        self._send({"type": "subscribe", "sub": "near", "lat": lat, "lon": lon, "radius_m": radius_m})

    @property
    def local_port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _send(self, message: dict[str, object]) -> None:
        body, mask = json.dumps(message).encode(), os.urandom(4)
        length = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + struct.pack(">H", len(body))
        self._socket.sendall(b"\x81" + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(body)))

    def close(self) -> None:
        self._socket.close()
