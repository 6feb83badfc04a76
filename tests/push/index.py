"""A plain model of the index in Redis: what it holds, what it publishes, and what a rider should see of it."""

from __future__ import annotations

from stream.channels import Car, RegionDelta, RegionSnapshot, Removal, region_of
from tests.push.city import distance_m


class IndexModel:
    """Writes as the stream job does: the new region first, then the old one. `published` is what pub/sub carries."""

    def __init__(self) -> None:
        self.epoch = 7
        self.regions: dict[int, dict[str, Car]] = {}
        self.seqs: dict[int, int] = {}
        self.epochs: dict[int, int] = {}
        self.at: dict[str, Car] = {}
        self.published: list[tuple[int, RegionDelta]] = []

    def put(self, car: Car) -> None:
        """The driver's live fix is this one now (it may be older than the one before: a fix was taken back)."""
        before = self.at.get(car.driver_id)
        self.at[car.driver_id] = car
        region = region_of(car.cell)
        self._write(region, [car], [])
        if before is not None and region_of(before.cell) != region:
            newer = max(before.fix_time_ms, car.fix_time_ms)
            self._write(region_of(before.cell), [], [Removal(car.driver_id, newer)])

    def remove(self, driver_id: str) -> None:
        """The driver went offline, or silent for too long."""
        car = self.at.pop(driver_id, None)
        if car is not None:
            self._write(region_of(car.cell), [], [Removal(driver_id, car.fix_time_ms)])

    def wipe(self) -> None:
        """Redis lost everything; the workers still know it (see `rewrite`)."""
        self.regions, self.seqs, self.epochs = {}, {}, {}
        self.epoch += 1

    def rewrite(self) -> None:
        for car in list(self.at.values()):
            self._write(region_of(car.cell), [car], [])

    def touch(self, region: int) -> None:
        """A change of nothing."""
        self._write(region, [], [])

    def _write(self, region: int, cars: list[Car], removals: list[Removal]) -> None:
        held = self.regions.setdefault(region, {})
        held.update((car.driver_id, car) for car in cars)
        for removal in removals:
            held.pop(removal.driver_id, None)
        seq = self.seqs[region] = self.seqs.get(region, 0) + 1
        epoch = self.epochs.setdefault(region, self.epoch)
        self.published.append((region, RegionDelta(epoch, seq, cars, removals)))

    def snapshot(self, region: int) -> RegionSnapshot:
        cars = list(self.regions.get(region, {}).values())
        return RegionSnapshot(self.epochs.get(region, 0), self.seqs.get(region, 0), cars)


def brute_force(
    cars: list[Car],
    now_ms: int,
    gone_after_ms: int,
    centre: tuple[float, float],
    radius_m: float,
    limit: int,
    vehicle_types: frozenset[str] | None = None,
) -> dict[str, Car]:
    """Who is near, by looking at every car there is."""
    found = sorted(
        (distance_m(centre, (car.lat, car.lon)), car.driver_id, car)
        for car in cars
        if now_ms - car.fix_time_ms < gone_after_ms and (vehicle_types is None or car.vehicle_type in vehicle_types)
    )
    return {driver_id: car for far_m, driver_id, car in [each for each in found if each[0] <= radius_m][:limit]}
