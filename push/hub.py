"""Who watches what: standing queries by small cell, riders by query, regions by how many queries need them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from push.mirror import Change
from push.nearby import CellChange, Cells, Query, Standing
from push.outbox import Outbox


class Hub:
    """Riders who ask the same share one standing query, its computation and its encoding."""

    def __init__(self) -> None:
        self._standing: dict[Query, Standing] = {}
        self._outboxes: dict[Standing, dict[Outbox, None]] = {}
        self._watchers: dict[int, set[Standing]] = {}
        self._interest: dict[int, int] = {}

    def __len__(self) -> int:
        """Distinct standing queries."""
        return len(self._standing)

    @property
    def regions(self) -> Iterable[int]:
        """Regions that somebody looks at."""
        return self._interest.keys()

    def stand(self, query: Query, cells: Cells) -> tuple[Standing, list[int]]:
        """The standing query for `query`, and regions that nobody looked at before."""
        query = query.shared()
        standing = self._standing.get(query)
        if standing is not None:
            return standing, []
        standing = self._standing[query] = Standing(query, cells)
        self._outboxes[standing] = {}
        for cell in standing.cover.cells:
            self._watchers.setdefault(cell, set()).add(standing)
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
        for cell in standing.cover.cells:
            watchers = self._watchers[cell]
            watchers.discard(standing)
            if not watchers:
                del self._watchers[cell]
        unwatched = []
        for region in standing.cover.regions:
            self._interest[region] -= 1
            if not self._interest[region]:
                del self._interest[region]
                unwatched.append(region)
        return unwatched

    def move(self, outbox: Outbox, query: Query, cells: Cells) -> tuple[list[int], list[int]]:
        """The outbox's rider looks elsewhere. Returns regions nobody looked at before, and those nobody does now."""
        standing, fresh = self.stand(query, cells)
        if standing is outbox.standing:
            return [], []
        unwatched = self.leave(outbox)
        outbox.switch(standing)
        self.join(outbox)
        return fresh, unwatched

    def evaluate(self, changes: Iterable[Change], cells: Cells) -> list[Outbox]:
        """Bring every standing query up to date with what was settled; returns the outboxes that are owed something."""
        touched: dict[int, CellChange] = {}
        watchers = self._watchers
        for driver_id, before, after in changes:
            to_cell = 0
            if after is not None:
                to_cell = after.car.cell
                if to_cell in watchers:
                    change = touched.get(to_cell)
                    if change is None:
                        change = touched[to_cell] = CellChange()
                    change.arrivals.append(after)
            if before is not None and before.car.cell != to_cell and before.car.cell in watchers:
                change = touched.get(before.car.cell)
                if change is None:
                    change = touched[before.car.cell] = CellChange()
                change.departures.append((driver_id, to_cell))
        reached: list[Standing] = []
        for cell, change in touched.items():
            for standing in watchers[cell]:
                if not standing.touched:
                    reached.append(standing)
                standing.touched.append((cell, change))
        owed: list[Outbox] = []
        for standing in reached:
            batch = standing.evaluate(cells)
            if batch:
                for outbox in self._outboxes[standing]:
                    outbox.owe(batch)
                    owed.append(outbox)
        return owed
