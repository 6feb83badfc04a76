"""A trace posted in order by a thread: slowly while a test has things to do meanwhile, then as fast as it goes."""

from __future__ import annotations

import threading
from typing import Self

from tests.oracle.trace import Fix
from tests.pipeline.system import System

POST_PINGS = 50
#: 250 pings/s: a joining worker takes 10 s, and a minute on a machine that is busy otherwise.
PAUSE_S = 0.2


class Feed(threading.Thread):
    """Use as a context manager. `sent` counts the accepted; `finish` posts the rest and raises what went wrong."""

    def __init__(self, system: System, fixes: list[Fix]) -> None:
        super().__init__(daemon=True)
        self._system, self._fixes = system, fixes
        self._hurry, self._ended = threading.Event(), False
        self._fault: BaseException | None = None
        self.sent = 0

    @property
    def done(self) -> bool:
        return self.sent == len(self._fixes)

    def run(self) -> None:
        try:
            while not self.done and not self._ended:
                pings = 1_000 if self._hurry.is_set() else POST_PINGS
                self._system.post(self._fixes[self.sent : self.sent + pings])
                self.sent += len(self._fixes[self.sent : self.sent + pings])
                self._hurry.wait(PAUSE_S)
        except Exception as fault:  # told to the test by `finish`
            self._fault = fault

    def finish(self) -> None:
        """Post what is left."""
        self._hurry.set()
        self.join(180)
        if self._fault is not None:
            raise self._fault
        assert self.done, f"{self.sent} of {len(self._fixes)} were posted"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._hurry.set()
        self.join(60)
