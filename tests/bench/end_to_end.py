"""Benchmark 8: delay from a ping's scheduled POST to a rider's frame with it, against the null pipeline."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from infra.identity import mint
from infra.settings import DEFAULT_PARTITIONS
from stream.settings import StreamSettings
from tests.bench import prefill
from tests.bench.figures import Round, Row
from tests.bench.ingest_rates import start_ingest
from tests.bench.machine import busy, core_times, cpu_s
from tests.bench.peers.null_pipeline import TOPIC
from tests.bench.processes import BenchError, Sitting, free_port
from tests.bench.trip_load import DRIVERS, PLACES, RADIUS_M, place_of

#: Rates of the search for saturation, pings/s; it then halves the last step once.
FIRST_RATE, LEAST_RATE, GROWTH, SEARCH_S = 1_000.0, 100.0, 1.4, 4.0
#: Saturated: fewer than this share of the pings was seen, or the 99th percentile is beyond this.
SEEN_SHARE, SATURATED_P99_MS = 0.99, 250.0
LOAD_SHARE = 0.70
WARM_UP_S = 4.0
PROCESSES = ("ingest", "stream", "push", "kafka", "redis")
CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A running pipeline: ports of its two ends, what its riders say, and its processes by name."""

    name: str
    ingest_port: int
    push_port: int
    with_place: bool
    riders: list[dict[str, Any]]
    processes: dict[str, subprocess.Popen[bytes]]


def start_ours(sitting: Sitting) -> Pipeline:
    """The engines on the load core; ingest, one stream worker and push on the server core."""
    kafka, broker = sitting.kafka()
    redis_url, store = sitting.redis()
    ingest, ingest_port = start_ingest(sitting, kafka)
    metrics_port, push_port, http_port = free_port(), free_port(), free_port()
    environment = {
        "RIDESTREAM_KAFKA": kafka,
        "RIDESTREAM_REDIS": redis_url,
        "RIDESTREAM_STREAM_METRICS_PORT": str(metrics_port),
        "RIDESTREAM_PUSH_PORT": str(push_port),
        "RIDESTREAM_PUSH_HTTP_PORT": str(http_port),
    }
    stream = sitting.python("stream", "stream", sitting.server_core, "worker", environment=environment)
    push = sitting.python("push", "push", sitting.server_core, environment=environment)
    sitting.await_ready(push, http_port)
    sitting.await_ready(stream, metrics_port)
    token = mint(sitting.jwt_key, "HS256", "rider", "bench-rider", "rider", time.time(), 3_600)
    headers = {"Authorization": f"Bearer {token}", "Sec-WebSocket-Protocol": "ridestream.v1"}
    riders = []
    for place in range(PLACES):
        lat, lon = place_of(place)
        subscribe = {"type": "subscribe", "sub": "near", "lat": lat, "lon": lon, "radius_m": RADIUS_M, "limit": 500}
        riders.append({"path": "/v1/stream", "headers": headers, "hello": [json.dumps(subscribe)]})
    processes = {"ingest": ingest, "stream": stream, "push": push, "kafka": broker, "redis": store}
    return Pipeline("ours", ingest_port, push_port, False, riders, processes)


def start_null(sitting: Sitting) -> Pipeline:
    """The same engines and pinning, three null processes."""
    kafka, broker = sitting.kafka()
    redis_url, store = sitting.redis()
    prefill.create_topic(kafka, TOPIC, DEFAULT_PARTITIONS)
    ingest_port, push_port = free_port(), free_port()
    module, core = "tests.bench.peers.null_pipeline", sitting.server_core
    ingest = sitting.python("null-ingest", module, core, "ingest", "--port", ingest_port, "--bootstrap", kafka)
    push = sitting.python("null-push", module, core, "push", "--port", push_port, "--redis", redis_url)
    wait_ms = StreamSettings().fetch_max_wait_ms
    relay = sitting.python(
        "null-relay", module, core, "relay", "--bootstrap", kafka, "--redis", redis_url, "--fetch-max-wait-ms", wait_ms
    )
    sitting.await_port(ingest, ingest_port)
    sitting.await_port(push, push_port)
    assert relay.stdout is not None
    if relay.stdout.readline().strip() != b"relaying":
        raise BenchError(sitting.complaint(relay))
    riders = [{"path": "/", "headers": {}, "hello": [str(place)]} for place in range(PLACES)]
    processes = {"ingest": ingest, "stream": relay, "push": push, "kafka": broker, "redis": store}
    return Pipeline("null", ingest_port, push_port, True, riders, processes)


def measure(sitting: Sitting, pipeline: Pipeline, rate: float, seconds: float, tokens: Path) -> dict[str, Any]:
    """Delays at one rate, CPU of every process, and how busy both cores were."""
    with tempfile.TemporaryDirectory() as directory:
        riders = Path(directory) / "riders"
        riders.write_text(json.dumps(pipeline.riders))
        start_s = time.monotonic() + CONNECT_S + WARM_UP_S
        stop_s = start_s + seconds
        load = sitting.python(
            "trips", "tests.bench.trip_load", sitting.load_core, "--ingest-port", pipeline.ingest_port,
            "--push-port", pipeline.push_port, "--rate", rate, "--tokens", tokens, "--riders", riders,
            "--warm-up-s", WARM_UP_S, "--start-s", start_s, "--stop-s", stop_s,
            *(["--with-place"] if pipeline.with_place else []),
        )  # fmt: skip
        time.sleep(max(0.0, start_s - time.monotonic()))
        cores = [core_times(core) for core in (sitting.server_core, sitting.load_core)]
        cpu = {name: cpu_s(process.pid) for name, process in pipeline.processes.items()}
        time.sleep(max(0.0, stop_s - time.monotonic()))
        busy_server, busy_load = (
            busy(before, core_times(core))
            for before, core in zip(cores, (sitting.server_core, sitting.load_core), strict=True)
        )
        used = {name: (cpu_s(process.pid) - cpu[name]) / seconds for name, process in pipeline.processes.items()}
        result = sitting.result(load, 20)
        sitting.stop(load)
    if result["riders_lost"]:
        raise BenchError(f"a rider of {pipeline.name} was disconnected: {result['riders_lost'][0]}")
    return {**result, "cpu": used, "server_core_busy": busy_server, "busy": busy_load}


def holds(result: dict[str, Any]) -> bool:
    """Whether the pipeline kept up: nearly every ping was accepted and seen, and none waited in a growing queue."""
    refused = sum(count for status, count in result["statuses"].items() if status != "202")
    p99_ms = result["percentiles_ms"]["99"]
    return not refused and result["seen"] >= SEEN_SHARE * result["posted"] and (p99_ms or 1e9) <= SATURATED_P99_MS


def saturation(sitting: Sitting, pipeline: Pipeline, tokens: Path, report: list[str]) -> float:
    """The highest rate of a short search that our pipeline holds."""
    rate, held = FIRST_RATE, 0.0
    while rate < 20_000:
        result = measure(sitting, pipeline, rate, SEARCH_S, tokens)
        report.append(f"{rate:.0f}/s p99 {result['percentiles_ms']['99']} ms")
        if holds(result):
            held, rate = rate, rate * GROWTH
        elif held:
            break
        elif rate > LEAST_RATE:
            rate /= 2
        else:
            raise BenchError(f"our pipeline does not hold {LEAST_RATE:.0f} pings/s: {'; '.join(report)}")
    middle = (held + rate) / 2
    result = measure(sitting, pipeline, middle, SEARCH_S, tokens)
    report.append(f"{middle:.0f}/s p99 {result['percentiles_ms']['99']} ms")
    return middle if holds(result) else held


def run(rounds: int, seconds: float) -> list[Row]:
    """Rows 8 p50 and 8 p99: saturation of ours first, then rounds of ours and null at 70 % of it."""
    p50 = Row("8 p50", "End to end, POST to rider's frame, median / null pipeline", "ms", 2.0, 1.3, False)
    p99 = Row("8 p99", "End to end, 99th percentile / null pipeline", "ms", 3.0, 1.5, False)
    with Sitting() as sitting, tempfile.TemporaryDirectory() as directory:
        tokens = Path(directory) / "tokens"
        now_s = time.time()
        tokens.write_text(
            json.dumps(
                [
                    mint(sitting.jwt_key, "HS256", "ingest", f"driver-{driver:05d}", "driver", now_s, 7_200)
                    for driver in range(DRIVERS)
                ]
            )
        )
        steps: list[str] = []
        pipeline = start_ours(sitting)
        try:
            top = saturation(sitting, pipeline, tokens, steps)
        except BenchError as error:
            raise BenchError(
                f"{error}; " + "; ".join(sitting.complaint(each) for each in pipeline.processes.values())
            ) from None
        finally:
            sitting.stop_all()
        rate = LOAD_SHARE * top
        for _ in range(rounds):
            sides = []
            for start in (start_ours, start_null):
                pipeline = start(sitting)
                sides.append(measure(sitting, pipeline, rate, seconds, tokens))
                sitting.stop_all()
            mine, null = sides
            for row, share in ((p50, "50"), (p99, "99")):
                row.rounds.append(
                    Round(
                        mine["percentiles_ms"][share] or float("inf"), null["percentiles_ms"][share] or float("inf"),
                        mine["busy"], null["busy"], True, {"ours": mine, "peer": null},
                    )
                )  # fmt: skip
    searched = f"{rate:,.0f} pings/s, 70 % of {top:,.0f}/s, where ours saturates (search: {', '.join(steps)})"
    p50.notes.append(searched)
    for side in ("ours", "peer"):
        cpu = {name: median(each.detail[side]["cpu"][name] for each in p50.rounds) for name in PROCESSES}
        p50.notes.append(
            f"{side}: server core {p50.typical(side, 'server_core_busy'):.0%} busy "
            f"({', '.join(f'{name} {cpu[name]:.0%}' for name in PROCESSES[:3])}), generator's core "
            f"{p50.typical(side, 'busy'):.0%} ({', '.join(f'{name} {cpu[name]:.0%}' for name in PROCESSES[3:])}, "
            f"generator {p50.typical(side, 'generator_cpu'):.0%})"
        )
        middle = sorted(p99.rounds, key=lambda each: each.ours if side == "ours" else each.peer)[len(p99.rounds) // 2]
        steps_ms = middle.detail[side]["percentiles_ms"]
        p99.notes.append(f"{side}, ms at each percentile: " + ", ".join(f"{at}: {ms}" for at, ms in steps_ms.items()))
    return [p50, p99]
