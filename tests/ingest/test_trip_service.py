"""Trips through ingest as a process, a real Kafka and a real Redis: acknowledged means stored, through outages."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
import redis
from kafka import KafkaConsumer, TopicPartition

from infra.local.engines import Engine, Engines
from infra.redis import connect
from ingest.admission import MALFORMED, NULL_ISLAND, TOO_OLD
from ingest.events import TRIP_EVENTS_TOPIC, partition_of
from ingest.ledger import restored_key
from ingest.rejections import rejections_of
from ingest.trip_schemas import TripIn, encode
from ingest.trips import STATES, Trip, decode_trip
from tests.ingest import wire
from tests.ingest.service import PARTITIONS, IngestService, until
from tests.ingest.trips import headers, order
from tests.ingest.wire import token

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]

DRIVER = token("d-1")
ROOT = Path(__file__).resolve().parents[2]
TRIPS = (ROOT / "docs" / "wire" / "trips.md").read_text()


class Dispatch:
    """Whoever calls the trip API of an ingest process."""

    def __init__(self, service: IngestService, redis: Engine) -> None:
        self.service, self.redis = service, redis

    def say_that_all_is_restored(self) -> None:
        """As stream's workers do once they hold their partitions."""
        with redis.Redis(port=self.redis.port) as client:
            for partition in range(PARTITIONS):
                client.set(restored_key(partition), b"1")

    def create(self, key: str | None = None, **members: object) -> httpx.Response:
        return self._post("/v1/trips", order(**members), headers(key=key))

    def move(self, trip_id: str, state: str, bearer: str = DRIVER, key: str | None = None) -> httpx.Response:
        return self._post(f"/v1/trips/{trip_id}/events", {"state": state}, headers(bearer, key))

    def reassign(self, trip_id: str, driver_id: str) -> httpx.Response:
        return self._post(f"/v1/trips/{trip_id}/reassign", {"driver_id": driver_id}, headers())

    def read(self, trip_id: str) -> httpx.Response:
        return httpx.get(f"{self.service.url}/v1/trips/{trip_id}", headers=headers(), timeout=60)

    def _post(self, path: str, body: object, fields: dict[str, str]) -> httpx.Response:
        return httpx.post(f"{self.service.url}{path}", json=body, headers=fields, timeout=60)

    def insists(self, key: str, **members: object) -> httpx.Response:
        """Create, again and again with one key, until it is answered."""
        deadline_s = time.monotonic() + 60
        while (answer := self.create(key, **members)).status_code == 503:
            assert time.monotonic() < deadline_s, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            time.sleep(0.05)
        return answer

    def stored(self) -> list[tuple[int, str, Trip]]:
        """Every record of trip.events: its partition, its key, the trip."""
        consumer = KafkaConsumer(bootstrap_servers=self.service.kafka, enable_auto_commit=False, fetch_max_wait_ms=20)
        try:
            partitions = [TopicPartition(TRIP_EVENTS_TOPIC, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            consumer.seek_to_beginning(*partitions)
            stored: list[tuple[int, str, Trip]] = []
            deadline_s = time.monotonic() + 120
            while any(consumer.position(each) < ends[each] for each in partitions):
                assert time.monotonic() < deadline_s, "Kafka does not give back what it holds"
                for records in consumer.poll(200).values():
                    stored += [(each.partition, each.key.decode(), decode_trip(each.value)) for each in records]
            return stored
        finally:
            consumer.close()


def start(service: IngestService, redis: Engine) -> Dispatch:
    service.env["RIDESTREAM_REDIS"] = f"redis://{redis.address}/0"
    service.create_topics()
    service.start()
    dispatch = Dispatch(service, redis)
    dispatch.say_that_all_is_restored()
    until(lambda: dispatch.create(trip_id="first").status_code in (201, 409), 60, "trips are taken")
    return dispatch


@pytest.fixture(scope="module")
def dispatch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatch]:
    """Ingest with a Kafka and a Redis for those tests that leave Kafka alone."""
    directory = tmp_path_factory.mktemp("trips")
    with Engines(directory) as engines:
        service = IngestService(engines.kafka.address, directory)
        yield start(service, engines.redis)
        service.process.stop()
        assert service.log_is_clean(), "no position and no token reaches a log line"


def test_every_version_is_in_kafka_when_it_is_answered_and_both_drivers_partitions_have_it(dispatch: Dispatch) -> None:
    other = next(
        f"d-{n}" for n in range(2, 99) if partition_of(f"d-{n}", PARTITIONS) != partition_of("d-1", PARTITIONS)
    )
    same = next(f"d-{n}" for n in range(2, 99) if partition_of(f"d-{n}", PARTITIONS) == partition_of("d-1", PARTITIONS))
    answers = [dispatch.create(trip_id="t-1"), dispatch.move("t-1", "ENROUTE_TO_PICKUP")]
    answers += [dispatch.reassign("t-1", other), dispatch.reassign("t-1", same)]
    assert [each.status_code for each in answers] == [201, 200, 200, 200]
    stored = [each for each in dispatch.stored() if each[2].trip_id == "t-1"]
    for version, answer in enumerate(answers, start=1):
        (trip,) = {msgspec.json.encode(each): each for _, _, each in stored if each.version == version}.values()
        assert encode(trip) == answer.content
        keys = {partition: key for partition, key, each in stored if each.version == version}
        assert set(keys) == {partition_of(driver, PARTITIONS) for driver in trip.drivers}
        assert all(partition == partition_of(key, PARTITIONS) for partition, key in keys.items())
        assert keys[partition_of(trip.driver_id, PARTITIONS)] == trip.driver_id
    assert len(stored) == 1 + 1 + 2 + 2


def test_a_request_that_a_dying_kafka_did_not_answer_is_done_once_when_it_is_sent_again(
    service: IngestService, broker: Engine, engine: Engine
) -> None:
    service.env["RIDESTREAM_ACK_TIMEOUT_S"] = "1.5"
    dispatch = start(service, engine)
    os.kill(broker.process.pid, signal.SIGSTOP)  # it takes connections, and says nothing: the middle of a crash
    assert dispatch.create("key-1", trip_id="t-1").status_code == 503
    assert dispatch.read("t-1").status_code == 503, "nobody knows"
    broker.process.kill()
    until(lambda: not dispatch.service.process.ready(), 60, "Kafka is missed")
    assert dispatch.create("key-2", trip_id="t-2").status_code == 503
    assert dispatch.move("t-1", "ENROUTE_TO_PICKUP").status_code == 503
    broker.restart()
    dispatch.service.create_topics()
    made = dispatch.insists("key-1", trip_id="t-1")
    assert (made.status_code, made.json()["version"]) == (201, 1)
    assert dispatch.create("key-1", trip_id="t-1").content == made.content
    assert dispatch.read("t-1").json() == made.json()
    (record,) = {(each.trip_id, each.version) for _, _, each in dispatch.stored()}
    assert record == ("t-1", 1)
    assert dispatch.insists("key-2", trip_id="t-2").json()["version"] == 1
    assert dispatch.move("t-1", "ENROUTE_TO_PICKUP").json()["version"] == 2


async def test_a_driver_may_be_told_what_was_rejected_without_a_position(dispatch: Dispatch) -> None:
    day_old_ms = wire.now_ms() - 90_000_000
    bad = [wire.ping(lat=0, lon=0), wire.ping(fix_time_ms=day_old_ms), wire.ping(fix_time_ms="noon"), wire.ping()]
    # These three are in no other test: Redis and ingest are those of all.
    assert dispatch.service.post(bad, token("d-6")).json()["rejected"] == 3
    fleet = [wire.ping(driver_id="d-7", fix_time_ms=day_old_ms), wire.ping(driver_id="d-8", lat="north"), wire.ping()]
    assert dispatch.service.post(fleet, token("acme", "fleet")).json()["rejected"] == 3
    with redis.Redis(port=dispatch.redis.port) as looking:
        until(
            lambda: [looking.exists(f"{{d:{name}}}:rejections") for name in ("d-6", "d-7", "d-8")] == [1, 1, 0],
            60,
            "remembered",
        )
        assert not any(str(wire.LAT)[:7].encode() in each for each in looking.lrange("{d:d-6}:rejections", 0, -1))
    async with connect(f"redis://{dispatch.redis.address}/0", timeout_s=30.0) as client:
        told = await rejections_of(client, "d-6")
    assert [each.reason for each in told] == [MALFORMED, TOO_OLD, NULL_ISLAND]
    assert [each.fix_time_ms for each in told][:2] == [None, day_old_ms]


def unknown_trips(dispatch: Dispatch) -> float:
    """How many reads were answered with 404."""
    counted = re.search(
        r'ride_trip_requests_total\{operation="read",status="404"\} (\S+)', dispatch.service.process.metrics()
    )
    return float(counted[1]) if counted else 0.0


def test_pings_are_taken_while_redis_is_away_and_trips_again_when_it_is_back(dispatch: Dispatch) -> None:
    unknown = unknown_trips(dispatch)
    dispatch.redis.process.kill()
    try:
        assert dispatch.read("first").status_code == 503
        assert dispatch.service.process.ready()
        assert dispatch.service.post([wire.ping(), wire.ping(lat=0, lon=0)]).json()["accepted"] == 1
    finally:
        dispatch.redis.restart()
    until(lambda: "being restored" in dispatch.read("first").text, 60, "an empty Redis is not believed")
    dispatch.say_that_all_is_restored()
    assert dispatch.read("first").status_code == 404
    assert dispatch.create(trip_id="first").status_code == 201
    until(lambda: unknown_trips(dispatch) == unknown + 1, 60, "counted once")


def test_the_commands_of_the_document_give_the_answers_of_the_document(dispatch: Dispatch) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true" or os.environ.get("RIDESTREAM_REQUIRE_SHARED"):
            pytest.fail("there is no curl: install it")
        pytest.skip("no curl")
    examples = re.findall(r"```sh\n(.*?)```\n\n```json\n(.*?)```", TRIPS, re.DOTALL)
    assert len(examples) == 4
    script = "\necho\n".join(command for command, _ in examples)
    script = script.replace("http://127.0.0.1:8080", dispatch.service.url)
    script = script.replace(".venv/bin/ridestream", f"{sys.executable} -m infra.cli")
    env = {**os.environ, "RIDESTREAM_JWT_KEY": wire.KEY}
    done = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    given = [json.loads(re.sub(r'at_ms": ?\d+', 'at_ms":0', line)) for line in done.stdout.splitlines()]
    assert given == [json.loads(re.sub(r'at_ms": ?\d+', 'at_ms":0', answer)) for _, answer in examples], done.stderr


def test_the_document_names_every_state_and_every_member_of_a_trip() -> None:
    for name in (*STATES, *TripIn.__struct_fields__):
        assert name in TRIPS
