"""Plan a local run from the environment: which engines to start, on which ports, and what services are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.services import ServiceKind

KAFKA_PORT, REDIS_PORT = 9092, 6379

#: With the embedded broker nobody else is in the consumer group: short times bring the worker up sooner. And it lists
#: its whole log for every fetch: with fetches of 5 ms the worker starved after 14 minutes, with 100 ms it sees a ping
#: 50 ms later and goes on. A drain that a terminal waits for must be short too. What the operator has set is kept.
LOCAL_DEFAULTS: Mapping[str, str] = {
    "RIDESTREAM_GUEST_RIDERS": "true",
    "RIDESTREAM_DRAIN_S": "1",
}
EMBEDDED_KAFKA_DEFAULTS: Mapping[str, str] = {
    "RIDESTREAM_REBALANCE_TIMEOUT_S": "3",
    "RIDESTREAM_SESSION_TIMEOUT_S": "6",
    "RIDESTREAM_FETCH_MAX_WAIT_MS": "100",
}


class Misconfigured(Exception):
    """A setting or argument is unusable; `args[0]` is one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`kafka` and `redis` are given addresses, None where an engine is to be started; `env` is for the services."""

    kafka: str | None
    redis: str | None
    env: Mapping[str, str]
    ports: Mapping[str, int]

    def port(self, variable: str) -> int:
        return self.ports[variable]


def plan(environ: Mapping[str, str], services: tuple[ServiceKind, ...], fresh_key: str) -> Plan:
    """`fresh_key` signs tokens unless RIDESTREAM_JWT_KEY is set. Raises Misconfigured."""
    ports = {
        variable: port_in(environ, variable, default) for kind in services for variable, default in kind.ports.items()
    }
    taken: dict[int, str] = {}
    for variable, port in ports.items():
        if port in taken:
            raise Misconfigured(f"{variable} and {taken[port]} are both {port}; give them different ports")
        taken[port] = variable
    kafka, redis = environ.get("RIDESTREAM_KAFKA") or None, environ.get("RIDESTREAM_REDIS") or None
    defaults = {**LOCAL_DEFAULTS, **({} if kafka else EMBEDDED_KAFKA_DEFAULTS)}
    env = {variable: environ.get(variable, value) for variable, value in defaults.items()}
    env["RIDESTREAM_JWT_KEY"] = environ.get("RIDESTREAM_JWT_KEY") or fresh_key
    env |= {variable: str(port) for variable, port in ports.items()}
    return Plan(kafka, redis, env, ports)


def port_in(environ: Mapping[str, str], variable: str, default: int) -> int:
    """The port that `variable` holds. Raises Misconfigured unless it is 1 to 65535."""
    text = environ.get(variable) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise Misconfigured(f"{variable} must be a port, 1 to 65535, not {text!r}")
    return int(text)
