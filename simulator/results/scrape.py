"""Look at the metrics of each service once a second, and at what the simulator itself and the machine use.

What a service tells is public (docs/operations/metrics.md). A service that does not answer leaves a gap, not an error:
it may have been killed on purpose.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from infra.clock import WallClock
from simulator.results.readings import WANTED, Readings, Sample
from simulator.results.recorder import Recorder

wall_ms = WallClock().now_ms

EVERY_S = 1.0
#: Longer than this and the next look is due.
TIMEOUT_S = 0.9
#: The names under which the load generator's own use, and that of all of its machine, are recorded.
OWN, MACHINE = "simulator", "machine"
#: /proc/stat counts in ticks, which every Linux of today sets to a hundredth of a second.
_TICKS_PER_S = 100.0


class Scraper:
    """`urls` gives each service's base address by name. `run` until cancelled."""

    def __init__(self, urls: Mapping[str, str], recorder: Recorder) -> None:
        self._urls = {name: f"{url.rstrip('/')}/metrics" for name, url in urls.items()}
        self._recorder = recorder
        self._readings = {name: Readings(name, recorder) for name in (*urls, OWN, MACHINE)}

    async def run(self) -> None:
        """Look every second, on the second."""
        connector = aiohttp.TCPConnector(limit=len(self._urls) or 1)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            next_s = time.monotonic()
            while True:
                await self.look(session)
                next_s = max(next_s + EVERY_S, time.monotonic())
                await asyncio.sleep(next_s - time.monotonic())

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Look once at all of them."""
        self._take(OWN, _own())
        self._take(MACHINE, _machine())
        await asyncio.gather(*(self._ask(session, name, url) for name, url in self._urls.items()))

    async def _ask(self, session: aiohttp.ClientSession, name: str, url: str) -> None:
        samples: list[Sample] | None = None
        with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with session.get(url, allow_redirects=False) as answer:
                if answer.status == 200:
                    samples = read(await answer.text())
        self._recorder.gauge(f"answers/{name}", 0.0 if samples is None else 1.0, wall_ms())
        if samples is not None:
            self._take(name, samples)

    def _take(self, name: str, samples: list[Sample]) -> None:
        self._readings[name].take(samples, wall_ms(), time.monotonic())


def read(text: str) -> list[Sample]:
    """The samples that matter, of a page in Prometheus' text format. Raises ValueError for something else."""
    # Only these lines: to parse all of a page costs several times as much, each second, beside what is measured.
    lines = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(WANTED))
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(lines)
        for sample in family.samples
    ]


def _own() -> list[Sample]:
    return [Sample("process_cpu_seconds_total", {}, time.process_time()), *_own_memory()]


def _own_memory() -> list[Sample]:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return []
    kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return [Sample("process_resident_memory_bytes", {}, kib * 1024.0)]


def _machine() -> list[Sample]:
    """The busy time of all cores together; nothing where there is no /proc."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return []
    user, nice, system, idle, waiting, *others = fields
    del idle, waiting
    return [Sample("process_cpu_seconds_total", {}, (user + nice + system + sum(others)) / _TICKS_PER_S)]
