"""Who watches what: standing queries by small cell, riders by query, regions by how many queries need them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from push.crowds import Crowds
from push.mirror import Change, Mirror
from push.nearby import CellChange, Query, Standing
from push.outbox import Outbox


class Hub:
    """Riders who ask the same share one standing query, its computation and its encoding."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._standing: dict[Query, Standing] = {}
        self._outboxes: dict[Standing, dict[Outbox, None]] = {}
        # Queries by cell: those that every car of the cell matches, and those that have to look.
        self._inside: dict[int, dict[Standing, None]] = {}
        self._looking: dict[int, dict[Standing, None]] = {}
        self._crowds = Crowds()
        self._interest: dict[int, int] = {}

    def __len__(self) -> int:
        """Distinct standing queries."""
        return len(self._standing)

    @property
    def regions(self) -> Iterable[int]:
        """Regions that somebody looks at."""
        return self._interest.keys()

    def stand(self, query: Query) -> tuple[Standing, list[int]]:
        """The standing query for `query`, and regions that nobody looked at before."""
        query = query.shared()
        standing = self._standing.get(query)
        if standing is not None:
            return standing, []
        standing = self._standing[query] = Standing(query, self._mirror)
        self._outboxes[standing] = {}
        self._listen(standing)
        fresh = []
        for region in standing.cover.regions:
            self._interest[region] = self._interest.get(region, 0) + 1
            if self._interest[region] == 1:
                fresh.append(region)
        return standing, fresh

    def join(self, outbox: Outbox) -> None:
        """The outbox is owed what changes in its standing query from now on."""
        self._outboxes[outbox.standing][outbox] = None

    def leave(self, outbox: Outbox) -> list[int]:
        """The outbox is owed nothing more. Returns the regions that nobody looks at any longer."""
        standing = outbox.standing
        outboxes = self._outboxes[standing]
        outboxes.pop(outbox, None)
        if outboxes:
            return []
        del self._outboxes[standing], self._standing[standing.query]
        self._ignore(standing)
        unwatched = []
        for region in standing.cover.regions:
            self._interest[region] -= 1
            if not self._interest[region]:
                del self._interest[region]
                unwatched.append(region)
        return unwatched

    def _listen(self, standing: Standing) -> None:
        """Changes reach the query from now on: by its cells, or by its reach while it is crowded."""
        if standing.is_crowded:
            self._crowds.add(standing)
            return
        for cell in standing.cover.cells:
            self._watchers(standing, cell).setdefault(cell, {})[standing] = None

    def _ignore(self, standing: Standing) -> None:
        if standing in self._crowds:
            self._crowds.remove(standing)
            return
        for cell in standing.cover.cells:
            watchers = self._watchers(standing, cell)
            del watchers[cell][standing]
            if not watchers[cell]:
                del watchers[cell]

    def _watchers(self, standing: Standing, cell: int) -> dict[int, dict[Standing, None]]:
        return self._inside if standing.is_inside(cell) else self._looking

    def move(self, outbox: Outbox, query: Query) -> tuple[list[int], list[int]]:
        """The outbox's rider looks elsewhere. Returns regions nobody looked at before, and those nobody does now."""
        standing, fresh = self.stand(query)
        if standing is outbox.standing:
            return [], []
        unwatched = self.leave(outbox)
        outbox.switch(standing)
        self.join(outbox)
        return fresh, unwatched

    def evaluate(self, changes: Sequence[Change]) -> list[Outbox]:
        """Bring every standing query up to date with what was settled; returns the outboxes that are owed something."""
        reached: dict[Standing, None] = {}
        for cell, change in self._by_cell(changes).items():
            looking, inside = self._looking.get(cell, ()), self._inside.get(cell, ())
            if change.arrivals or change.departures:
                looking, inside = (*looking, *inside), ()
            for standing in looking:
                standing.touched.append(change)
                reached[standing] = None
            for standing in inside:
                standing.moved_in.append(change)
                reached[standing] = None
        batches = [(standing, standing.evaluate()) for standing in reached]
        batches += [
            (standing, standing.evaluate_nearest(near)) for standing, near in self._crowds.near(changes).items()
        ]
        owed: list[Outbox] = []
        for standing, batch in batches:
            if standing.is_crowded != (standing in self._crowds):
                self._ignore(standing)
                self._listen(standing)
            elif standing.is_crowded:
                self._crowds.reach(standing)
            if batch:
                outboxes = self._outboxes[standing]
                for outbox in outboxes:
                    outbox.owe(batch)
                owed += outboxes
        return owed

    def _by_cell(self, changes: Iterable[Change]) -> dict[int, CellChange]:
        """The changes of cells that somebody watches."""
        found: dict[int, CellChange] = {}
        for driver_id, before, after in changes:
            from_cell = before.car.cell if before is not None else 0
            to_cell = after.car.cell if after is not None else 0
            if after is not None and (to_cell in self._inside or to_cell in self._looking):
                change = found.get(to_cell)
                if change is None:
                    change = found[to_cell] = CellChange(to_cell)
                (change.moved if from_cell == to_cell else change.arrivals).append(after)
            if from_cell != to_cell and (from_cell in self._inside or from_cell in self._looking):
                change = found.get(from_cell)
                if change is None:
                    change = found[from_cell] = CellChange(from_cell)
                change.departures.append((driver_id, to_cell))
        return found
