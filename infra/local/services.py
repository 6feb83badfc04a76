"""Start ridestream's services as processes, by name: `python -m <module>`, ready when their /readyz says so."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.local.engines import HOST, free_port
from infra.local.processes import Process

#: A worker joins its consumer group in about 7 s (Tansu, rebalance_timeout_s=3); a busy machine needs longer.
READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class ServiceKind:
    """What to run, and the variables of its ports with their defaults; the `health` one serves /readyz.

    The defaults repeat those of the service's own settings, which infra may not import; a test compares them.
    """

    name: str
    arguments: tuple[str, ...]
    ports: Mapping[str, int]
    health: str


INGEST = ServiceKind("ingest", ("ingest",), {"RIDESTREAM_INGEST_PORT": 8080}, "RIDESTREAM_INGEST_PORT")
STREAM = ServiceKind(
    "stream", ("stream", "worker"), {"RIDESTREAM_STREAM_METRICS_PORT": 8090}, "RIDESTREAM_STREAM_METRICS_PORT"
)
PUSH = ServiceKind(
    "push",
    ("push",),
    {"RIDESTREAM_PUSH_PORT": 8081, "RIDESTREAM_PUSH_HTTP_PORT": 8082},
    "RIDESTREAM_PUSH_HTTP_PORT",
)
SERVICES = (INGEST, STREAM, PUSH)


def free_ports(*kinds: ServiceKind) -> dict[str, str]:
    """RIDESTREAM_*_PORT variables with a free port for each port of these services: the environment of a test."""
    ports: dict[str, str] = {}
    for kind in kinds or SERVICES:
        for variable in kind.ports:
            port = free_port()
            while str(port) in ports.values():
                port = free_port()
            ports[variable] = str(port)
    return ports


class Service(Process):
    """One service process. `env` must hold what its settings need: engines, ports, RIDESTREAM_JWT_KEY.

    >>> with Service(INGEST, env, logs) as ingest:      # doctest: +SKIP
    ...     ingest.wait_ready()
    ...     ingest.kill()                               # kill -9; `start()` starts it again on the same ports
    """

    def __init__(
        self, kind: ServiceKind, env: Mapping[str, str], log_dir: Path, name: str | None = None, grace_s: float = 10.0
    ) -> None:
        """`name` (default: the service's) names the log file, so that two workers write two."""
        super().__init__(
            name or kind.name,
            [sys.executable, "-m", *kind.arguments],
            log_dir / f"{name or kind.name}.log",
            env,
            grace_s,
        )
        self.kind = kind

    def port(self, variable: str) -> int:
        """The port it was given by RIDESTREAM_*_PORT `variable`, or its default."""
        return int(self.env.get(variable, self.kind.ports[variable]))

    @property
    def health_url(self) -> str:
        """http://127.0.0.1:port of /livez, /readyz and /metrics."""
        return f"http://{HOST}:{self.port(self.kind.health)}"

    def ready(self) -> bool:
        """Whether /readyz answers 200 now."""
        return self._get("/readyz")[0] == 200

    def metrics(self) -> str:
        """The text of /metrics, '' when it does not answer."""
        status, body = self._get("/metrics")
        return body.decode() if status == 200 else ""

    def wait_ready(self, timeout_s: float = READY_WITHIN_S, pause: Callable[[float], object] = time.sleep) -> Self:
        """Wait until it is ready. Raises ProcessFailed with its last words."""
        return self.wait_until(self.ready, timeout_s, pause)

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port(self.kind.health), timeout=2.0)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        return 0, b""


def task(name: str, *arguments: str, env: Mapping[str, str], log_dir: Path, grace_s: float = 10.0) -> Process:
    """A process of ours without /readyz: `task("topics", "ingest", "topics", ...)` is `python -m ingest topics`."""
    return Process(name, [sys.executable, "-m", *arguments], log_dir / f"{name}.log", env, grace_s)
