"""What a rider is told of how far the car has to go, against the way that dispatch gave and where it is shown. Pure.

The wire says which stop the car heads for (`leg`), how much of the way is left (`remaining_m`), and when it gets there.
A car on its polyline is, so docs/wire/trips.md, within 50 m of it. So that point of the way from which `remaining_m` is
left must lie within 50 m of the car, and what its fix is uncertain by. That is the whole margin, and it holds where a
way crosses or doubles itself too. Without a way, and off it, the distance is a guess; but no way is shorter than the
straight line.

How good an ETA is, nobody promises: it is a figure of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

from simulator.counts.findings import Kind
from simulator.dispatch.rides import Place
from simulator.oracle.sphere import distance_m
from simulator.oracle.ways import Way
from simulator.riders.trip_view import Progress, TripCar

Note = Callable[..., None]
#: docs/wire/trips.md: a car more than this beside its polyline is told as `off_route`.
OFF_ROUTE_M = 50.0
#: A polyline has five decimals (0.8 m), lengths are told in tenths, and a flat piece of the sphere is not quite flat.
SLACK_M = 5.0
#: `eta_s` is told in tenths.
ETA_ROUNDING_MS = 51
#: As Promises.max_speed_mps: nobody gets to a stop sooner. A second is for what a fix is off by.
MAX_SPEED_MPS, SOONER_S = 30.0, 1.0


class Leg(NamedTuple):
    """Where a car goes, and on which way; None: nobody gave one."""

    stop: Place
    way: Way | None


def judge_progress(progress: Progress, car: TripCar, leg: Leg | None, note: Note) -> None:
    """`leg` is the one that `progress` names; None where it names none."""
    _judge_itself(progress, car, note)
    remaining_m = progress.remaining_m
    if leg is None or remaining_m is None:
        return
    straight_m = distance_m(car.lat, car.lon, leg.stop.lat, leg.stop.lon)
    if progress.off_route or leg.way is None:
        if remaining_m < straight_m - SLACK_M:
            what = "less is said to remain than the straight line"
            note(Kind.PROGRESS_ERROR, what=what, remaining_m=remaining_m, straight_m=straight_m)
        if progress.off_route:
            _judge_off_route(car, leg.way, note)
    else:
        _judge_on_route(progress, remaining_m, car, leg.way, note)
    if progress.eta_s is not None and straight_m > (progress.eta_s + SOONER_S) * MAX_SPEED_MPS:
        note(Kind.PROGRESS_ERROR, what="nobody gets there so fast", eta_s=progress.eta_s, straight_m=straight_m)


def place_on_way(progress: Progress, leg: Leg | None) -> tuple[float, float] | None:
    """Where the car is on its way, so `remaining_m`; None where that is not known."""
    if leg is None or leg.way is None or progress.off_route or progress.remaining_m is None:
        return None
    return leg.way.place(leg.way.length_m - progress.remaining_m)


def _judge_itself(progress: Progress, car: TripCar, note: Note) -> None:
    for name in ("distance_m", "remaining_m", "eta_s", "route_m"):
        value = getattr(progress, name)
        if value is not None and not (isfinite(value) and value >= 0.0):
            note(Kind.WIRE, what=f"{name} is {value}")
    if (progress.eta_s is None) != (progress.eta_ms is None):
        note(Kind.WIRE, what="eta_s without eta_ms, or eta_ms without eta_s")
    elif progress.eta_s is not None and progress.eta_ms is not None:
        off_ms = progress.eta_ms - car.fix_time_ms - progress.eta_s * 1_000
        if abs(off_ms) > ETA_ROUNDING_MS:
            what = "eta_ms is not eta_s after the fix"
            note(Kind.WIRE, what=what, eta_s=progress.eta_s, eta_ms=progress.eta_ms, apart_ms=off_ms)


def _judge_off_route(car: TripCar, way: Way | None, note: Note) -> None:
    off_m = None if way is None else way.off_m(car.lat, car.lon)
    if off_m is None or off_m < OFF_ROUTE_M - SLACK_M:
        note(Kind.PROGRESS_ERROR, what="said to be off its way, and is not", off_m=off_m, shown=(car.lat, car.lon))


def _judge_on_route(progress: Progress, remaining_m: float, car: TripCar, way: Way, note: Note) -> None:
    at_m = way.length_m - remaining_m
    evidence = {"remaining_m": remaining_m, "way_m": way.length_m, "shown": (car.lat, car.lon)}
    if at_m < -SLACK_M:
        note(Kind.PROGRESS_ERROR, what="more is said to remain than the whole way", **evidence)
        return
    apart_m = distance_m(*way.place(at_m), car.lat, car.lon)
    if apart_m > OFF_ROUTE_M + min(car.accuracy_m or 0.0, OFF_ROUTE_M) + SLACK_M:
        what = "so much remains from elsewhere on the way"
        note(Kind.PROGRESS_ERROR, what=what, apart_m=apart_m, off_m=way.off_m(car.lat, car.lon), **evidence)
    elif progress.route_m is not None and abs(progress.route_m - at_m) > SLACK_M:
        what = "what is behind and what remains are not the whole way"
        note(Kind.PROGRESS_ERROR, what=what, route_m=progress.route_m, **evidence)
