"""Benchmarks 1 and 2: pings a second that ingest accepts and Kafka acknowledges, against bare uvicorn."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from infra.identity import mint
from tests.bench.clients import http_request
from tests.bench.figures import Round, Row, number
from tests.bench.machine import busy, core_times, cpu_s
from tests.bench.post_load import write_requests
from tests.bench.processes import HOST, BenchError, Sitting, free_port

#: More than a 5 ms linger needs at these rates: both sides get as many requests in flight as they can use.
CONNECTIONS = 256
DRIVERS = 1_000
BATCH = 20
WARM_UP_S = 3.0


def ping_body(driver: int, step: int, now_ms: int, with_driver: bool = False) -> dict[str, Any]:
    """A driver app's ping: ~160 B of JSON, as phones send it."""
    ping: dict[str, Any] = {
        "ping_id": f"{driver:06x}-{step:04x}",
        "fix_time_ms": now_ms - 19_000 + step * 1_000,
        "lat": round(40.70 + driver % 100 * 0.001 + step * 1e-5, 6),
        "lon": round(-74.01 + driver // 100 * 0.001 + step * 1e-5, 6),
        "accuracy_m": 6.5,
        "heading_deg": 231.0,
        "speed_mps": 8.3,
    }
    if with_driver:
        ping["driver_id"] = f"driver-{driver}"
    return ping


def requests(sitting: Sitting, port: int, batch: int) -> list[bytes]:
    """One prepared request per driver, each with its own token: a single ping, or `batch` of them."""
    now_ms, now_s = time.time_ns() // 1_000_000, time.time()
    prepared = []
    for driver in range(DRIVERS):
        token = mint(sitting.jwt_key, "HS256", "ingest", f"driver-{driver}", "driver", now_s, 3_600)
        pings = [ping_body(driver, step, now_ms) for step in range(batch)]
        body = msgspec.json.encode(pings[0] if batch == 1 else {"pings": pings})
        prepared.append(http_request("/v1/pings", f"{HOST}:{port}", token, body))
    return prepared


def start_ingest(sitting: Sitting, kafka: str) -> tuple[subprocess.Popen[bytes], int]:
    """Create the topics and start `python -m ingest` on the server core; the process and its port."""
    port = free_port()
    environment = {"RIDESTREAM_KAFKA": kafka, "RIDESTREAM_INGEST_PORT": str(port)}
    topics = sitting.python("topics", "ingest", sitting.load_core, "topics", environment=environment)
    if topics.wait(timeout=60) != 0:
        raise BenchError(sitting.complaint(topics))
    process = sitting.python("ingest", "ingest", sitting.server_core, environment=environment)
    sitting.await_ready(process, port)
    return process, port


def start_peer(sitting: Sitting, answer: str) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    process = sitting.python(
        "bare-uvicorn", "tests.bench.peers.bare_asgi", sitting.server_core, "--port", port, "--answer", answer
    )
    sitting.await_port(process, port)
    return process, port


def measure(sitting: Sitting, server: subprocess.Popen[bytes], port: int, file: Path, seconds: float) -> dict[str, Any]:
    """Load one server after a warm-up. Rates are per second of the window; `busy` is the generator's core."""
    start_s = time.monotonic() + 1.0 + WARM_UP_S
    stop_s = start_s + seconds
    load = sitting.python(
        "post-load", "tests.bench.post_load", sitting.load_core,
        "--port", port, "--requests", file, "--connections", CONNECTIONS, "--start-s", start_s, "--stop-s", stop_s,
    )  # fmt: skip
    time.sleep(max(0.0, start_s - time.monotonic()))
    before, cpu = core_times(sitting.load_core), cpu_s(server.pid)
    server_core = core_times(sitting.server_core)
    time.sleep(max(0.0, stop_s - time.monotonic()))
    after, used = core_times(sitting.load_core), cpu_s(server.pid) - cpu
    server_busy = busy(server_core, core_times(sitting.server_core))
    result = sitting.result(load, 20)
    sitting.stop(load)
    if result["errors"] > 0.001 * max(1, result["answers"]):
        raise BenchError(f"answers were not 202: {result['statuses']}; {result['last_answer'][-300:]}")
    return {
        **result,
        "per_s": result["answers"] / seconds,
        "busy": busy(before, after),
        "server_cpu": used / seconds,
        "per_cpu_s": result["answers"] / used,
        "server_core_busy": server_busy,
    }


def detail(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """What else was seen, for docs/benchmarks.json: CPU of the servers, of the generator, and closed-loop latency."""
    kept = ("server_cpu", "per_cpu_s", "server_core_busy", "generator_cpu", "p50_ms", "p99_ms", "answers", "errors")
    return {side: {name: seen[name] for name in kept} for side, seen in (("ours", ours), ("peer", peer))}


def run(rounds: int, seconds: float, single: bool, batched: bool) -> list[Row]:
    """Rows 1 and 2 (those asked for) in one sitting: each round is ours single, peer, ours batched."""
    first = Row("1", "Ingest, one ping a POST / bare uvicorn", "pings/s", gate=0.6, moonshot=0.85)
    second = Row("2", "Ingest, 20 pings a POST / bare uvicorn, one request a ping", "pings/s", gate=8, moonshot=15)
    with Sitting() as sitting, tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            # A fresh broker each round: it keeps every record in memory.
            kafka, broker = sitting.kafka()
            ingest, port = start_ingest(sitting, kafka)
            one, many = Path(directory) / "one", Path(directory) / "many"
            write_requests(one, requests(sitting, port, 1))
            write_requests(many, requests(sitting, port, BATCH))
            ours = measure(sitting, ingest, port, one, seconds)
            peer_process, peer_port = start_peer(sitting, ours["last_answer"].partition("\r\n\r\n")[2])
            peer = measure(sitting, peer_process, peer_port, one, seconds)
            sitting.stop(peer_process)
            if single:
                first.rounds.append(
                    Round(ours["per_s"], peer["per_s"], ours["busy"], peer["busy"], True, detail(ours, peer))
                )
            if batched:
                in_batches = measure(sitting, ingest, port, many, seconds)
                if f'"accepted":{BATCH}' not in in_batches["last_answer"]:
                    raise BenchError(f"a batch was not accepted: {in_batches['last_answer'][-300:]}")
                second.rounds.append(
                    Round(
                        in_batches["per_s"] * BATCH, peer["per_s"], in_batches["busy"], peer["busy"], True,
                        detail(in_batches, peer),
                    )
                )  # fmt: skip
            sitting.stop(ingest, broker)
    rows = [row for row, wanted in ((first, single), (second, batched)) if wanted]
    for row in rows:
        row.notes.append(
            "; ".join(
                f"{side}: {number(row.typical(side, 'per_cpu_s'))} requests per CPU second of the server, which used "
                f"{row.typical(side, 'server_cpu'):.0%} of its core; generator's core "
                f"{median(each.busy_ours if side == 'ours' else each.busy_peer for each in row.rounds):.0%} busy "
                f"(generator itself {row.typical(side, 'generator_cpu'):.0%}), "
                f"{CONNECTIONS} connections, p50 {row.typical(side, 'p50_ms'):.0f} ms"
                for side in ("ours", "peer")
            )
        )
    return rows
