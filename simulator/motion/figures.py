"""How the vehicles of a trace move: distributions of speed, turn and stopping, and no positions. No clock, no chance.

Traces differ in how often they report, so all are thinned to one interval first, and speed is taken between positions,
not from the phone. What happens between two fixes is not seen: at 15 s a corner is cut, and a short stop is a slow leg.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import h3
import msgspec
import numpy as np

from simulator.fleet.fixes import Fix
from simulator.roads.network import bearing_deg

#: A leg slower than this is standing: 15 m in 15 s, three times what a phone's error of 4 m drifts in that time.
STANDS_MPS = 1.0
#: The way of a leg is known when it is longer than errors are: 30 m in 15 s.
TURNS_ABOVE_MPS = 2.0
#: Faster than any car here drives: a position that was far off.
NO_CAR_MPS = 40.0
#: A vehicle that is silent for longer than this many intervals begins anew.
BROKEN_AFTER = 1.5
#: Percentiles that describe a distribution.
PERCENTILES = (5, 10, 25, 50, 75, 90, 95)


class Motion(NamedTuple):
    """What is seen of all vehicles of a trace at one interval."""

    interval_s: float
    #: Speed of each leg between two fixes, m/s.
    speed_mps: list[float]
    #: Change of course between two legs that both move, degrees in [0, 180].
    turn_deg: list[float]
    #: Change of speed between two legs that both move, m/s.
    change_mps: list[float]
    #: Time that vehicles stood without a break, in seconds, whole intervals; not what begins or ends a run.
    stop_s: list[float]
    runs: int


class Figures(msgspec.Struct):
    """The distributions in numbers; the members that end in _percentiles are by percentile."""

    name: str
    interval_s: float
    legs: int
    runs: int
    stop_share: float
    stops_per_driven_km: float
    mean_moving_mps: float
    change_sigma_mps: float
    straight_share: float
    turned_share: float
    moving_mps_percentiles: dict[str, float]
    turn_deg_percentiles: dict[str, float]
    stop_s_percentiles: dict[str, float]


def thin(fixes: Iterable[Fix], interval_s: float) -> Iterator[list[Fix]]:
    """The runs of one vehicle, at most one fix each `interval_s`. `fixes` are in order of time.

    A run ends where the vehicle is silent for longer than BROKEN_AFTER intervals: nobody knows what it did.
    """
    run: list[Fix] = []
    for fix in fixes:
        waited_s = (fix.fix_time_ms - run[-1].fix_time_ms) / 1_000 if run else 0.0
        if run and waited_s > BROKEN_AFTER * interval_s:
            yield run
            run = []
        # Half a second early is on time: phones are not punctual.
        if not run or waited_s >= interval_s - 0.5:
            run.append(fix)
    if run:
        yield run


def motion_of(fixes: Sequence[Fix], interval_s: float, up_to_mps: float = NO_CAR_MPS) -> Motion:
    """What is seen of the vehicles of a trace, as long as they are not faster than `up_to_mps`."""
    seen = Motion(interval_s, [], [], [], [], 0)
    runs = 0
    by_driver = sorted(fixes, key=lambda fix: (fix.driver_id, fix.fix_time_ms))
    for _, own in groupby(by_driver, key=lambda fix: fix.driver_id):
        for run in thin(own, interval_s):
            if len(run) > 1:
                runs += 1
                _add(seen, run, up_to_mps)
    return seen._replace(runs=runs)


def _add(seen: Motion, run: Sequence[Fix], up_to_mps: float) -> None:
    legs = [_leg(before, after) for before, after in pairwise(run)]
    for slow, part in groupby(legs, lambda leg: leg.speed_mps <= up_to_mps):
        if slow:
            _add_part(seen, list(part))


class _Leg(NamedTuple):
    speed_mps: float
    course_deg: float
    seconds: float


def _leg(before: Fix, after: Fix) -> _Leg:
    here, there = (before.lat, before.lon), (after.lat, after.lon)
    seconds = (after.fix_time_ms - before.fix_time_ms) / 1_000
    return _Leg(h3.great_circle_distance(here, there, unit="m") / seconds, bearing_deg(here, there), seconds)


def _add_part(seen: Motion, legs: Sequence[_Leg]) -> None:
    seen.speed_mps.extend(leg.speed_mps for leg in legs)
    for one, two in pairwise(legs):
        if min(one.speed_mps, two.speed_mps) >= TURNS_ABOVE_MPS:
            seen.turn_deg.append(abs((two.course_deg - one.course_deg + 180.0) % 360.0 - 180.0))
            seen.change_mps.append(two.speed_mps - one.speed_mps)
    stays = [(stands, list(part)) for stands, part in groupby(legs, lambda leg: leg.speed_mps < STANDS_MPS)]
    # The first and the last may have gone on beyond what is seen.
    seen.stop_s.extend(sum(leg.seconds for leg in part) for stands, part in stays[1:-1] if stands)


def figures_of(name: str, seen: Motion) -> Figures:
    """The distributions of a trace in numbers. Raises ValueError when it has too few legs to say anything."""
    speed, turn, stop = (np.array(values) for values in (seen.speed_mps, seen.turn_deg, seen.stop_s))
    moving = speed[speed >= STANDS_MPS]
    if not len(moving) or not len(turn):
        raise ValueError(f"{name}: no vehicle moves for two intervals of {seen.interval_s:g} s; try a shorter interval")
    driven_km = float(speed.sum()) * seen.interval_s / 1_000
    return Figures(
        name=name,
        interval_s=seen.interval_s,
        legs=len(speed),
        runs=seen.runs,
        stop_share=_rounded(np.mean(speed < STANDS_MPS), 3),
        stops_per_driven_km=_rounded(len(stop) / driven_km, 2),
        mean_moving_mps=_rounded(moving.mean(), 2),
        change_sigma_mps=_rounded(np.std(seen.change_mps), 2),
        straight_share=_rounded(np.mean(turn < 15.0), 3),
        turned_share=_rounded(np.mean(turn > 60.0), 3),
        moving_mps_percentiles=_percentiles(moving),
        turn_deg_percentiles=_percentiles(turn),
        stop_s_percentiles=_percentiles(stop),
    )


def _percentiles(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, float]:
    if not len(values):
        return {}
    found = np.percentile(values, PERCENTILES)
    return {f"p{percent}": _rounded(value, 2) for percent, value in zip(PERCENTILES, found, strict=True)}


def _rounded(value: float | np.floating[object], digits: int) -> float:  # type: ignore[type-var]
    return round(float(value), digits)
