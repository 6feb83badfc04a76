"""Every lie is caught, by the verdict that names it: a perfect server with one promise broken, each."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import h3
import pytest
from msgspec.structs import replace

from simulator.counts.findings import Kind
from simulator.fleet.fixes import Fix
from simulator.phones.phones import Sending
from simulator.riders.seat import Seat
from simulator.riders.view import SeenCar
from tests.simulator.perfect_server import START_MS, PerfectServer, Town

#: So many towns, with eight cars and three riders each; a lie is told in some of them.
TOWNS = 6


class NothingLeavesByAge(PerfectServer):
    def gone_after_ms(self) -> float:
        return float("inf")


class LeavesAreDropped(PerfectServer):
    def leaves(self, driver_ids: list[str]) -> list[str]:
        return []


class TheLastToArriveCounts(PerfectServer):
    def newest(self, fixes: list[Fix]) -> Fix:
        return fixes[-1]


class FrozenAtTheFirstFix(PerfectServer):
    def newest(self, fixes: list[Fix]) -> Fix:
        return fixes[0]


class CoversWholeCells(PerfectServer):
    """Shows all cars of the cells that the circle touches: up to 350 m too many."""

    def radius_m(self, seat: Seat) -> float:
        return seat.radius_m + 200


class CoversTooFewCells(PerfectServer):
    def radius_m(self, seat: Seat) -> float:
        return seat.radius_m * 0.5


class AlwaysLive(PerfectServer):
    def freshness(self, age_ms: int) -> Literal["live", "stale"]:
        return "live"


class StaleTooSoon(PerfectServer):
    def freshness(self, age_ms: int) -> Literal["live", "stale"]:
        return "stale" if age_ms >= 1_000 else "live"


class TimeIsWhatPhonesSay(PerfectServer):
    """Its clock is that of the newest fix: when phones fall silent, nothing grows old."""

    def clock(self, number: int, now_ms: int) -> int:
        return max((fix.fix_time_ms for fixes in self.known[number].values() for fix in fixes), default=now_ms)


class ShowsTheFarthest(PerfectServer):
    def rank(self, distance_m: float) -> float:
        return -distance_m


class HidesOneOfThree(PerfectServer):
    def chosen(self, found: list[tuple[float, str, Fix]]) -> list[tuple[float, str, Fix]]:
        return [each for each in found if each[1] not in ("d-0", "d-3", "d-6")]


class BelievesImpossibleJumps(PerfectServer):
    def lets_in(self, sending: Sending) -> bool:
        return sending.expect in ("shown", "kept")


class LetsMockedFixesIn(PerfectServer):
    def lets_in(self, sending: Sending) -> bool:
        return sending.expect != "kept"

    def radius_m(self, seat: Seat) -> float:
        return 5_000.0


class StampsFixesOnArrival(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        return replace(fix, fix_time_ms=fix.fix_time_ms + 77)


class RoundsToCells(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        return replace(fix, lat=round(fix.lat, 3), lon=round(fix.lon, 3))


class MixesUpTwoCars(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        name = {"d-1": "d-2", "d-2": "d-1"}.get(fix.driver_id, fix.driver_id)
        return replace(fix, driver_id=name)


class HeadsOneOfEight(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        return replace(fix, heading_deg=fix.heading_deg and round(fix.heading_deg / 45) * 45.0)


class TakesUnknownForStanding(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        return replace(fix, speed_mps=fix.speed_mps or 0.0)


class KeepsTheFirstAccuracy(PerfectServer):
    def newest(self, fixes: list[Fix]) -> Fix:
        return replace(super().newest(fixes), accuracy_m=fixes[0].accuracy_m)


class EverybodyIsATaxi(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        return replace(fix, vehicle_type="TAXI")


class CellsOfTheMap(PerfectServer):
    """Names the cells of another resolution."""

    def car(self, fix: Fix, server_ms: int) -> SeenCar:
        car = super().car(fix, server_ms)
        return replace(car, cell=h3.cell_to_parent(car.cell, 8))


class InventsACar(PerfectServer):
    def reads(self, fix: Fix) -> Fix:
        return replace(fix, driver_id="nobody")

    def around(self, number: int, seat: Seat, server_ms: int, now_ms: int) -> dict[str, object]:  # type: ignore[override]
        self.blur[number, "nobody"] = 0.0
        return super().around(number, seat, server_ms, now_ms)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("mutant", "verdict"),
    [
        (NothingLeavesByAge, Kind.GHOST),
        (LeavesAreDropped, Kind.GHOST),
        (TheLastToArriveCounts, Kind.BACKWARDS),
        (FrozenAtTheFirstFix, Kind.POSITION_ERROR),
        (FrozenAtTheFirstFix, Kind.GHOST),
        (CoversWholeCells, Kind.GHOST),
        (CoversTooFewCells, Kind.MISSING),
        (AlwaysLive, Kind.STALE_AS_LIVE),
        (StaleTooSoon, Kind.WIRE),
        (TimeIsWhatPhonesSay, Kind.STALE_AS_LIVE),
        (ShowsTheFarthest, Kind.MISSING),
        (HidesOneOfThree, Kind.MISSING),
        (BelievesImpossibleJumps, Kind.MISSING),
        (LetsMockedFixesIn, Kind.GHOST),
        (StampsFixesOnArrival, Kind.GHOST),
        (RoundsToCells, Kind.POSITION_ERROR),
        (MixesUpTwoCars, Kind.GHOST),
        (HeadsOneOfEight, Kind.FIX_ALTERED),
        (TakesUnknownForStanding, Kind.FIX_ALTERED),
        (KeepsTheFirstAccuracy, Kind.FIX_ALTERED),
        (EverybodyIsATaxi, Kind.FIX_ALTERED),
        (CellsOfTheMap, Kind.FIX_ALTERED),
        (InventsACar, Kind.GHOST),
    ],
)
def test_a_server_that_breaks_one_promise_is_accused_of_that(mutant: type[PerfectServer], verdict: Kind) -> None:
    found: Counter[Kind] = Counter()
    for seed in range(TOWNS):
        found += mutant(Town(seed)).play().counts
        if found[verdict]:
            return
    pytest.fail(f"accused of {dict(found)} only")


def test_the_same_cars_and_a_perfect_server_are_accused_of_nothing() -> None:
    for seed in range(TOWNS):
        server = PerfectServer(Town(seed))
        assert not server.play().counts, [each.words(START_MS) for each in server.findings.first.values()]
        assert server.oracle.shown
        assert server.oracle.screens_judged


def test_a_lie_says_where_and_when_it_was_told() -> None:
    findings = LeavesAreDropped(Town(0, drivers=12)).play()
    first = findings.first[Kind.GHOST]
    assert first.who.startswith("map-")
    assert first.driver_id.startswith("d-")
    assert first.at_ms > START_MS
    assert {"why", "age_ms", "fix_time_ms"} <= first.evidence.keys()
    assert f"about {first.driver_id}" in first.words(START_MS)
