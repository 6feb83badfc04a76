"""The index as plain dictionaries, with the rules of the scripts: what the decisions of stream are judged against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stream.channels import Car
from stream.partitions import PartitionWrite, Record
from stream.regions import RegionChange, Shown


@dataclass
class IndexModel:
    """`regions` holds region -> driver -> car; `record` is the partition's."""

    regions: dict[int, dict[str, Car]] = field(default_factory=dict)
    fences: dict[tuple[int, str], int] = field(default_factory=dict)
    record: Record | None = None

    def _apply(self, region: int, change: RegionChange, name: str, fence: int) -> None:
        if self.fences.get((region, name), -1) >= fence:
            return
        self.fences[region, name] = fence
        held = self.regions.setdefault(region, {})
        held.update(change.cars)
        for driver_id, removal in change.removals.items():
            car = held.get(driver_id)
            if car is not None and (name == "frame" or car.fix_time_ms <= removal.fix_time_ms):
                del held[driver_id]

    def steps(self, write: PartitionWrite) -> Iterator[None]:
        """Apply a write one script at a time; whoever stops asking for steps has crashed there."""
        for region, change in write.regions.items():
            self._apply(region, change, "frame", write.record.fence)
            yield
        for region, change in write.afterwards.items():
            self._apply(region, change, "afterwards", write.record.fence)
            yield
        drivers = dict(self.record.drivers) if self.record is not None else {}
        drivers.update(write.record.drivers)
        for driver_id in write.forgotten:
            drivers.pop(driver_id, None)
        last = write.record
        self.record = Record(last.epoch, last.base, last.fence, last.totals, drivers)
        yield

    def evict(self, places: list[Shown]) -> None:
        for place in places:
            held = self.regions.get(place.region, {})
            if held.get(place.car.driver_id) == place.car:
                del held[place.car.driver_id]

    def where(self, driver_id: str) -> list[int]:
        return [region for region, held in self.regions.items() if driver_id in held]

    def cars(self) -> dict[str, Car]:
        """Driver -> car. Raises AssertionError if a driver is in two regions."""
        found: dict[str, Car] = {}
        for held in self.regions.values():
            for driver_id, car in held.items():
                assert driver_id not in found, f"{driver_id} is in two regions"
                found[driver_id] = car
        return found
