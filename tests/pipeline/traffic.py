"""Cars around a place that report several times a second, by the wall clock, until told to stop."""

from __future__ import annotations

import threading
import time
from typing import Self

import httpx

from tests.oracle.trace import Fix
from tests.pipeline.system import System


class Traffic(threading.Thread):
    """`cars` cars near a place, each of which takes a step and posts it every `every_s`. A context manager.

    Faults of posting are kept in `fault` and raised when it is left.
    """

    def __init__(self, system: System, lat: float, lon: float, cars: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._system, self._lat, self._lon, self._cars, self._every_s = system, lat, lon, cars, every_s
        self._stopping = threading.Event()
        self.fault: BaseException | None = None
        self.rounds = 0

    def run(self) -> None:
        try:
            next_s = time.monotonic()
            while not self._stopping.wait(max(0.0, next_s - time.monotonic())):
                self._system.post(self._fixes())
                self.rounds += 1
                next_s += self._every_s
        except (AssertionError, httpx.HTTPError) as fault:
            self.fault = fault

    def _fixes(self) -> list[Fix]:
        now_ms, step = int(time.time() * 1_000), 1e-5 * (self.rounds % 100)
        return [
            Fix(f"car-{number}", now_ms, self._lat + 1e-5 * number + step, self._lon + step)
            for number in range(self._cars)
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(30)
        if self.fault is not None:
            raise self.fault
