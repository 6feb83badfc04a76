"""Standing queries: which cars are near a place now, and what entered, moved and left since the last tick. Pure.

Only changes in cells that the query's cover holds are looked at. A cell that lies wholly inside needs no distance, and
a car that moves within one is not looked at at all: the cell's moves are taken over as they are, already encoded. In
the other cells each car gets its exact distance (haversine, `<=`). While there are more matches than the limit, the
nearest are kept by (distance, driver id), see `nearest.py`, and only changes near enough are looked at, `crowds.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import h3.api.basic_int as h3
import msgspec

from push.cover import Cover, cover_circle, cover_rings
from push.mirror import Change, Marker, Mirror
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
    """What happened in one small cell since the last tick. `body` caches the JSON of `moved` as of `at_ms`."""

    __slots__ = ("arrivals", "at_ms", "body", "cell", "departures", "moved")

    def __init__(self, cell: int) -> None:
        self.cell = cell
        self.moved: list[Marker] = []  # were here before: moved, or turned stale
        self.arrivals: list[Marker] = []  # came from elsewhere, or were not shown
        self.departures: list[tuple[str, int]] = []  # driver, and the cell it went to or 0
        self.body, self.at_ms = b"", 0


class Batch:
    """What one tick changed for everyone who shares a query. `tail` caches its JSON as of `at_ms`.

    Cars that moved are `move`, and all of `moved_in`'s `moved`.
    """

    __slots__ = ("_positions", "at_ms", "enter", "leave", "move", "moved_in", "tail")

    def __init__(
        self, enter: list[Marker], move: list[Marker], leave: list[str], moved_in: Sequence[CellChange] = ()
    ) -> None:
        self.enter, self.move, self.leave, self.moved_in = enter, move, leave, moved_in
        self.tail, self.at_ms, self._positions = b"", 0, -1

    def __bool__(self) -> bool:
        return bool(self.moved_in or self.move or self.enter or self.leave)

    @property
    def positions(self) -> int:
        if self._positions < 0:
            self._positions = len(self.enter) + len(self.move) + sum([len(change.moved) for change in self.moved_in])
        return self._positions

    def moves(self) -> Iterator[Marker]:
        """Every car that moved."""
        yield from self.move
        for change in self.moved_in:
            yield from change.moved


class Standing:
    """One query and its answer as of the last tick: `view` holds the drivers; `shown` says where they are.

    The hub puts changes of cells of `inside` in which cars only moved into `moved_in`, all others into `touched`.
    """

    __slots__ = ("_centre", "_mirror", "_nearest", "_types", "cover", "moved_in", "query", "shown", "touched", "view")

    def __init__(self, query: Query, mirror: Mirror) -> None:
        """Answers from what the mirror shows now."""
        self.query, self.cover = query, query.cover()
        self._mirror, self.shown = mirror, mirror.shown
        self._centre, self._types = (query.lat, query.lon), query.vehicle_types
        self.touched: list[CellChange] = []
        self.moved_in: list[CellChange] = []
        self.view: dict[str, None] = {}
        self._nearest: Nearest | None = None
        for cell, far_m in self.cover.cells.items():
            bucket = mirror.cells.get(cell)
            if bucket:
                inside = far_m <= self.cover.inside_m
                for driver_id, marker in bucket.items():
                    if self._matches(marker.car, inside):
                        self.view[driver_id] = None
                if len(self.view) > query.limit:
                    self._crowd()
                    break

    def distance_m(self, car: Car) -> float:
        return float(h3.great_circle_distance(self._centre, (car.lat, car.lon), unit="m"))

    def _matches(self, car: Car, inside: bool) -> bool:
        if self._types is not None and car.vehicle_type not in self._types:
            return False
        return inside or self.distance_m(car) <= self.cover.inside_m

    def _crowd(self) -> None:
        self._nearest = Nearest(self.query.limit, self.cover, self.distance_m, self._types)
        self._nearest.fill(self._mirror.cells)
        self.view = self._nearest.view()

    @property
    def is_crowded(self) -> bool:
        """Whether there are more cars than the limit: what changes is then to be told by `evaluate_nearest`."""
        return self._nearest is not None

    @property
    def reach_m(self) -> float:
        """While it is crowded: no car beyond this concerns the query."""
        return self._nearest.reach_m if self._nearest is not None else self.cover.reach_m

    def is_inside(self, cell: int) -> bool:
        """Whether every car of the cell matches."""
        return self._types is None and self.cover.cells[cell] <= self.cover.inside_m

    def evaluate(self) -> Batch:
        """Take in what changed since the last call; the mirror has just settled."""
        touched, moved_in = self.touched, self.moved_in
        self.moved_in = []
        if touched:
            self.touched = []
        return self._evaluate_all(touched, moved_in) if touched else Batch([], [], [], moved_in)

    def _evaluate_all(self, touched: list[CellChange], moved_in: list[CellChange]) -> Batch:
        view, spans, inside_m = self.view, self.cover.cells, self.cover.inside_m
        enter: list[Marker] = []
        move: list[Marker] = []
        leave: list[str] = []
        for change in touched:
            for driver_id, to_cell in change.departures:
                if to_cell not in spans and driver_id in view:
                    del view[driver_id]
                    leave.append(driver_id)
            unseen = change.arrivals
            if change.moved:
                if self.is_inside(change.cell):
                    moved_in.append(change)
                else:
                    unseen = unseen + change.moved
            inside = spans[change.cell] <= inside_m
            for marker in unseen:
                driver_id = marker.driver_id
                if self._matches(marker.car, inside):
                    if driver_id in view:
                        move.append(marker)
                    else:
                        view[driver_id] = None
                        enter.append(marker)
                elif driver_id in view:
                    del view[driver_id]
                    leave.append(driver_id)
        batch = Batch(enter, move, leave, moved_in)
        return batch if len(view) <= self.query.limit else self._become_crowded(batch)

    def _become_crowded(self, batch: Batch) -> Batch:
        """There are more than the limit now: those beyond the nearest leave, or do not enter."""
        known = self.view.keys() - {marker.driver_id for marker in batch.enter}
        self._crowd()
        kept = self.view
        return Batch(
            [marker for marker in batch.enter if marker.driver_id in kept],
            [marker for marker in batch.moves() if marker.driver_id in kept],
            batch.leave + sorted(known - kept.keys()),
        )

    def evaluate_nearest(self, changes: Sequence[Change]) -> Batch:
        """`evaluate` while there are more than the limit; `changes` are all within `reach_m`, before or after."""
        nearest, before, shown = self._nearest, self.view, self.shown
        assert nearest is not None
        for driver_id, _, after in changes:
            nearest.move(driver_id, after)
        nearest.settle(self._mirror.cells)
        # Somebody else comes or goes only when one of these does: no others have moved.
        edge, move, same = nearest.edge(), [], True
        for driver_id, _, after in changes:
            if nearest.is_within(edge, driver_id) is not (driver_id in before):
                same = False
            elif after is not None and driver_id in before:
                move.append(after)
        if same:
            return Batch([], move, [])
        view = self.view = nearest.view()
        if nearest.holds_all() and len(view) <= self.query.limit * CALM_SHARE:
            self._nearest = None
        return Batch(
            [shown[driver_id] for driver_id in view if driver_id not in before],
            move,
            [driver_id for driver_id in before if driver_id not in view],
        )
