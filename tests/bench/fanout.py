"""Benchmark 5: car positions delivered to riders per CPU second of the push process, against `websockets.broadcast`."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from infra.identity import mint
from tests.bench import downtown
from tests.bench.figures import Round, Row
from tests.bench.machine import busy, core_times, cpu_s
from tests.bench.processes import BenchError, Sitting, free_port

PER_CELL = (1, 10, 100)
RIDERS = 300
#: Connecting 300 riders and their first snapshots; nothing of it is counted.
WARM_UP_S = 5.0


def our_riders(sitting: Sitting, per_cell: int) -> list[dict[str, Any]]:
    """Riders with a token each, watching rings around the cell they stand in."""
    riders, now_s = [], time.time()
    for number, (lat, lon) in enumerate(downtown.riders(RIDERS, per_cell)):
        token = mint(sitting.jwt_key, "HS256", "rider", f"rider-{number}", "rider", now_s, 3_600)
        headers = {"Authorization": f"Bearer {token}", "Sec-WebSocket-Protocol": "ridestream.v1"}
        subscribe = {"type": "subscribe", "sub": "near", "lat": lat, "lon": lon, "rings": downtown.RINGS}
        riders.append({"path": "/v1/stream", "headers": headers, "hello": [json.dumps(subscribe)]})
    return riders


def peer_riders(per_cell: int) -> list[dict[str, Any]]:
    return [{"path": "/", "headers": {}, "hello": [f"{lat},{lon}"]} for lat, lon in downtown.riders(RIDERS, per_cell)]


def measure(
    sitting: Sitting, server: subprocess.Popen[bytes], port: int, riders: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """Positions per second and per CPU second of `server` in a window after the warm-up."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "riders"
        file.write_text(json.dumps(riders))
        start_s = time.monotonic() + WARM_UP_S
        stop_s = start_s + seconds
        load = sitting.python(
            "riders", "tests.bench.rider_load", sitting.load_core,
            "--port", port, "--riders", file, "--start-s", start_s, "--stop-s", stop_s,
        )  # fmt: skip
        time.sleep(max(0.0, start_s - time.monotonic()))
        before, cpu = core_times(sitting.load_core), cpu_s(server.pid)
        time.sleep(max(0.0, stop_s - time.monotonic()))
        after, used = core_times(sitting.load_core), cpu_s(server.pid) - cpu
        result = sitting.result(load, 20)
        sitting.stop(load)
    if result["lost"]:
        raise BenchError(f"{result['lost']} of {len(riders)} riders were disconnected: {result['lost_because']}")
    if not result["positions"]:
        raise BenchError("no position reached a rider")
    return {
        **result,
        "per_cpu_s": result["positions"] / used,
        "per_s": result["positions"] / seconds,
        "per_frame": result["positions"] / result["frames"],
        "bytes_per_position": result["bytes"] / result["positions"],
        "server_cpu": used / seconds,
        "busy": busy(before, after),
    }


def ours(sitting: Sitting, per_cell: int, seconds: float) -> dict[str, Any]:
    redis_url, redis_process = sitting.redis()
    port, http_port = free_port(), free_port()
    push = sitting.python(
        "push", "push", sitting.server_core,
        environment={
            "RIDESTREAM_REDIS": redis_url,
            "RIDESTREAM_PUSH_PORT": str(port),
            "RIDESTREAM_PUSH_HTTP_PORT": str(http_port),
        },
    )  # fmt: skip
    sitting.await_ready(push, http_port)
    feed = sitting.python("feed", "tests.bench.car_feed", sitting.load_core, "--redis", redis_url)
    time.sleep(1.5)
    try:
        return measure(sitting, push, port, our_riders(sitting, per_cell), seconds)
    except BenchError as error:
        raise BenchError(f"{error}; {sitting.complaint(push)}; {sitting.complaint(feed)}") from None
    finally:
        sitting.stop(feed, push, redis_process)


def peer(sitting: Sitting, per_cell: int, seconds: float) -> dict[str, Any]:
    port = free_port()
    server = sitting.python("broadcast", "tests.bench.peers.broadcast", sitting.server_core, "--port", port)
    sitting.await_port(server, port)
    try:
        return measure(sitting, server, port, peer_riders(per_cell), seconds)
    finally:
        sitting.stop(server)


def run(rounds: int, seconds: float) -> list[Row]:
    """One row for each of 1, 10 and 100 watchers a cell; the same city, cars and number of riders in all."""
    rows = []
    with Sitting() as sitting:
        for per_cell in PER_CELL:
            many = f"{per_cell} watcher{'s' if per_cell > 1 else ''} a cell"
            row = Row(f"5 ({per_cell})", f"Fan-out, {many} / websockets.broadcast", "positions/CPU-s", 2, 10)
            for _ in range(rounds):
                mine, theirs = ours(sitting, per_cell, seconds), peer(sitting, per_cell, seconds)
                row.rounds.append(
                    Round(
                        mine["per_cpu_s"], theirs["per_cpu_s"], mine["busy"], theirs["busy"], True,
                        {"ours": mine, "peer": theirs},
                    )
                )  # fmt: skip
            row.notes.append(
                "; ".join(
                    f"{side}: {row.typical(side, 'per_s'):,.0f} positions/s to {RIDERS} riders, "
                    f"{row.typical(side, 'per_frame'):.1f} a frame, {row.typical(side, 'bytes_per_position'):.0f} B "
                    f"each, server {row.typical(side, 'server_cpu'):.0%} of its core"
                    for side in ("ours", "peer")
                )
            )
            rows.append(row)
    return rows
