"""The one place that a run tells what it measures; the live view and the report read from it. Pure.

Everything comes with the moment it happened, in epoch ms of the wall clock. Durations count from the moment a ping was
due (simulator/counts/latency.py) and are filed under the moment they ended: while a system stands still its line has a
gap, and the second after it shows how long each ping waited that fell due meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.counts.latency import Latencies
from simulator.results.bounded import Bounded
from simulator.results.series import A, Count, Level, Ruler, Series

#: The hops of a ping. The first and last are timed here, from when it was due; the other two by the services
#: themselves, from when ingest received it (docs/report.md).
INGEST, INDEXED, PUSHED, RECEIVED = "ingest", "indexed", "pushed", "received"
HOPS = (INGEST, INDEXED, PUSHED, RECEIVED)
STALENESS, POSITION_ERROR = "staleness", "position_error"
#: Told of as rates, per second.
SENT, ACCEPTED, REJECTED, TOLD = "sent", "accepted", "rejected", "told"
#: A rate or a percentile of the last seconds: shorter is a flicker, longer is the past.
RECENT_MS = 5_000
#: The end of a fault that lasts as long as the run, until that is over. Epoch ms.
OPEN_END_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the scenario broke on purpose, for a while."""

    from_ms: int
    until_ms: int
    words: str


@dataclass(frozen=True, slots=True)
class Recent:
    """The last seconds: how fast things go now."""

    per_s: Mapping[str, float] = field(default_factory=dict)
    #: Hop, staleness or position error -> its 50th and 99th percentile, in ms or metres.
    percentiles: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)


class Recorder:
    """Begins at `start_ms`, epoch ms."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = self.last_ms = start_ms
        self.ruler = Ruler(start_ms)
        self.rates: dict[str, Series[Count]] = {}
        self.spreads: dict[str, Series[Latencies]] = {}
        self.bounded: dict[str, Series[Bounded]] = {}
        self.levels: dict[str, Series[Level]] = {}
        self.faults: list[Fault] = []
        #: What each service said of its build: service -> version.
        self.builds: dict[str, str] = {}

    def sent(self, pings: int, at_ms: int) -> None:
        """So many pings were due and handed to the emitter."""
        self._in(self.rates, SENT, Count, at_ms).count += pings

    def acked(self, took_ms: Sequence[float], rejected: int, at_ms: int) -> None:
        """Ingest judged pings so long after they were due, and rejected so many of them."""
        self._in(self.spreads, INGEST, Latencies, at_ms).add_all(took_ms)
        for name, pings in ((ACCEPTED, len(took_ms) - rejected), (REJECTED, rejected)):
            if pings:
                self._in(self.rates, name, Count, at_ms).count += pings

    def received(self, took_ms: float, at_ms: int) -> None:
        """A rider was shown a ping, or a newer one in its place, so long after it was due."""
        self._in(self.spreads, RECEIVED, Latencies, at_ms).add(took_ms)

    def told(self, cars: int, at_ms: int) -> None:
        """So many positions of cars reached riders."""
        self._in(self.rates, TOLD, Count, at_ms).count += cars

    def position_error(self, metres: float, at_ms: int) -> None:
        """A car was shown so far from where it was at that moment."""
        self._in(self.spreads, POSITION_ERROR, Latencies, at_ms).add(metres)

    def staleness(self, age_ms: float, at_ms: int) -> None:
        """A car was shown by a fix of this age."""
        self._in(self.spreads, STALENESS, Latencies, at_ms).add(age_ms)

    def spread(self, name: str, counted: Latencies, at_ms: int) -> None:
        """Many staleness or position errors were counted at one moment, as in a sweep of all screens."""
        self._in(self.spreads, name, Latencies, at_ms).merge(counted)

    def growth(self, name: str, cumulative: Mapping[float, float], at_ms: int) -> None:
        """A service's histogram grew so much since it was looked at last: upper bound in ms -> how many."""
        self._in(self.bounded, name, Bounded, at_ms).add(cumulative)

    def gauge(self, name: str, value: float, at_ms: int) -> None:
        """Something stood at `value`. `cpu_cores/push` is the level `cpu_cores` of the service `push`."""
        self._in(self.levels, name, Level, at_ms).add(value)

    def fault(self, from_ms: int, until_ms: int | None, words: str) -> None:
        """The scenario is to break something from then until then; None: to the end."""
        self.faults.append(Fault(from_ms, OPEN_END_MS if until_ms is None else until_ms, words))

    def end_faults(self, at_ms: int) -> None:
        """Nothing is broken from then on: what had not begun never was, and what had ends then at the latest."""
        self.faults = [
            replace(fault, until_ms=min(fault.until_ms, at_ms)) for fault in self.faults if fault.from_ms < at_ms
        ]

    def finish(self, at_ms: int) -> None:
        """The run was over then."""
        self.last_ms = max(self.last_ms, at_ms)

    @property
    def bins(self) -> int:
        """Bins from the start to the end; a run that ends with a bin has none after it."""
        whole = -(-(self.last_ms - self.start_ms) // self.ruler.bin_ms)
        return max(1, whole, *(len(series.bins) for family in self._families for series in family.values()))

    def recent(self, now_ms: int) -> Recent:
        """What the last whole bins say."""
        last = self.ruler.index(now_ms)
        first = max(0, last - max(1, RECENT_MS // self.ruler.bin_ms))
        if last == first:
            return Recent()
        seconds = (last - first) * self.ruler.bin_ms / 1_000
        totals: dict[str, Latencies | Bounded] = {}
        totals.update((name, series.total(first, last)) for name, series in self.spreads.items())
        totals.update((name, series.total(first, last)) for name, series in self.bounded.items())
        percentiles = {}
        for name, total in totals.items():
            p50, p99 = total.percentile(50), total.percentile(99)
            if p50 is not None and p99 is not None:
                percentiles[name] = (p50, p99)
        means = {name: series.total(first, last).mean for name, series in self.levels.items()}
        return Recent(
            {name: series.total(first, last).count / seconds for name, series in self.rates.items()},
            percentiles,
            {name: mean for name, mean in means.items() if mean is not None},
        )

    def p99s(self, name: str, now_ms: int, bins: int) -> list[float | None]:
        """The 99th percentile of each of the last whole bins, oldest first."""
        found = self.spreads.get(name)
        last = self.ruler.index(now_ms)
        return [
            each.percentile(99) if found and index < len(found.bins) and (each := found.bins[index]) else None
            for index in range(max(0, last - bins), last)
        ]

    @property
    def _families(self) -> tuple[dict[str, Series[Any]], ...]:
        return (self.rates, self.spreads, self.bounded, self.levels)

    def _in(self, family: dict[str, Series[A]], name: str, new: Callable[[], A], at_ms: int) -> A:
        index = self.ruler.index(at_ms)
        while not self.ruler.fits(index):
            self._grow()
            index = self.ruler.index(at_ms)
        self.last_ms = max(self.last_ms, at_ms)
        series = family.get(name)
        if series is None:
            series = family[name] = Series(new)
        return series.at(index)

    def _grow(self) -> None:
        self.ruler.grow()
        for family in self._families:
            for series in family.values():
                series.halve()
