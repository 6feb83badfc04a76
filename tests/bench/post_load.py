"""`python -m tests.bench.post_load`: keep C connections busy with prepared requests and count answers in a window.

Throughput only: each connection sends its next request when the answer is there, so the server is saturated.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from itertools import cycle
from pathlib import Path

import uvloop

from tests.bench.clients import Poster


async def load(
    host: str, port: int, requests: list[bytes], connections: int, start_s: float, stop_s: float
) -> dict[str, object]:
    """Counts between `start_s` and `stop_s` (monotonic seconds); load begins at once, so the time before is warm-up."""
    loop = asyncio.get_running_loop()
    counts = {"answers": 0, "errors": 0}
    prepared = cycle(requests)
    running, statuses = True, dict[int, int]()
    latencies: list[float] = []

    def on_answer(poster: Poster, status: int) -> None:
        now = time.monotonic()
        if start_s <= now < stop_s:
            if status in (200, 202):
                counts["answers"] += 1
                latencies.append(now - poster.sent_for)
            else:
                counts["errors"] += 1
            statuses[status] = statuses.get(status, 0) + 1
        if running and status:
            poster.sent_for = now
            poster.post(next(prepared))

    posters = []
    for _ in range(connections):
        _, poster = await loop.create_connection(lambda: Poster(on_answer), host, port)
        poster.sent_for = time.monotonic()
        poster.post(next(prepared))
        posters.append(poster)
    await asyncio.sleep(max(0.0, start_s - time.monotonic()))
    used = time.process_time()
    await asyncio.sleep(max(0.0, stop_s - time.monotonic()))
    used = time.process_time() - used
    running = False
    latencies.sort()
    answer = posters[0].last_answer
    for poster in posters:
        poster.close()
    return {
        **counts,
        "statuses": statuses,
        "seconds": stop_s - start_s,
        "generator_cpu": used / (stop_s - start_s),
        "p50_ms": 1e3 * latencies[len(latencies) // 2] if latencies else None,
        "p99_ms": 1e3 * latencies[len(latencies) * 99 // 100] if latencies else None,
        "last_answer": answer.decode(errors="replace"),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=Path, required=True, help="length-prefixed requests")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--start-s", type=float, required=True)
    parser.add_argument("--stop-s", type=float, required=True)
    args = parser.parse_args()
    requests = read_requests(args.requests)
    gc.freeze()
    result = uvloop.run(load(args.host, args.port, requests, args.connections, args.start_s, args.stop_s))
    print(json.dumps(result), flush=True)
    os._exit(0)


def write_requests(path: Path, requests: list[bytes]) -> None:
    """Requests as 4-byte big-endian length and bytes, so that the generator need not build any."""
    path.write_bytes(b"".join(len(request).to_bytes(4, "big") + request for request in requests))


def read_requests(path: Path) -> list[bytes]:
    data, position, requests = path.read_bytes(), 0, []
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        requests.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return requests


if __name__ == "__main__":
    main()
