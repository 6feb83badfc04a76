"""Turn drivers' new live fixes into the changes of each region, in an order that never loses a driver. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ingest.events import OFFLINE, Ping
from stream.channels import Car, Removal, cell_of, region_of


class Shown(msgspec.Struct, frozen=True, gc=False):
    """Where the index holds a driver, as which car, and the fix the car was made from."""

    region: int
    car: Car
    fix: Ping


@dataclass(slots=True)
class RegionChange:
    """What one frame does to one region: cars to set, and drivers who left with the fix that took them away."""

    cars: dict[str, Car] = field(default_factory=dict)
    removals: dict[str, Removal] = field(default_factory=dict)


def shown_as(fix: Ping, before: Shown | None = None) -> Shown:
    """A fix as the index shows it; `before` spares the look for the region of a car that stays in its cell."""
    cell = cell_of(fix.lat, fix.lon)
    region = before.region if before is not None and before.car.cell == cell else region_of(cell)
    car = Car(
        fix.driver_id,
        fix.fix_time_ms,
        fix.lat,
        fix.lon,
        cell,
        fix.received_at_ms,
        fix.accuracy_m,
        fix.heading_deg,
        fix.speed_mps,
        fix.vehicle_type,
    )
    return Shown(region, car, fix)


class Placed(Protocol):
    """A driver: the fix that is live now, and where the index shows it, which is None if it does not."""

    live: Ping
    place: Shown | None


def changes_of(
    drivers: Iterable[Placed], gone_before_ms: int, again: Container[str] = ()
) -> tuple[dict[int, RegionChange], dict[int, RegionChange]]:
    """What the live fixes of some drivers change in the regions; the drivers' places are brought up to date.

    Those in `again` are written also where the index shows them already, as far as we know: it may have lost them,
    or another worker may have moved them.
    A fix at or before `gone_before_ms` is not written; it counts as shown, because a worker that died after
    writing it may have left it in the index, from where the next sweep will evict it, if it is there.
    Returns the regions in the order in which they are to be written, and those to be written after all of them.
    """
    changes: dict[int, RegionChange] = {}
    crossed: list[tuple[int, int, Removal]] = []  # from region, to region, removal
    for driver in drivers:
        live, before = driver.live, driver.place
        driver_id = live.driver_id
        if before is not None and before.fix is live and driver_id not in again:
            continue
        if live.vehicle_state == OFFLINE:
            if before is not None:
                driver.place = None
                _removals(changes, before.region)[driver_id] = _removal(before, live)
            continue
        driver.place = after = shown_as(live, before)
        if live.fix_time_ms <= gone_before_ms:
            if before is not None:
                _removals(changes, before.region)[driver_id] = _removal(before, live)
            continue
        region = after.region
        change = changes.get(region)
        if change is None:
            changes[region] = change = RegionChange()
        change.cars[driver_id] = after.car
        if before is not None and before.region != region:
            crossed.append((before.region, region, _removal(before, live)))
    return _ordered(changes, crossed) if crossed else (changes, {})


def region_at(fix: Ping) -> int | None:
    """The region in which the index shows a fix; None for a driver who is offline."""
    return None if fix.vehicle_state == OFFLINE else region_of(cell_of(fix.lat, fix.lon))


def _removals(changes: dict[int, RegionChange], region: int) -> dict[str, Removal]:
    return changes.setdefault(region, RegionChange()).removals


def _removal(before: Shown, live: Ping) -> Removal:
    # A withdrawn fix is followed by an older one: the removal must still beat the car that it removes.
    return Removal(live.driver_id, max(before.fix.fix_time_ms, live.fix_time_ms))


def _ordered(
    changes: dict[int, RegionChange], crossed: list[tuple[int, int, Removal]]
) -> tuple[dict[int, RegionChange], dict[int, RegionChange]]:
    """A driver who crosses is set in the new region before it is removed from the old one.

    So each region goes after the regions that its leavers went to. Drivers who cross both ways in one frame would
    make that a circle: it is cut by removing some of them in a second write of their region, at the end.
    """
    leavers: dict[int, list[tuple[int, Removal]]] = {}
    for old, new, removal in crossed:
        leavers.setdefault(old, []).append((new, removal))
    ordered = {region: change for region, change in changes.items() if region not in leavers}
    afterwards: dict[int, RegionChange] = {}

    def place(region: int) -> None:
        change = changes[region]
        for _, removal in leavers.pop(region):
            change.removals[removal.driver_id] = removal
        ordered[region] = change

    for region in leavers:
        if region not in changes:
            changes[region] = RegionChange()
    while leavers:
        free = [region for region, left in leavers.items() if all(new in ordered for new, _ in left)]
        if free:
            for region in free:
                place(region)
            continue
        # A circle: write the region that keeps the fewest leavers waiting, and those leavers afterwards.
        region = min(leavers, key=lambda at: sum(new not in ordered for new, _ in leavers[at]))
        for new, removal in leavers[region]:
            if new not in ordered:
                _removals(afterwards, region)[removal.driver_id] = removal
        leavers[region] = [(new, removal) for new, removal in leavers[region] if new in ordered]
        place(region)
    return ordered, afterwards
