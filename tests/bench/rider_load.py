"""`python -m tests.bench.rider_load`: many riders on raw sockets that count the car positions delivered in a window."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from pathlib import Path

import uvloop

from tests.bench.clients import RiderSocket

CAR = b'"driver_id"'
SNAPSHOT = b'{"type":"snapshot"'
CONNECT_TOGETHER = 50


async def ride(
    host: str, port: int, riders: list[dict[str, object]], start_s: float, stop_s: float
) -> dict[str, object]:
    """Each rider is {path, headers, hello}. Counts positions (not snapshots), frames and bytes in the window."""
    loop = asyncio.get_running_loop()
    window = {"positions": 0, "frames": 0, "bytes": 0}
    seen = {"positions": 0, "snapshots": 0}

    def on_message(rider: RiderSocket, message: bytes) -> None:
        if message.startswith(SNAPSHOT):
            seen["snapshots"] += 1
            return
        cars = message.count(CAR)
        if cars:
            seen["positions"] += cars
            if start_s <= time.monotonic() < stop_s:
                window["positions"] += cars
                window["frames"] += 1
                window["bytes"] += len(message)

    sockets: list[RiderSocket] = []
    for first in range(0, len(riders), CONNECT_TOGETHER):
        batch = riders[first : first + CONNECT_TOGETHER]
        opened = await asyncio.gather(
            *(
                loop.create_connection(
                    lambda rider=rider: RiderSocket(  # type: ignore[misc]
                        f"{host}:{port}",
                        str(rider["path"]),
                        dict(rider["headers"]),  # type: ignore[call-overload]
                        [text.encode() for text in rider["hello"]],  # type: ignore[attr-defined]
                        on_message,
                    ),
                    host,
                    port,
                )
                for rider in batch
            )
        )
        sockets += [rider for _, rider in opened]
    if time.monotonic() > start_s:
        raise SystemExit("riders were not connected before the window opened")
    await asyncio.sleep(start_s - time.monotonic())
    used = time.process_time()
    await asyncio.sleep(max(0.0, stop_s - time.monotonic()))
    used = time.process_time() - used
    lost = [rider.closed_because for rider in sockets if rider.closed_because]
    return {
        **window,
        "seconds": stop_s - start_s,
        "snapshots": seen["snapshots"],
        "generator_cpu": used / (stop_s - start_s),
        "lost": len(lost),
        "lost_because": lost[:1],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--riders", type=Path, required=True, help="JSON list of {path, headers, hello}")
    parser.add_argument("--start-s", type=float, required=True)
    parser.add_argument("--stop-s", type=float, required=True)
    args = parser.parse_args()
    riders = json.loads(args.riders.read_text())
    gc.freeze()
    print(json.dumps(uvloop.run(ride(args.host, args.port, riders, args.start_s, args.stop_s))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
