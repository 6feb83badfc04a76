"""What goes wrong on the riders' side, planned before the run: who reads slowly, falls silent or drops out, when. Pure.

slow        reads a few KiB a second, or nothing, for `for_s`; then again all that comes
half_open   falls silent for `for_s`: reads nothing, answers no ping, closes nothing; then comes back on a new
            connection while the old one still looks open to the server
reconnect   drops out without a word at `at_s`, like all others chosen, and comes back at some time within `for_s`
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple, Protocol

SLOW: Final = "slow"
HALF_OPEN: Final = "half_open"
RECONNECT: Final = "reconnect"
KINDS: Final = (SLOW, HALF_OPEN, RECONNECT)

#: A phone at the edge of coverage: from below what 20 cars at 1 Hz need (about 5 KB/s) to somewhat less than half.
SLOW_BYTES_PER_S: Final = (1_024, 4_096)
#: So many of the slow ones read nothing at all.
STALLED_SHARE: Final = 0.5


class RiderFault(Protocol):
    """A `[[rider_faults]]` of a scenario; see `simulator/scenarios/scenario.py`."""

    @property
    def kind(self) -> str: ...

    @property
    def at_s(self) -> float: ...

    @property
    def for_s(self) -> float: ...

    @property
    def share(self) -> float: ...


class Mishap(NamedTuple):
    """What happens to one rider, in milliseconds since the run began."""

    at_ms: int
    what: str
    for_ms: int
    #: How fast a slow one reads; 0 is nothing at all.
    bytes_per_s: float = 0.0

    @property
    def until_ms(self) -> int:
        return self.at_ms + self.for_ms


def plan(faults: Sequence[RiderFault], riders: int, seed: int) -> list[list[Mishap]]:
    """The mishaps of each of so many riders, in order of time. The same seed plans the same.

    A fault does not depend on the others: taking one out leaves the rest as it was. Raises ValueError on a fault that
    cannot be.
    """
    planned: list[list[Mishap]] = [[] for _ in range(riders)]
    for number, fault in enumerate(faults):
        if fault.kind not in KINDS:
            raise ValueError(f"rider_faults[{number}].kind is {fault.kind!r}; it must be one of {', '.join(KINDS)}")
        if not (fault.at_s >= 0 and fault.for_s >= 0 and 0 <= fault.share <= 1):
            raise ValueError(f"rider_faults[{number}]: at_s and for_s must be 0 or more, and share from 0 to 1")
        # By kind and turn within the kind, so that a fault of another kind before it changes nothing.
        turn = sum(each.kind == fault.kind for each in faults[:number])
        random = Random(f"{seed}/rider_fault/{fault.kind}/{turn}")  # noqa: S311 - seeded on purpose
        for rider in sorted(random.sample(range(riders), _how_many(fault.share, riders))):
            planned[rider].append(_mishap(fault, random))
    for mishaps in planned:
        mishaps.sort()
    return planned


def _how_many(share: float, riders: int) -> int:
    """A fault that is written down happens to somebody."""
    return min(riders, max(1, round(share * riders))) if share > 0 else 0


def _mishap(fault: RiderFault, random: Random) -> Mishap:
    at_ms, for_ms = round(fault.at_s * 1_000), round(fault.for_s * 1_000)
    stalled, rate, back = random.random() < STALLED_SHARE, random.uniform(*SLOW_BYTES_PER_S), random.random()
    if fault.kind == SLOW:
        return Mishap(at_ms, SLOW, for_ms, 0.0 if stalled else rate)
    return Mishap(at_ms, fault.kind, round(for_ms * back) if fault.kind == RECONNECT else for_ms)
