"""Standing queries: which cars are near a place now, and what entered, moved and left since the last tick. Pure.

Only changed cars in cells that the query's cover holds are looked at. Cars of cells that lie wholly inside need no
distance; the others get the exact one (haversine, `<=`). While there are more matches than the limit, the nearest
are kept by (distance, driver id), see `nearest.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import h3.api.basic_int as h3
import msgspec

from push.cover import Cover, cover_circle, cover_rings
from push.mirror import Marker
from push.nearest import Nearest
from stream.channels import Car, cell_of

#: After a crowd, distances are kept until this share of the limit is left, so that a query does not flap.
CALM_SHARE: Final = 0.75


class Query(msgspec.Struct, frozen=True):
    """What a rider asks: cars within `radius_m` of a place, or in `rings` H3 rings (res 9) around the place's cell.

    Exactly one of the two is given. The nearest `limit` are kept. `vehicle_types` is None for all.
    """

    lat: float
    lon: float
    limit: int
    radius_m: float | None = None
    rings: int | None = None
    vehicle_types: frozenset[str] | None = None

    def shared(self) -> Query:
        """The query that all riders share who ask this: rings count from the cell, so everyone in it sees the same."""
        if self.rings is None:
            return self
        lat, lon = h3.cell_to_latlng(cell_of(self.lat, self.lon))
        return msgspec.structs.replace(self, lat=lat, lon=lon)

    def cover(self) -> Cover:
        cell = cell_of(self.lat, self.lon)
        return cover_circle(cell, self.radius_m) if self.radius_m is not None else cover_rings(cell, self.rings or 0)


class CellChange:
    """What happened in one small cell since the last tick."""

    __slots__ = ("arrivals", "departures")

    def __init__(self) -> None:
        self.arrivals: list[Marker] = []  # new, moved or turned stale here
        self.departures: list[tuple[str, int]] = []  # driver, and the cell it went to or 0


class Batch:
    """What one tick changed for everyone who shares a query. `tail` caches its JSON as of `at_ms`."""

    __slots__ = ("at_ms", "enter", "leave", "move", "tail")

    def __init__(self, enter: list[Marker], move: list[Marker], leave: list[str]) -> None:
        self.enter, self.move, self.leave = enter, move, leave
        self.tail, self.at_ms = b"", 0

    def __bool__(self) -> bool:
        return bool(self.enter or self.move or self.leave)

    def positions(self) -> int:
        return len(self.enter) + len(self.move)


Cells = Mapping[int, Mapping[str, Marker]]


class Standing:
    """One query and its answer as of the last tick: `view`, driver -> marker."""

    __slots__ = ("_centre", "_nearest", "_types", "cover", "query", "touched", "view")

    def __init__(self, query: Query, cells: Cells) -> None:
        """`cells` is what the mirror shows now."""
        self.query, self.cover = query, query.cover()
        self._centre, self._types = (query.lat, query.lon), query.vehicle_types
        self.touched: list[tuple[int, CellChange]] = []
        self.view: dict[str, Marker] = {}
        self._nearest: Nearest | None = None
        for cell, far_m in self.cover.cells.items():
            bucket = cells.get(cell)
            if bucket:
                inside = far_m <= self.cover.inside_m
                self.view.update(
                    (driver_id, marker) for driver_id, marker in bucket.items() if self._matches(marker.car, inside)
                )
                if len(self.view) > query.limit:
                    break
        if len(self.view) > query.limit:
            self._crowd(cells)

    def distance_m(self, car: Car) -> float:
        return float(h3.great_circle_distance(self._centre, (car.lat, car.lon), unit="m"))

    def _matches(self, car: Car, inside: bool) -> bool:
        if self._types is not None and car.vehicle_type not in self._types:
            return False
        return inside or self.distance_m(car) <= self.cover.inside_m

    def _crowd(self, cells: Cells) -> None:
        self._nearest = Nearest(self.query.limit, self.cover, self.distance_m, self._types)
        self._nearest.fill(cells)
        self.view = self._nearest.view()

    def evaluate(self, cells: Cells) -> Batch:
        """Take in what `touched` the cover; `cells` is what the mirror shows now."""
        touched, self.touched = self.touched, []
        return self._evaluate_all(touched, cells) if self._nearest is None else self._evaluate_nearest(touched, cells)

    def _evaluate_all(self, touched: list[tuple[int, CellChange]], cells: Cells) -> Batch:
        view, spans, inside_m, types = self.view, self.cover.cells, self.cover.inside_m, self._types
        enter: list[Marker] = []
        move: list[Marker] = []
        leave: list[str] = []
        for cell, change in touched:
            for driver_id, to_cell in change.departures:
                if to_cell not in spans and view.pop(driver_id, None) is not None:
                    leave.append(driver_id)
            free = types is None and spans[cell] <= inside_m
            inside = spans[cell] <= inside_m
            for marker in change.arrivals:
                driver_id = marker.driver_id
                if free or self._matches(marker.car, inside):
                    before = view.get(driver_id)
                    if before is None:
                        enter.append(marker)
                    elif before is marker:
                        continue
                    else:
                        move.append(marker)
                    view[driver_id] = marker
                elif view.pop(driver_id, None) is not None:
                    leave.append(driver_id)
        if len(view) <= self.query.limit:
            return Batch(enter, move, leave)
        known = view.keys() - {marker.driver_id for marker in enter}
        self._crowd(cells)
        kept = self.view
        leave += sorted(known - kept.keys())
        return Batch(
            [marker for marker in enter if marker.driver_id in kept],
            [marker for marker in move if marker.driver_id in kept],
            leave,
        )

    def _evaluate_nearest(self, touched: list[tuple[int, CellChange]], cells: Cells) -> Batch:
        nearest, before = self._nearest, self.view
        assert nearest is not None
        spans = self.cover.cells
        for cell, change in touched:
            for driver_id, to_cell in change.departures:
                if to_cell not in spans:
                    nearest.discard(driver_id)
            nearest.put_all(cell, change.arrivals)
        nearest.refill(cells)
        after = self.view = nearest.view()
        if nearest.holds_all() and len(after) <= self.query.limit * CALM_SHARE:
            self._nearest = None
        return Batch(
            [marker for driver_id, marker in after.items() if driver_id not in before],
            [marker for driver_id, marker in after.items() if before.get(driver_id, marker) is not marker],
            [driver_id for driver_id in before if driver_id not in after],
        )
