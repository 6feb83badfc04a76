"""One look at the cars near a place: what a standing query's snapshot would hold, for those who ask once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from push.mirror import Marker, Mirror
from push.nearby import Query, Standing
from stream.channels import Car, RegionSnapshot

#: The mirror of one look has no regions to tell apart.
_ALL = 0


def glance(
    query: Query, snapshots: Iterable[RegionSnapshot], now_ms: int, stale_after_ms: int, gone_after_ms: int
) -> list[Marker]:
    """The cars that match as of `now_ms` (event time), nearest first. `snapshots` are of the cover's regions.

    A driver that two regions name, because it is crossing, is where the newer fix is.
    """
    newest: dict[str, Car] = {}
    for snapshot in snapshots:
        for car in snapshot.cars:
            known = newest.get(car.driver_id)
            if known is None or car.fix_time_ms > known.fix_time_ms:
                newest[car.driver_id] = car
    cells = query.cover().cells
    mirror = Mirror(stale_after_ms, gone_after_ms)
    mirror.expect(_ALL)
    mirror.apply_snapshot(_ALL, RegionSnapshot(1, 1, [car for car in newest.values() if car.cell in cells]))
    mirror.settle(now_ms)
    standing = Standing(query, mirror)
    found = [mirror.shown[driver_id] for driver_id in standing.view]
    return sorted(found, key=lambda marker: (standing.distance_m(marker.car), marker.driver_id))
