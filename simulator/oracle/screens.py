"""All that the screens of all judged riders show at one moment, as columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.oracle.reach import Circles
from simulator.oracle.sphere import apart_m, unit_vectors
from simulator.riders.seat import Seat

#: The number of a driver who is not of this fleet.
STRANGER = -1


class Screens:
    """One row for each car on each screen; `circles` has one row for each seat."""

    def __init__(self, seats: Sequence[Seat], number: Mapping[str, int]) -> None:
        self.seats = seats
        lat, lon = (np.array([getattr(seat, name) for seat in seats], dtype=np.float64) for name in ("lat", "lon"))
        self.circles = Circles(
            unit_vectors(lat, lon),
            np.array([seat.radius_m for seat in seats], dtype=np.float64),
            np.array([seat.limit for seat in seats], dtype=np.int64),
        )
        self.cars = cars = [car for seat in seats for car in seat.cars.values()]
        self.seat = np.repeat(np.arange(len(seats)), [len(seat.cars) for seat in seats])
        # Neighbours share what they were told (riders/reading.py): each is looked at once.
        row_of = {id(car): row for row, car in enumerate(cars)}
        told = [cars[row] for row in row_of.values()]
        position = {each: at for at, each in enumerate(row_of)}
        which = np.array([position[id(car)] for car in cars], dtype=np.int64)
        self.driver = np.array([number.get(car.driver_id, STRANGER) for car in told], dtype=np.int64)[which]
        self.fix_time_ms = np.array([car.fix_time_ms for car in told], dtype=np.int64)[which]
        self.live = np.array([car.freshness == "live" for car in told], dtype=np.bool_)[which]
        lat, lon = np.array([car.lat for car in told], np.float64), np.array([car.lon for car in told], np.float64)
        self.vectors = unit_vectors(lat, lon)[which]
        self.from_seat_m = apart_m(self.circles.vectors[self.seat], self.vectors)
