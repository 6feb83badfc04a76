"""What is wrong on screens at one moment: cars that must not be there, or no more, and cars that are missing. Pure.

An accusation is a kind, a reason, and the cars it holds for; evidence is gathered only for those that are kept to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from simulator.counts.findings import Kind
from simulator.oracle.promises import Promises
from simulator.oracle.reach import Bools, Fleet, Ints, rank_cutoff_m
from simulator.oracle.screens import STRANGER, Screens
from simulator.oracle.sphere import apart_m

Evidence = dict[str, object]


class Accusation(NamedTuple):
    """The same thing held against several cars on several screens: `seats` and `driver_ids` go together."""

    kind: Kind
    why: str
    seats: list[int]
    driver_ids: list[str]
    #: Of the n-th of them.
    evidence: Callable[[int], Evidence]


def wrongly_shown(screens: Screens, fleet: Fleet, promises: Promises, now_ms: int) -> Iterator[Accusation]:
    """Cars on screens that are gone, misjudged in age, outside, or elsewhere by a fix that everybody must know."""
    driver, settle_ms = screens.driver, promises.settle_ms
    age_ms = now_ms - screens.fix_time_ms
    rim_m = screens.circles.radius_m[screens.seat] + promises.margin_m

    def accuse(kind: Kind, why: str, which: Bools, evidence: Callable[[int], Evidence]) -> Accusation:
        rows = np.flatnonzero(which).tolist()
        seats, names = screens.seat[rows].tolist(), [screens.cars[row].driver_id for row in rows]
        return Accusation(kind, why, seats, names, lambda n: evidence(rows[n]))

    def age(row: int) -> Evidence:
        car = screens.cars[row]
        return {"age_ms": int(age_ms[row]), "fix_time_ms": car.fix_time_ms, "told_as": car.freshness}

    def place(row: int) -> Evidence:
        car = screens.cars[row]
        return {"from_rider_m": float(screens.from_seat_m[row]), "shown_at": (car.lat, car.lon), **age(row)}

    def newer_place(row: int) -> Evidence:
        fix, number = fleet.settled, int(driver[row])
        newer = {"at": (float(fix.lat[number]), float(fix.lon[number])), "fix_time_ms": int(fix.fix_time_ms[number])}
        return {"off_m": float(off_m[row]), **place(row), **{f"newer_{name}": value for name, value in newer.items()}}

    gone = age_ms >= promises.gone_after_ms + settle_ms
    yield accuse(Kind.GHOST, "still shown when it must be gone", gone, age)
    old = ~gone & screens.live & (age_ms >= promises.stale_after_ms + settle_ms)
    yield accuse(Kind.STALE_AS_LIVE, "shown as live when it is stale", old, age)
    fresh = ~screens.live & (age_ms < promises.stale_after_ms - settle_ms)
    yield accuse(Kind.WIRE, "shown as stale when it is live", fresh, age)
    outside = ~gone & (screens.from_seat_m > rim_m)
    yield accuse(Kind.GHOST, "shown outside of the rider's circle", outside, place)

    # Cars that are shown by an older fix than everybody must know: where does the newer one say that they are?
    behind = ~gone & ~outside & (driver != STRANGER) & (screens.fix_time_ms < fleet.settled.fix_time_ms[driver])
    near_m, off_m = np.zeros(len(driver)), np.zeros(len(driver))
    near_m[behind], _ = fleet.from_places(screens.circles.vectors[screens.seat[behind]], driver[behind])
    off_m[behind] = apart_m(screens.vectors[behind], fleet.settled_vectors[driver[behind]])
    has_left = behind & (near_m > rim_m)
    yield accuse(Kind.GHOST, "has left the rider's circle", has_left, newer_place)
    elsewhere = behind & ~has_left & (off_m > promises.ghost_error_m)
    yield accuse(Kind.GHOST, "is elsewhere by a newer fix", elsewhere, newer_place)
    off = behind & ~has_left & ~elsewhere & (off_m > promises.margin_m)
    yield accuse(Kind.POSITION_ERROR, "is off by a newer fix", off, newer_place)


def missing(
    screens: Screens, fleet: Fleet, promises: Promises, now_ms: int, driver_ids: list[str]
) -> Iterator[Accusation]:
    """Cars that must be on a screen, wherever within their reach they are shown, and are not."""
    settled, newest = fleet.settled.fix_time_ms, fleet.newest.fix_time_ms
    # `newest` is 0 for a phone that never sent anything to be shown, and `settled` for one that nobody must know yet.
    on_map = (newest > 0) & (now_ms - newest < promises.gone_after_ms + promises.settle_ms)
    placed = on_map & (settled > 0)
    reach = fleet.around(screens.circles, placed)
    # Cars of strangers take up ranks that the fleet's do not have; so may cars of whom nothing has settled.
    strange = np.bincount(screens.seat[~_on(screens.driver, on_map)], minlength=len(screens.seats))
    cutoff_m = rank_cutoff_m(reach, screens.circles, strange + np.count_nonzero(on_map & ~placed))
    must_m = np.minimum(cutoff_m, screens.circles.radius_m) - promises.margin_m
    stays = placed & (now_ms - settled < promises.gone_after_ms - promises.settle_ms)
    must = (reach.far_m < must_m[reach.seat]) & stays[reach.driver]
    pairs = reach.only(must)

    is_shown = np.zeros((len(screens.seats), len(driver_ids)), dtype=np.bool_)
    ours = screens.driver != STRANGER
    is_shown[screens.seat[ours], screens.driver[ours]] = True
    lacking = pairs.only(~is_shown[pairs.seat, pairs.driver])

    def evidence(n: int) -> Evidence:
        seat, driver = int(lacking.seat[n]), int(lacking.driver[n])
        return {
            "from_rider_m": [round(float(lacking.near_m[n]), 1), round(float(lacking.far_m[n]), 1)],
            "radius_m": screens.seats[seat].radius_m,
            "limit": screens.seats[seat].limit,
            "cars_shown": len(screens.seats[seat].cars),
            "fix_time_ms": int(settled[driver]),
            "age_ms": int(now_ms - settled[driver]),
            "at": (float(fleet.settled.lat[driver]), float(fleet.settled.lon[driver])),
        }

    names = [driver_ids[driver] for driver in lacking.driver.tolist()]
    yield Accusation(Kind.MISSING, "not shown, though near enough", lacking.seat.tolist(), names, evidence)


def _on(driver: Ints, on_map: Bools) -> Bools:
    """Which of these drivers are of this fleet, and may be on the map."""
    found: Bools = driver != STRANGER
    found[found] = on_map[driver[found]]
    return found
