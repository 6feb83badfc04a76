"""Ingest as a process, on a real broker: acknowledged means stored, through outages, restarts and SIGTERM."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from infra.local.engines import Engine
from infra.local.processes import Process
from ingest.events import partition_of
from tests.ingest import wire
from tests.ingest.service import PARTITIONS, IngestService, until
from tests.ingest.wire import Connection, encoded, ping, request, token

FLEET = token("fleet-1", "fleet")

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]


def test_every_accepted_ping_is_in_kafka_once_and_in_its_drivers_partition_and_order(service: IngestService) -> None:
    service.create_topics()
    service.start()
    sent: Counter[str] = Counter()

    def drive(number: int) -> None:
        with httpx.Client(base_url=service.url, headers=wire.headers(FLEET), timeout=60) as client:
            for step in range(20):
                batch = [
                    ping(
                        ping_id=f"{number}-{step}-{one}",
                        driver_id=f"driver-{number}-{one % 3}",
                        lat=95 if one == 9 else 41.0,
                    )
                    for one in range(10)
                ]
                answer = client.post("/v1/pings", json=batch).json()
                assert (answer["accepted"], answer["rejected"]) == (9, 1)
                sent.update(each["ping_id"] for each in batch if each["lat"] < 90)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(drive, range(8)))
    stored = service.stored()
    assert Counter(each.ping_id for _, each in stored) == sent
    assert all(number == partition_of(each.driver_id, PARTITIONS) for number, each in stored)
    steps: dict[str, list[tuple[int, int]]] = {}
    for _, each in stored:
        _, step, one = map(int, each.ping_id.split("-"))
        steps.setdefault(each.driver_id, []).append((step, one))
    assert all(seen == sorted(seen) for seen in steps.values())
    assert service.counters() == {"received": 1600, "accepted": 1440, "rejected": 160, "unacknowledged": 0}


def test_a_dead_broker_means_503_never_a_false_202_and_it_recovers_alone(
    service: IngestService, broker: Engine
) -> None:
    service.env["RIDESTREAM_ACK_TIMEOUT_S"] = "1.5"
    service.create_topics()
    service.start()
    assert service.post(ping(ping_id="before")).status_code == 202
    broker.process.kill()
    answers: Counter[int] = Counter()
    stop = threading.Event()

    def keep_posting(number: int) -> None:
        batch = [ping(driver_id=f"driver-{number}-{one}") for one in range(100)]
        while not stop.is_set():
            response = service.post(batch, FLEET)
            answers[response.status_code] += 1
            if response.status_code == 503:
                assert int(response.headers["retry-after"]) >= 1
                assert response.headers["content-type"] == "application/problem+json"

    def memory_kib() -> int:
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    before_kib = memory_kib()
    with ThreadPoolExecutor(4) as pool:
        posting = [pool.submit(keep_posting, number) for number in range(4)]
        try:
            until(lambda: answers[503] >= 200, 60, "200 answers of 503")
            assert set(answers) == {503}
            assert not service.process.ready()
            assert memory_kib() - before_kib < 40_000
        finally:
            stop.set()
        for one in posting:
            one.result()
    counters = service.counters()
    assert counters["received"] == counters["accepted"] + counters["rejected"] + counters["unacknowledged"]
    assert counters["accepted"] == 1

    broker.restart()
    service.create_topics()
    until(service.process.ready, 60, "ready again")
    assert service.post(ping(ping_id="after", driver_id="driver-9"), FLEET).status_code == 202
    assert "after" in {each.ping_id for _, each in service.stored()}


def test_a_broker_that_stops_answering_means_503_and_waiting_requests_are_not_forgotten(
    service: IngestService, broker: Engine
) -> None:
    service.env["RIDESTREAM_ACK_TIMEOUT_S"] = "1.5"
    service.create_topics()
    service.start()
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            started_s = time.monotonic()
            assert service.post(ping()).status_code == 503
            # By its own timeout, and not because something else gave up: the client does after 60 s, Kafka's client
            # after 30. Ten times the setting is more than any machine is late.
            assert time.monotonic() - started_s < 15
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    until(lambda: service.post(ping(ping_id="after")).status_code == 202, 60, "accepted again")
    assert "after" in {each.ping_id for _, each in service.stored()}
    counters = service.counters()
    assert counters["received"] == counters["accepted"] + counters["rejected"] + counters["unacknowledged"]


def test_it_starts_without_a_broker_and_becomes_ready_when_one_comes(service: IngestService, broker: Engine) -> None:
    broker.process.kill()
    service.start(ready=False)
    until(lambda: b"ok" in service.process._get("/livez")[1], 60, "alive")
    response = httpx.get(f"{service.url}/readyz", timeout=60)
    assert response.status_code == 503
    assert "RIDESTREAM_KAFKA" in response.json()["detail"]
    assert service.post(ping()).status_code == 503
    broker.restart()
    until(lambda: "ridestream topics" in httpx.get(f"{service.url}/readyz", timeout=60).text, 60, "it misses the topic")
    assert service.post(ping()).status_code == 503
    service.create_topics()
    until(service.process.ready, 60, "ready")
    assert service.post(ping()).status_code == 202


def test_a_topic_with_another_partition_count_is_not_written_to(service: IngestService) -> None:
    service.create_topics()
    service.env["RIDESTREAM_PARTITIONS"] = "4"
    service.start(ready=False)
    until(lambda: "has 8 partitions, not 4" in service.process._get("/readyz")[1].decode(), 60, "it says so")
    assert service.post(ping()).status_code == 503
    refused = Process("topics", [sys.executable, "-m", "ingest", "topics"], service.process.log, service.env).start()
    assert refused.wait(60) == 2


async def test_sigterm_finishes_what_is_in_flight_and_then_ends(service: IngestService, broker: Engine) -> None:
    service.create_topics()
    service.start()
    waiting = [await Connection.to(service.port) for _ in range(10)]
    idle = await Connection.to(service.port)
    os.kill(broker.process.pid, signal.SIGSTOP)  # so that they are in flight until it has begun to stop
    try:
        for number, connection in enumerate(waiting):
            connection.writer.write(request(encoded(ping(ping_id=f"in-flight-{number}"))))
        await asyncio.to_thread(until, lambda: service.counters()["received"] == 10, 60, "ten pings wait")
        service.process.terminate()
        assert await asyncio.wait_for(idle.closed(), 60)
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    for connection in waiting:
        status, fields, body = await asyncio.wait_for(connection.response(), 60)
        assert (status, fields["connection"], json.loads(body)["accepted"]) == (202, "close", 1)
    assert await asyncio.to_thread(service.process.wait, 60) == 0
    assert len(service.stored()) == 10


def test_logs_hold_no_position_and_no_token_whatever_is_sent(service: IngestService) -> None:
    service.create_topics()
    service.start()
    bad = [ping(lat="41.157944"), ping(lat=141.157944), ping(fix_time_ms=1), ping(lon=None), ping(accuracy_m=1e9)]
    assert service.post(bad).status_code == 202
    assert service.post(bad[0]).status_code == 422
    for body in (b"{", encoded(ping()) + b"}", b"\xff", encoded(ping()).replace(b"8.5", b"NaN")):
        response = httpx.post(f"{service.url}/v1/pings", content=body, headers=wire.headers(), timeout=60)
        assert response.status_code == 400
        assert "157944" not in response.text
    httpx.get(f"{service.url}/v1/nothing?lat={wire.LAT}&token={token()}", timeout=60)
    assert service.process.stop() == 0
    assert service.process.log.read_text()
    assert service.log_is_clean()


@pytest.mark.parametrize(
    ("variable", "value", "names"),
    [
        ("RIDESTREAM_JWT_KEY", "short", "RIDESTREAM_JWT_KEY"),
        ("RIDESTREAM_JWT_KEY", "", "RIDESTREAM_JWT_KEY"),
        ("RIDESTREAM_JWT_ALGORITHM", "RS256", "RIDESTREAM_JWT_KEY"),
        ("RIDESTREAM_JWT_ALGORITHM", "none", "RIDESTREAM_JWT_ALGORITHM"),
        ("RIDESTREAM_CLOCK", "tomorrow", "RIDESTREAM_CLOCK"),
        ("RIDESTREAM_PARTITIONS", "0", "RIDESTREAM_PARTITIONS"),
        ("RIDESTREAM_INGEST_HOST", "192.0.2.1", "RIDESTREAM_INGEST_HOST"),
    ],
)
def test_a_misconfiguration_is_one_line_and_exit_code_2(variable: str, value: str, names: str) -> None:
    env = {**os.environ, "RIDESTREAM_JWT_KEY": wire.KEY, variable: value}
    if variable == "RIDESTREAM_JWT_ALGORITHM":
        env["RIDESTREAM_JWT_KEY"] = "-----BEGIN PUBLIC KEY-----\nnot one\n-----END PUBLIC KEY-----"
    done = subprocess.run([sys.executable, "-m", "ingest"], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ridestream ingest: ")
    assert names in lines[0]


def test_topics_without_a_broker_is_one_line_and_not_a_misconfiguration() -> None:
    env = {**os.environ, "RIDESTREAM_KAFKA": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-m", "ingest", "topics"], env=env, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "127.0.0.1:1" in done.stderr
