"""Apache Kafka 4 as an engine: one KRaft node on loopback, in a directory of its own, from jars that Maven resolved."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.local.engines import (
    HOST,
    READY_WITHIN_S,
    EngineKind,
    EngineMissing,
    free_port,
    kafka_answers,
    port_is_free,
)
from infra.local.processes import CannotRun, Process

POM = Path(__file__).resolve().parents[1] / "kafka" / "pom.xml"
CLASSPATH = POM.parent / "target" / "classpath"
#: The first resolution downloads ~45 MB.
RESOLVE_TIMEOUT_S = 600.0
#: Formatting the log directory starts a JVM of its own; on a busy machine that takes seconds.
FORMAT_TIMEOUT_S = 120.0
#: Compiling little keeps a short-lived broker out of the way of what it is there for; serial GC needs no more threads.
JVM_OPTIONS = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
#: Any 16 bytes in URL-safe base64; there is only ever this one cluster.
CLUSTER_ID = "cmlkZXN0cmVhbS1sb2NhbA"

LOG4J = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <Console name="stderr" target="SYSTEM_ERR"><PatternLayout pattern="%d{ISO8601} %p %c %m%n"/></Console>
  </Appenders>
  <Loggers><Root level="ERROR"><AppenderRef ref="stderr"/></Root></Loggers>
</Configuration>
"""


def java() -> str:
    """The `java` to run: that of JAVA_HOME, else of PATH. Raises EngineMissing."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(str(Path(home) / "bin" / "java")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise EngineMissing("Apache Kafka needs Java 17 or newer; install a JRE, or use the embedded broker")
    return found


def resolve_classpath() -> str:
    """The server's class path, fetched by Maven unless that was done for this pom.xml. Raises EngineMissing."""
    if CLASSPATH.exists() and CLASSPATH.stat().st_mtime >= POM.stat().st_mtime:
        resolved = CLASSPATH.read_text().strip()
        if all(Path(jar).exists() for jar in resolved.split(os.pathsep)):
            return resolved
    maven = shutil.which("mvn")
    if maven is None:
        raise EngineMissing(f"Apache Kafka's jars are not fetched and there is no `mvn` to fetch {POM.name} with")
    command = [maven, "-B", "-q", "-f", str(POM), "dependency:build-classpath", f"-Dmdep.outputFile={CLASSPATH}"]
    try:
        subprocess.run(  # noqa: S603 - our own command line, no shell
            command, check=True, capture_output=True, text=True, timeout=RESOLVE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise EngineMissing(f"Maven did not fetch Apache Kafka's jars within {RESOLVE_TIMEOUT_S:g} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stdout + error.stderr).splitlines() if line.strip()] or ["no output"]
        raise EngineMissing(f"Maven could not fetch Apache Kafka's jars: {lines[0]}") from None
    return CLASSPATH.read_text().strip()


def server_properties(log_dir: Path, port: int, controller_port: int) -> str:
    """Settings of a broker and controller in one process, for one machine: one replica of everything, no waiting."""
    return "\n".join(
        f"{name}={value}"
        for name, value in {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": log_dir,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # Consumers of one machine join at once; waiting for others only delays the first ping.
            "group.initial.rebalance.delay.ms": 0,
            # Topics are created by `ridestream topics` with the right number of partitions, or not at all.
            "auto.create.topics.enable": "false",
        }.items()
    )


def apache_kafka(home: Path) -> EngineKind:
    """The engine, with its log and settings under `home`. Its command resolves, formats, and raises EngineMissing."""
    return EngineKind("kafka", lambda port: _prepare(home / str(port), port), kafka_answers)


def _prepare(home: Path, port: int) -> list[str]:
    home.mkdir(parents=True, exist_ok=True)
    properties, log4j = home / "server.properties", home / "log4j2.xml"
    properties.write_text(server_properties(home / "log", port, free_port()))
    log4j.write_text(LOG4J)
    jvm = [java(), *JVM_OPTIONS, f"-Dlog4j2.configurationFile={log4j}", "-cp", resolve_classpath()]
    formatting = [*jvm, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
    formatting += ["--cluster-id", CLUSTER_ID, "--config", str(properties)]
    try:
        subprocess.run(  # noqa: S603 - our own command line, no shell
            formatting, check=True, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or "").strip().splitlines() or ["no output"]
        raise EngineMissing(f"Apache Kafka could not format its log directory: {said[-1]}") from None
    return [*jvm, "kafka.Kafka", str(properties)]


def main() -> int:
    """Run a broker until it is interrupted, in a directory that goes with it."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.apache_kafka", description=main.__doc__)
    parser.add_argument("--port", type=int, default=9092, help="port to listen on (default 9092)")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars, and say which version they are")
    arguments = parser.parse_args()
    try:
        if arguments.fetch:
            java()
            jars = [Path(jar).name for jar in resolve_classpath().split(os.pathsep)]
            print("fetched", *(jar for jar in jars if jar.startswith("kafka_")))
            return 0
        if not port_is_free(arguments.port):
            raise CannotRun(f"port {arguments.port} is taken; stop what listens there, or give another with --port")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
        with tempfile.TemporaryDirectory(prefix="ridestream-kafka-") as home:
            kind = apache_kafka(Path(home))
            with Process(kind.name, kind.command(arguments.port), Path(home) / "kafka.log") as kafka:
                kafka.wait_until(lambda: kind.answers(HOST, arguments.port), READY_WITHIN_S)
                print(f"Apache Kafka listens on {HOST}:{arguments.port}; Ctrl-C ends it", flush=True)
                kafka.wait(math.inf)
                print(f"ridestream kafka: {kafka.epitaph()}", file=sys.stderr)
                return 1
    except CannotRun as error:
        print(f"ridestream kafka: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
