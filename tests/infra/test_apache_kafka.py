"""Apache Kafka as an engine: what it is told, what is said when it cannot be had, and that it takes our topics."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.kafka import Topic, create_topics
from infra.local import apache_kafka
from infra.local.engines import Engine, EngineMissing
from tests.pipeline.engines import APACHE, skip_or_fail_without_apache


def test_the_broker_listens_on_loopback_only(tmp_path: Path) -> None:
    properties = dict(line.split("=", 1) for line in apache_kafka.server_properties(tmp_path, 1111, 2222).splitlines())
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:1111,CONTROLLER://127.0.0.1:2222"
    assert properties["log.dirs"] == str(tmp_path)


def test_a_machine_without_java_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(EngineMissing, match="needs Java 17"):
        apache_kafka.apache_kafka(tmp_path).command(1111)


def test_a_machine_without_maven_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apache_kafka, "CLASSPATH", tmp_path / "classpath")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="no `mvn`"):
        apache_kafka.resolve_classpath()


def test_a_busy_port_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        monkeypatch.setattr("sys.argv", ["apache_kafka", "--port", str(busy.getsockname()[1])])
        assert apache_kafka.main() == 2
    assert capsys.readouterr().err.startswith("ridestream kafka: port ")


@pytest.mark.apache
@pytest.mark.timeout(400)
@pytest.mark.pipeline
def test_apache_kafka_starts_takes_our_topics_and_keeps_them_over_a_kill(tmp_path: Path) -> None:
    skip_or_fail_without_apache()
    topics = [Topic("driver.pings", 8, config={"retention.ms": "3600000"})]
    kafka = Engine.start(APACHE.kafka(tmp_path), tmp_path)
    try:
        assert create_topics(kafka.address, topics, timeout_s=90) == ["driver.pings"]
        kafka.process.kill()
        kafka.restart()
        assert create_topics(kafka.address, topics, timeout_s=90) == []
    finally:
        kafka.process.stop()
