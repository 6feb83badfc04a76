"""`python -m tests.bench.trip_load`: drivers that post pings at scheduled times, and the riders who see them.

Open loop: a ping's delay counts from the moment it was scheduled, whether or not a connection was free then, until a
rider's socket has a frame that holds it. Both ends are one process, so one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import re
import time
from collections import deque
from math import ceil, cos, inf, radians, sin
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.clients import Poster, RiderSocket

#: 10 neighbourhoods of 200 drivers, too far apart to be seen from each other; one rider in the middle of each.
PLACES, DRIVERS_PER_PLACE = 10, 200
DRIVERS = PLACES * DRIVERS_PER_PLACE
CENTRE_LAT, CENTRE_LON, PLACES_APART_DEG = 40.50, -74.20, 0.06
CLUSTER_M, RADIUS_M = 1_200.0, 2_000.0
CIRCLE_M, SPEED_MPS, M_PER_DEG = 60.0, 8.0, 111_195.0
CONNECTIONS = 256
POLL_S = 0.001
#: A ping not seen by a rider this long after the window closed counts as never seen.
STRAGGLERS_S = 3.0
PERCENTILES = (10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.99, 100)
SEEN = re.compile(rb'"driver_id":"driver-(\d+)"[^}]*?"fix_time_ms":(\d+)')


def place_of(place: int) -> tuple[float, float]:
    """Where the rider of a place stands."""
    return CENTRE_LAT + place // 5 * PLACES_APART_DEG, CENTRE_LON + place % 5 * PLACES_APART_DEG * 1.32


class Drivers:
    """Builds the request of a driver's ping at a time: every driver circles around a place of its own."""

    def __init__(self, host: str, tokens: list[str], with_place: bool) -> None:
        rng = random.Random(5)
        self._homes, self._heads = [], []
        for driver in range(DRIVERS):
            lat, lon = place_of(driver // DRIVERS_PER_PLACE)
            far_m, angle = CLUSTER_M * rng.random() ** 0.5, rng.uniform(0, 6.2831853)
            scale = cos(radians(lat))
            self._homes.append(
                (lat + far_m * cos(angle) / M_PER_DEG, lon + far_m * sin(angle) / M_PER_DEG / scale, scale)
            )
            query = f"?{driver // DRIVERS_PER_PLACE}" if with_place else ""
            self._heads.append(
                f"POST /v1/pings{query} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {tokens[driver]}\r\n"
                "Content-Type: application/json\r\nContent-Length: "
            )

    def request(self, driver: int, fix_time_ms: int) -> bytes:
        """~140 B of JSON with what a phone sends, and its driver's headers."""
        lat, lon, scale = self._homes[driver]
        angle = fix_time_ms * (SPEED_MPS / CIRCLE_M / 1_000) % 6.2831853 + driver
        body = (
            f'{{"driver_id":"driver-{driver:05d}","lat":{lat + CIRCLE_M * cos(angle) / M_PER_DEG:.6f},'
            f'"lon":{lon + CIRCLE_M * sin(angle) / M_PER_DEG / scale:.6f},"fix_time_ms":{fix_time_ms},'
            '"accuracy_m":6.5,"heading_deg":231.0,"speed_mps":8.0}'
        )
        return f"{self._heads[driver]}{len(body)}\r\n\r\n{body}".encode()


class Run:
    """One run at one rate: who posted what when, and when it was seen."""

    def __init__(self, drivers: Drivers, rate: float, begin_s: float, start_s: float, stop_s: float) -> None:
        self._drivers, self._rate = drivers, rate
        self._begin_s, self._start_s, self._stop_s = begin_s, start_s, stop_s
        # First in, first out: a connection that waits for seconds is one that a server closes.
        self._free: deque[Poster] = deque()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._scheduled: dict[tuple[int, int], float] = {}
        self.delays_s: list[float] = []
        self.answer_delays_s: list[float] = []
        self.statuses: dict[int, int] = {}
        self.posted = 0
        self.longest_queue = 0

    async def connect(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, poster = await loop.create_connection(lambda: Poster(self._on_answer), host, port)
            self._free.append(poster)

    def close(self) -> None:
        for poster in self._free:
            poster.close()

    def _on_answer(self, poster: Poster, status: int) -> None:
        if self._start_s <= poster.sent_for < self._stop_s:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.answer_delays_s.append(time.monotonic() - poster.sent_for)
        if self._waiting:
            poster.sent_for, request = self._waiting.popleft()
            poster.post(request)
        elif status:
            self._free.append(poster)

    def on_message(self, rider: RiderSocket, message: bytes) -> None:
        now = time.monotonic()
        for driver, fix_time_ms in SEEN.findall(message):
            at = self._scheduled.pop((int(driver), int(fix_time_ms)), None)
            if at is not None and self._start_s <= at < self._stop_s:
                self.delays_s.append(now - at)

    async def post_on_schedule(self) -> None:
        """Poisson arrivals from `begin_s` to `stop_s`; drivers take turns, each every DRIVERS / rate s."""
        rng = random.Random(11)
        at, turn = self._begin_s, 0
        # Wall time of monotonic zero: fix times are wall times.
        wall_ms = time.time() * 1000 - time.monotonic() * 1000
        while at < self._stop_s:
            now = time.monotonic()
            while at <= now and at < self._stop_s:
                driver = turn * 7 % DRIVERS
                fix_time_ms = int(wall_ms + at * 1000)
                request = self._drivers.request(driver, fix_time_ms)
                self._scheduled[driver, fix_time_ms] = at
                self.posted += self._start_s <= at
                if self._free:
                    poster = self._free.popleft()
                    poster.sent_for = at
                    poster.post(request)
                else:
                    self._waiting.append((at, request))
                    self.longest_queue = max(self.longest_queue, len(self._waiting))
                turn += 1
                at += rng.expovariate(self._rate)
            await asyncio.sleep(POLL_S)

    def result(self) -> dict[str, Any]:
        """Delays in milliseconds; a ping that no rider saw is late without end."""
        unseen = self.posted - len(self.delays_s)
        delays = sorted(self.delays_s) + [inf] * unseen
        answers = sorted(self.answer_delays_s)
        return {
            "rate": self._rate,
            "posted": self.posted,
            "seen": len(self.delays_s),
            "statuses": self.statuses,
            "longest_queue": self.longest_queue,
            "percentiles_ms": {str(share): _ms(delays, share) for share in PERCENTILES},
            "answer_percentiles_ms": {str(share): _ms(answers, share) for share in PERCENTILES},
        }


def _ms(ordered: list[float], percent: float) -> float | None:
    """Nearest-rank percentile in milliseconds; None where the ping was never seen."""
    if not ordered:
        return None
    value = ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
    return None if value == inf else round(value * 1000, 3)


async def run(args: argparse.Namespace) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    riders = json.loads(args.riders.read_text())
    drivers = Drivers(f"{args.host}:{args.ingest_port}", json.loads(args.tokens.read_text()), args.with_place)
    begin_s = args.start_s - args.warm_up_s
    one = Run(drivers, args.rate, begin_s, args.start_s, args.stop_s)
    sockets = []
    for rider in riders:
        _, socket = await loop.create_connection(
            lambda rider=rider: RiderSocket(  # type: ignore[misc]
                f"{args.host}:{args.push_port}", rider["path"], rider["headers"],
                [text.encode() for text in rider["hello"]], one.on_message,
            ),
            args.host, args.push_port,
        )  # fmt: skip
        sockets.append(socket)
    await one.connect(args.host, args.ingest_port)
    if time.monotonic() > begin_s:
        raise SystemExit("drivers and riders were not connected in time")
    gc.collect()
    gc.freeze()
    gc.disable()
    await asyncio.sleep(begin_s - time.monotonic())
    posting = asyncio.ensure_future(one.post_on_schedule())
    await asyncio.sleep(args.start_s - time.monotonic())
    used = time.process_time()
    await posting
    used = time.process_time() - used
    deadline = time.monotonic() + STRAGGLERS_S
    while len(one.delays_s) < one.posted and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    lost = [socket.closed_because for socket in sockets if socket.closed_because]
    one.close()
    return {**one.result(), "generator_cpu": used / (args.stop_s - args.start_s), "riders_lost": lost}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--ingest-port", type=int, required=True)
    parser.add_argument("--push-port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--riders", type=Path, required=True)
    parser.add_argument("--with-place", action="store_true")
    parser.add_argument("--warm-up-s", type=float, required=True)
    parser.add_argument("--start-s", type=float, required=True)
    parser.add_argument("--stop-s", type=float, required=True)
    args = parser.parse_args()
    print(json.dumps(uvloop.run(run(args))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
