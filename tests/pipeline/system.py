"""A whole ridestream for one test: engines and services as processes on ports of their own, killable one by one."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import redis

from infra.clock import ReplayClock
from infra.identity import mint
from infra.local.engines import Engines
from infra.local.processes import Process
from infra.local.services import INGEST, PUSH, STREAM, Service, free_ports, task
from stream.channels import unpack_car
from tests.oracle.fold import Shown
from tests.oracle.trace import Fix
from tests.pipeline.engines import APACHE, EnginePair, skip_or_fail_without_apache
from tests.pipeline.polling import until as until
from tests.pipeline.rider import Rider

#: More than the default, so that two workers have several each.
PARTITIONS = 8
#: Longer than any trace: nobody leaves the index because of silence.
NEVER_MS = 7 * 24 * 3_600_000
TASK_WITHIN_S = 120.0
#: push's default `max_cars`.
MAX_CARS = 500
#: Services need some seconds to start; a replay waits for its clock to begin.
LEAD_S = 12.0


def replay_clock(fixes: list[Fix], speed: float, lead_s: float = LEAD_S) -> ReplayClock:
    """A clock that starts at the trace's first fix in `lead_s` from now and holds at its last."""
    times = [fix.fix_time_ms for fix in fixes]
    return ReplayClock(min(times), max(times), speed, int((time.time() + lead_s) * 1_000))


def held_clock(fixes: list[Fix]) -> ReplayClock:
    """A clock that stands at the trace's last fix: all of it has happened, so it may be sent in any order."""
    last_ms = max(fix.fix_time_ms for fix in fixes)
    return ReplayClock(last_ms, last_ms, 1.0, 0)


def _variables(settings: Mapping[str, object]) -> dict[str, str]:
    return {f"RIDESTREAM_{name.upper()}": str(value) for name, value in settings.items()}


class System:
    """Engines, ingest, push and one stream worker; a context manager that starts all and leaves nothing behind."""

    def __init__(
        self, pair: EnginePair, log_dir: Path, clock: Callable[[], ReplayClock | str], **settings: object
    ) -> None:
        """`clock` is asked once the engines run. `settings` are RIDESTREAM_* without the prefix, for every service."""
        if pair is APACHE:
            skip_or_fail_without_apache()
        self.log_dir, self._key, self._stack = log_dir, secrets.token_hex(32), ExitStack()
        self.engines = Engines(log_dir, pair.kafka(log_dir / "kafka"), pair.redis)
        self._clock = clock
        self._settings = {
            "RIDESTREAM_JWT_KEY": self._key,
            "RIDESTREAM_PARTITIONS": str(PARTITIONS),
            "RIDESTREAM_STALE_AFTER_MS": str(NEVER_MS - 1),
            "RIDESTREAM_GONE_AFTER_MS": str(NEVER_MS),
            # A killed worker's partitions move fast, so that a test need not wait for a coordinator's patience.
            "RIDESTREAM_SESSION_TIMEOUT_S": "6",
            "RIDESTREAM_REBALANCE_TIMEOUT_S": "3",
            **_variables(settings),
        }
        self._workers = 0
        self.ingest: Service
        self.push: Service
        self.worker: Service

    @property
    def env(self) -> dict[str, str]:
        return {**self._settings, **self.engines.env}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.engines)
            self._settings |= free_ports(INGEST, PUSH) | {"RIDESTREAM_CLOCK": str(self._clock())}
            self.run("topics", "ingest", "topics")
            self._stack = stack
            self.ingest = self._start(Service(INGEST, self.env, self.log_dir))
            self.push = self._start(Service(PUSH, self.env, self.log_dir))
            self.worker = self.add_worker()
            for service in (self.ingest, self.push, self.worker):
                service.wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, service: Service) -> Service:
        service.start()
        self._stack.callback(service.stop)
        return service

    def add_worker(self, **settings: object) -> Service:
        """Start another stream worker, without waiting for it, with some settings of its own."""
        self._workers += 1
        env = {**self.env, **free_ports(STREAM), **_variables(settings)}
        return self._start(Service(STREAM, env, self.log_dir, name=f"stream-{self._workers}"))

    def restart_with(self, **settings: object) -> None:
        """Stop the worker and push, and start both with some settings changed."""
        self._settings |= _variables(settings)
        self.worker.stop()
        self.push.stop()
        self.worker = self.add_worker()
        self.push = self._start(Service(PUSH, self.env, self.log_dir))
        self.worker.wait_ready()
        self.push.wait_ready()

    def run(self, name: str, *arguments: str) -> Process:
        """Run `python -m <arguments>` to its end. Fails the test unless it ends well."""
        process = self.begin(name, *arguments)
        assert process.wait(TASK_WITHIN_S) == 0, process.epitaph()
        return process

    def begin(self, name: str, *arguments: str) -> Process:
        """Start `python -m <arguments>` beside the services."""
        process = task(name, *arguments, env=self.env, log_dir=self.log_dir)
        process.start()
        self._stack.callback(process.stop)
        return process

    def rider(self, lat: float, lon: float, radius_m: float, limit: int = MAX_CARS) -> Rider:
        """A rider who stands there, to be used as a context manager."""
        return Rider(self.rider_url, self.token("rider", "rider-1", "rider"), lat, lon, radius_m, limit)

    def token(self, audience: str, subject: str, scopes: str) -> str:
        return mint(self._key, "HS256", audience, subject, scopes, time.time(), 3_600)

    @property
    def ingest_url(self) -> str:
        return f"http://127.0.0.1:{self.env['RIDESTREAM_INGEST_PORT']}"

    @property
    def rider_url(self) -> str:
        return f"ws://127.0.0.1:{self.env['RIDESTREAM_PUSH_PORT']}/v1/stream"

    def post(self, fixes: list[Fix]) -> None:
        """Post fixes to ingest as a fleet, in order, 1,000 at a time. Fails the test unless each is accepted."""
        headers = {"Authorization": f"Bearer {self.token('ingest', 'fleet-1', 'fleet')}"}
        with httpx.Client(base_url=self.ingest_url, headers=headers, timeout=30) as client:
            for start in range(0, len(fixes), 1_000):
                pings = [dict(zip(Fix._fields, fix, strict=True)) for fix in fixes[start : start + 1_000]]
                answer = client.post("/v1/pings", json=pings)
                assert (answer.status_code, answer.json()["accepted"]) == (202, len(pings)), answer.text[:300]

    def index(self, settled: bool = True) -> dict[str, Shown]:
        """The index in the oracle's terms, read with nothing but Redis commands.

        A driver in two regions fails the test when `settled`. While pings flow it may be seen in both of those it
        crosses between, because they are read one after the other: then the newer fix counts, as for every reader.
        """
        found: dict[str, Shown] = {}
        with redis.Redis.from_url(self.env["RIDESTREAM_REDIS"]) as client:
            for key in sorted(client.scan_iter("{r:*}:drivers", count=1_000)):
                for driver_id, value in client.hgetall(key).items():
                    car = unpack_car(value)
                    assert car.driver_id == driver_id.decode(), "a car is stored under its own driver's id"
                    assert not settled or car.driver_id not in found, f"{car.driver_id} is in two regions"
                    shown = Shown(car.fix_time_ms, car.lat, car.lon, f"{car.cell:x}")
                    found[car.driver_id] = max(shown, found.get(car.driver_id, shown))
        return found

    def holds(self, index: dict[str, Shown]) -> bool:
        """Whether the index is this one now, and nobody in two regions: while it is written that may be a moment's."""
        try:
            return self.index() == index
        except AssertionError:
            return False

    def verdicts(self) -> Counter[str]:
        """Folded pings by verdict, as stored with the offsets they count; zeros are left out."""
        found: Counter[str] = Counter()
        with redis.Redis.from_url(self.env["RIDESTREAM_REDIS"]) as client:
            for partition in range(PARTITIONS):
                for name, count in client.hgetall(f"{{p:{partition}}}:meta").items():
                    if name.startswith(b"total:") and int(count):
                        found[name.removeprefix(b"total:").decode()] += int(count)
        return found

    def await_folded(self, pings: int, within_s: float = 120.0) -> None:
        """Wait until the effect of so many pings is in Redis."""
        until(lambda: self.verdicts().total() >= pings, within_s, lambda: f"{self.verdicts()} of {pings} pings")

    def logs(self) -> dict[str, str]:
        """What each process wrote, by file name."""
        return {path.name: path.read_text(errors="replace") for path in sorted(self.log_dir.glob("*.log"))}


def assert_no_positions_in(logs: Mapping[str, str], positions: set[str]) -> None:
    """No service wrote any of these coordinates, given as text, into its log."""
    for name, text in logs.items():
        written = set(re.findall(r"-?\d{1,3}\.\d{4,}", text)) & positions
        assert not written, f"{name} holds {len(written)} coordinates"
