"""An index, its mirror, and riders on it; and who should be near each of them, by brute force."""

from __future__ import annotations

import h3.api.basic_int as h3

from push.hub import Hub
from push.mirror import Mirror
from push.nearby import Query
from push.outbox import Outbox
from stream.channels import Car, cell_of
from tests.push.index import IndexModel, brute_force
from tests.push.view import View

STALE_MS, GONE_MS = 30_000, 120_000
NOW_MS = 1_700_000_000_000


class World:
    """Everything is delivered at the next tick; riders take when they are told to. `queries` is what each one asks."""

    queries: dict[int, Query]

    def __init__(self) -> None:
        self.index, self.mirror = IndexModel(), Mirror(STALE_MS, GONE_MS)
        self.hub = Hub(self.mirror)
        self.now_ms = NOW_MS
        self.riders: list[tuple[Outbox, View]] = []

    def ride(self, query: Query) -> tuple[Outbox, View]:
        standing, fresh = self.hub.stand(query)
        outbox = Outbox("map", standing)
        self.hub.join(outbox)
        self.follow(fresh, [])
        self.riders.append((outbox, View()))
        return self.riders[-1]

    def follow(self, fresh: list[int], unwatched: list[int]) -> None:
        for region in fresh:
            self.mirror.expect(region)
            self.mirror.apply_snapshot(region, self.index.snapshot(region))
        for region in unwatched:
            self.mirror.drop(region)

    def tick(self) -> None:
        for region, delta in self.index.published:
            self.mirror.apply_delta(region, delta)
        self.index.published = []
        self.hub.evaluate(self.mirror.settle(self.now_ms))

    def take(self, rider: int) -> None:
        outbox, view = self.riders[rider]
        while outbox:
            message = outbox.take(self.mirror.now_ms)
            if message is not None:
                view.fold(message.payload)

    def expected(self, query: Query) -> dict[str, Car]:
        # A fix that was taken back hides the car from whoever saw the newer one; these tests do not take back.
        cars = list(self.index.at.values())
        if query.rings is not None:
            disk = set(h3.grid_disk(cell_of(query.lat, query.lon), query.rings))
            query = query.shared()
            cars, radius_m = [each for each in cars if each.cell in disk], 1e9
        else:
            radius_m = query.radius_m or 0.0
        centre = (query.lat, query.lon)
        return brute_force(cars, self.now_ms, GONE_MS, centre, radius_m, query.limit, query.vehicle_types)

    def check(self, rider: int) -> None:
        outbox, view = self.riders[rider]
        expected = self.expected(self.queries[rider])
        assert outbox.standing.view.keys() == expected.keys()
        assert {
            driver_id: (each["lat"], each["lon"], each["fix_time_ms"]) for driver_id, each in view.cars.items()
        } == {driver_id: (each.lat, each.lon, each.fix_time_ms) for driver_id, each in expected.items()}
        for each in view.cars.values():
            assert each["freshness"] == ("stale" if self.now_ms - each["fix_time_ms"] >= STALE_MS else "live")
