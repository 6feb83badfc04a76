"""The time series of a run as columns of plain numbers, and their totals. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from simulator.counts.latency import Latencies
from simulator.results.bounded import Bounded
from simulator.results.recorder import POSITION_ERROR, Recorder
from simulator.results.series import A
from simulator.results.series import Series as Bins

#: The last bin is cut short by the end; below half a bin its rate says nothing.
_LEAST_OF_A_BIN = 0.5
_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}

#: Of a level by the part of its name before the service; others are plain numbers.
_LEVEL_UNITS = {"cpu_cores": "cores", "memory_mib": "MiB"}

Column = list[float | None]


class Series(msgspec.Struct, frozen=True):
    """One thing over time: columns as long as `time_s`, with null where nothing is known."""

    unit: str
    #: Of percentiles `count`, `p50`, `p90`, `p99` and `max`; of a rate `rate`; of a level `mean` and `max`.
    columns: dict[str, Column]
    #: `exact`: at most 1 % too high. `buckets`: as exact as the buckets of the service's histogram.
    precision: str = "exact"


class Summary(msgspec.Struct, frozen=True):
    """The whole run's percentiles of one thing."""

    unit: str
    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None
    precision: str = "exact"


def times_of(recorder: Recorder) -> list[float]:
    """When each bin begins, in seconds from the start."""
    return [index * recorder.ruler.bin_ms / 1_000 for index in range(recorder.bins)]


def series_of(recorder: Recorder) -> dict[str, Series]:
    """Every series by its name."""
    bins = recorder.bins
    lengths_s = _lengths_s(recorder)
    found = {}
    for name, rate in recorder.rates.items():
        counts = [0 if each is None else each.count for each in _padded(rate, bins)]
        per_s = [
            None if length_s is None else round(count / length_s, 3)
            for count, length_s in zip(counts, lengths_s, strict=True)
        ]
        found[name] = Series("per_s", {"rate": per_s})
    for name, spread in recorder.spreads.items():
        found[name] = Series(_unit(name), _percentiles(_padded(spread, bins)))
    for name, bounded in recorder.bounded.items():
        found[name] = Series(_unit(name), _percentiles(_padded(bounded, bins)), "buckets")
    for name, level in recorder.levels.items():
        levels = _padded(level, bins)
        means = [None if each is None else _short(each.mean) for each in levels]
        found[name] = Series(
            _LEVEL_UNITS.get(name.partition("/")[0], ""),
            {"mean": means, "max": [None if each is None else _short(each.most) for each in levels]},
        )
    return dict(sorted(found.items()))


def summaries_of(recorder: Recorder) -> dict[str, Summary]:
    """The whole run's percentiles by name."""
    totals: list[tuple[str, Latencies | Bounded, str]] = [
        *((name, series.total(), "exact") for name, series in recorder.spreads.items()),
        *((name, series.total(), "buckets") for name, series in recorder.bounded.items()),
    ]
    return {
        name: Summary(
            _unit(name),
            total.count,
            _short(total.percentile(50)),
            _short(total.percentile(90)),
            _short(total.percentile(99)),
            _short(total.percentile(99.9)),
            _short(total.max_ms if total.count else None),
            precision,
        )
        for name, total, precision in sorted(totals, key=lambda each: each[0])
    }


def _lengths_s(recorder: Recorder) -> list[float | None]:
    bin_ms = recorder.ruler.bin_ms
    lengths: list[float | None] = [bin_ms / 1_000] * recorder.bins
    last_ms = recorder.last_ms - recorder.start_ms - (recorder.bins - 1) * bin_ms
    lengths[-1] = last_ms / 1_000 if last_ms >= bin_ms * _LEAST_OF_A_BIN else None
    return lengths


def _padded(series: Bins[A], bins: int) -> list[A | None]:
    return [*series.bins, *[None] * (bins - len(series.bins))]


def _percentiles(bins: Iterable[Latencies | Bounded | None]) -> dict[str, Column]:
    columns: dict[str, Column] = {"count": [], **{name: [] for name in _PERCENTILES}, "max": []}
    for each in bins:
        columns["count"].append(0 if each is None else each.count)
        for name, percent in _PERCENTILES.items():
            columns[name].append(None if each is None else _short(each.percentile(percent)))
        columns["max"].append(None if each is None or not each.count else _short(each.max_ms))
    return columns


def _unit(name: str) -> str:
    return "m" if name == POSITION_ERROR else "ms"


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)
