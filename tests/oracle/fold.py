"""What the index must hold after a set of fixes: every driver's fixes sorted and looked at, slowly and plainly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import h3

from tests.oracle.distance import haversine_m
from tests.oracle.trace import Fix

MAX_SPEED_MPS = 55.0
#: The index looks no further back than this many fixes of a driver.
KEPT_FIXES = 4
CELL_RESOLUTION = 9
#: Relative. Two ways to write the haversine in doubles differ by up to 1e-12 over some hundred metres.
RIM_HAIR = 1e-11


class Shown(NamedTuple):
    """What the index shows of one driver. `cell` is the H3 cell of resolution 9 as hexadecimal text."""

    fix_time_ms: int
    lat: float
    lon: float
    cell: str


def is_valid(fix: Fix) -> bool:
    return -90 <= fix.lat <= 90 and -180 <= fix.lon <= 180 and not (fix.lat == 0 and fix.lon == 0)


def is_impossible(before: Fix, after: Fix) -> bool:
    """Whether no car gets from one fix to the next: faster than 55 m/s, on a clock that ticks in seconds."""
    seconds = max(1.0, (after.fix_time_ms - before.fix_time_ms) / 1000)
    return haversine_m(before.lat, before.lon, after.lat, after.lon) / seconds > MAX_SPEED_MPS


def fixes_by_driver(fixes: Iterable[Fix]) -> dict[str, list[Fix]]:
    """Every driver's valid fixes in the order of their times, each time once."""
    found: dict[str, dict[int, Fix]] = defaultdict(dict)
    for fix in fixes:
        if is_valid(fix):
            found[fix.driver_id].setdefault(fix.fix_time_ms, fix)
    return {driver_id: [times[at] for at in sorted(times)] for driver_id, times in found.items()}


def live_fix(in_order: list[Fix]) -> Fix:
    """The newest of the last four fixes that the one before it makes believable, else the oldest of the four."""
    kept = in_order[-KEPT_FIXES:]
    for before, after in reversed(list(pairwise(kept))):
        if not is_impossible(before, after):
            return after
    return kept[0]


def fold(fixes: Iterable[Fix], now_ms: int | None = None, gone_after_ms: int | None = None) -> dict[str, Shown]:
    """Driver id -> what the index must show of it; without those who are gone at `now_ms`, if that is given."""
    index = {}
    for driver_id, in_order in fixes_by_driver(fixes).items():
        live = live_fix(in_order)
        if now_ms is not None and gone_after_ms is not None and now_ms - live.fix_time_ms >= gone_after_ms:
            continue
        cell = h3.latlng_to_cell(live.lat, live.lon, CELL_RESOLUTION)
        index[driver_id] = Shown(live.fix_time_ms, live.lat, live.lon, cell)
    return index


class Verdicts(NamedTuple):
    """How many pings of a trace, sent once and in order, get which verdict."""

    received: int
    null_island: int
    accepted: int
    live: int
    duplicate: int
    impossible_jump: int


def verdicts(fixes: list[Fix]) -> Verdicts:
    """The verdicts of a whole trace."""
    valid = [fix for fix in fixes if is_valid(fix)]
    by_driver = fixes_by_driver(valid)
    unique = sum(map(len, by_driver.values()))
    jumps = sum(is_impossible(before, after) for in_order in by_driver.values() for before, after in pairwise(in_order))
    return Verdicts(
        received=len(fixes),
        null_island=len(fixes) - len(valid),
        accepted=len(valid),
        live=unique - jumps,
        duplicate=len(valid) - unique,
        impossible_jump=jumps,
    )


def nearby(index: dict[str, Shown], lat: float, lon: float, radius_m: float) -> list[str]:
    """The drivers within `radius_m` of a place, nearest first: every driver is measured.

    A car exactly on the rim is inside. What is measured twice differs in the last bits, so a hair is granted.
    """
    measured = [(haversine_m(lat, lon, shown.lat, shown.lon), driver_id) for driver_id, shown in index.items()]
    return [driver_id for distance_m, driver_id in sorted(measured) if distance_m <= radius_m * (1 + RIM_HAIR)]
