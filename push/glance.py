"""One look at the cars near a place: what a standing query's snapshot would hold, for those who ask once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import h3.api.basic_int as h3

from push.mirror import Marker
from push.nearby import Query
from stream.channels import Car, RegionSnapshot


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
    cover, centre, types = query.cover(), (query.lat, query.lon), query.vehicle_types
    near: list[tuple[float, str, Marker]] = []
    for car in newest.values():
        age_ms = now_ms - car.fix_time_ms
        if car.cell in cover.cells and age_ms < gone_after_ms and (types is None or car.vehicle_type in types):
            distance_m = h3.great_circle_distance(centre, (car.lat, car.lon), unit="m")
            if distance_m <= cover.inside_m:
                near.append((distance_m, car.driver_id, Marker(car, age_ms >= stale_after_ms)))
    return [marker for _, _, marker in sorted(near)[: query.limit]]
