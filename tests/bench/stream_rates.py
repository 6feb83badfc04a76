"""Benchmarks 3 and 3b: pings a second that one worker on one core takes from Kafka and has indexed in Redis."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from infra.settings import DEFAULT_PARTITIONS as PARTITIONS
from stream.records import meta_key
from stream.settings import StreamSettings
from tests.bench import prefill
from tests.bench.figures import Round, Row, number
from tests.bench.machine import busy, core_times, cpu_s
from tests.bench.peers.bare_loop import APPLIED_KEY
from tests.bench.processes import BenchError, Sitting, free_port

#: Starting, joining the group and the first fetches are warm-up: the window opens when this share is indexed.
WARM_UP_SHARE = 0.15
DRAIN_TIMEOUT_S = 90.0
#: Backlogs in pings per second of wanted window, from what each side was seen to do; a longer window is fine.
OURS_PER_S, BARE_PER_S, FAUST_PER_S = 60_000, 50_000, 8_000


@dataclass(frozen=True, slots=True)
class Drain:
    """One worker's way through its backlog: rates inside the window, and how busy it and the engines were."""

    per_s: float
    per_cpu_s: float
    worker_cpu: float
    engines_busy: float
    kafka_cpu: float
    redis_cpu: float
    seconds: float

    def as_detail(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in self.__slots__}


class Engines:
    """Kafka and Redis on the load core, filled once: their memory is the backlog of every round."""

    def __init__(self, sitting: Sitting, framed: int, single: int) -> None:
        self.sitting = sitting
        self.kafka, self.kafka_process = sitting.kafka()
        self.redis_url, self.redis_process = sitting.redis()
        self.client = redis.Redis.from_url(self.redis_url)
        frames = prefill.pings_of(max(framed, single), PARTITIONS)
        enough, held = 0, 0
        while held < framed:
            held += len(frames[enough][1])
            enough += 1
        self.framed, self.single = held, single
        create = sitting.python(
            "topics", "ingest", sitting.load_core, "topics", environment={"RIDESTREAM_KAFKA": self.kafka}
        )
        if create.wait(timeout=60) != 0:
            raise BenchError(sitting.complaint(create))
        prefill.fill_frames(self.kafka, PARTITIONS, frames[:enough])
        prefill.fill_singles(self.kafka, PARTITIONS, frames, single)


def drain(engines: Engines, process: subprocess.Popen[bytes], total: int, applied: Callable[[], int]) -> Drain:
    """Follow `applied` until `total` and compute the rates after the warm-up share. Raises BenchError on a stall."""
    first: tuple[float, int, float, Any, float, float] | None = None
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    pids = process.pid, engines.kafka_process.pid, engines.redis_process.pid
    core = engines.sitting.load_core
    while True:
        count = applied()
        now = time.monotonic()
        if first is None and count >= WARM_UP_SHARE * total:
            first = (now, count, cpu_s(pids[0]), core_times(core), cpu_s(pids[1]), cpu_s(pids[2]))
        if count >= total and first is not None:
            break
        if now > deadline or process.poll() is not None:
            raise BenchError(f"indexed {count} of {total} pings, then no more; {engines.sitting.complaint(process)}")
        time.sleep(0.02)
    seconds, worker = now - first[0], cpu_s(pids[0]) - first[2]
    return Drain(
        per_s=(count - first[1]) / seconds,
        per_cpu_s=(count - first[1]) / worker,
        worker_cpu=worker / seconds,
        engines_busy=busy(first[3], core_times(core)),
        kafka_cpu=(cpu_s(pids[1]) - first[4]) / seconds,
        redis_cpu=(cpu_s(pids[2]) - first[5]) / seconds,
        seconds=seconds,
    )


def ours(engines: Engines, group: str) -> Drain:
    """One `python -m stream worker` on the server core, from an empty index through the whole backlog of frames."""
    engines.client.flushall()
    worker = engines.sitting.python(
        "stream", "stream", engines.sitting.server_core, "worker",
        environment={
            "RIDESTREAM_KAFKA": engines.kafka,
            "RIDESTREAM_REDIS": engines.redis_url,
            "RIDESTREAM_CONSUMER_GROUP": group,
            "RIDESTREAM_STREAM_METRICS_PORT": str(free_port()),
            # The backlog was written minutes ago: its drivers must not count as gone.
            "RIDESTREAM_STALE_AFTER_MS": "21600000",
            "RIDESTREAM_GONE_AFTER_MS": "43200000",
        },
    )  # fmt: skip
    try:
        return drain(engines, worker, engines.framed, lambda: verdicts(engines.client))
    finally:
        engines.sitting.stop(worker)


def verdicts(client: redis.Redis) -> int:
    """Pings the workers have given any verdict and written, from the partition records in Redis."""
    pipeline = client.pipeline(transaction=False)
    for partition in range(PARTITIONS):
        pipeline.hgetall(meta_key(partition))
    return sum(
        int(count)
        for meta in pipeline.execute()
        for name, count in meta.items()
        if name.startswith(b"total:") and name != b"total:rejected_records"
    )


def bare_loop(engines: Engines, group: str) -> Drain:
    engines.client.flushall()
    worker = engines.sitting.python(
        "bare-loop", "tests.bench.peers.bare_loop", engines.sitting.server_core,
        "--bootstrap", engines.kafka, "--topic", prefill.SINGLE_TOPIC, "--group", group,
        "--redis", engines.redis_url, "--fetch-max-wait-ms", StreamSettings().fetch_max_wait_ms,
    )  # fmt: skip
    try:
        return drain(engines, worker, engines.single, lambda: int(engines.client.get(APPLIED_KEY) or 0))
    finally:
        engines.sitting.stop(worker)


def stock_faust(engines: Engines, group: str, total: int) -> Drain:
    engines.client.flushall()
    with tempfile.TemporaryDirectory() as directory:
        worker = engines.sitting.python(
            "stock-faust", "tests.bench.peers.stock_faust", engines.sitting.server_core,
            "--bootstrap", engines.kafka, "--topic", prefill.SINGLE_TOPIC, "--group", group,
            "--redis", engines.redis_url, "--partitions", PARTITIONS, "--directory", directory,
        )  # fmt: skip
        try:
            return drain(engines, worker, total, lambda: int(engines.client.get(APPLIED_KEY) or 0))
        finally:
            engines.sitting.stop(worker)


def run(rounds: int, seconds: float, loop: bool, faust: bool) -> list[Row]:
    """Rows 3 and 3b (those asked for) in one sitting: each round is ours, bare loop, stock Faust."""
    third = Row(
        "3", "Stream, pings indexed by one worker on one core / bare aiokafka + redis-py loop", "pings/s", 1.0, 4
    )
    beside = Row("3b", "Stream, the same / stock Faust, one ping a record", "pings/s", 5, 20)
    framed, single = int(seconds * OURS_PER_S), int(seconds * BARE_PER_S)
    faust_total = min(single, int(seconds * FAUST_PER_S))
    with Sitting() as sitting:
        engines = Engines(sitting, framed, single)
        for turn in range(1, rounds + 1):
            mine = ours(engines, f"ours-{turn}")
            if loop:
                peer = bare_loop(engines, f"bare-{turn}")
                third.rounds.append(round_of(mine, peer))
            if faust:
                peer = stock_faust(engines, f"faust-{turn}", faust_total // 1_000 * 1_000)
                beside.rounds.append(round_of(mine, peer))
    rows = [row for row, wanted in ((third, loop), (beside, faust)) if wanted]
    for row in rows:
        row.notes.append(
            "; ".join(
                f"{side}: {number(row.typical(side, 'per_cpu_s'))} pings per CPU second of the worker, which used "
                f"{row.typical(side, 'worker_cpu'):.0%} of its core, Kafka {row.typical(side, 'kafka_cpu'):.0%} and "
                f"Redis {row.typical(side, 'redis_cpu'):.0%} of the other"
                for side in ("ours", "peer")
            )
        )
    return rows


def round_of(mine: Drain, peer: Drain) -> Round:
    return Round(
        mine.per_s, peer.per_s, mine.engines_busy, peer.engines_busy, False,
        {"ours": mine.as_detail(), "peer": peer.as_detail()},
    )  # fmt: skip
