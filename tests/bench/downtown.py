"""The dense city of benchmark 5: 2,000 cars on 60 km², each reporting once a second, and riders among them."""

from __future__ import annotations

import random
from math import cos, radians, sin

import h3.api.basic_int as h3

from stream.channels import CELL_RESOLUTION, Car, cell_of

CENTRE_LAT, CENTRE_LON = 40.755, -73.975
#: 7.75 km x 7.75 km; riders stand in the inner square, so that all of a rider's circle is city.
SIDE_M, INNER_SIDE_M = 7_750.0, 5_700.0
CARS = 2_000
#: A car circles at this distance around its place, so that the density stays while every fix is new.
CIRCLE_M, SPEED_MPS = 60.0, 8.0
#: 37 cells around the rider's, 3.9 km² with 33 cars a km²: a rider watches ~130 cars.
RINGS = 3
#: Riders of one cell stand at different points of it, none nearer to its edge than ~40 m.
SCATTER_M = 120.0
M_PER_DEG = 111_195.0
_LON_SCALE = cos(radians(CENTRE_LAT))


def offset(lat: float, lon: float, north_m: float, east_m: float) -> tuple[float, float]:
    """The point that far away, in degrees with 6 decimals."""
    return round(lat + north_m / M_PER_DEG, 6), round(lon + east_m / M_PER_DEG / _LON_SCALE, 6)


def homes(seed: int = 3) -> list[tuple[float, float]]:
    """The middle of each car's circle."""
    rng, half = random.Random(seed), SIDE_M / 2
    return [offset(CENTRE_LAT, CENTRE_LON, rng.uniform(-half, half), rng.uniform(-half, half)) for _ in range(CARS)]


def fix(home: tuple[float, float], number: int, round_: int) -> tuple[float, float]:
    """Where car `number` is in its `round_`-th second."""
    angle = number * 2.4 + round_ * SPEED_MPS / CIRCLE_M
    return offset(*home, CIRCLE_M * cos(angle), CIRCLE_M * sin(angle))


def car(home: tuple[float, float], number: int, round_: int, now_ms: int) -> Car:
    """The car as the index holds it."""
    lat, lon = fix(home, number, round_)
    return Car(driver_id(number), now_ms - 40, lat, lon, cell_of(lat, lon), now_ms, 6.5, 231.0, SPEED_MPS, "")


def driver_id(number: int) -> str:
    return f"driver-{number:05d}"


def riders(count: int, per_cell: int) -> list[tuple[float, float]]:
    """Where `count` riders stand, `per_cell` of them in each cell, in cells nearest to the middle first."""
    middle = h3.latlng_to_cell(CENTRE_LAT, CENTRE_LON, CELL_RESOLUTION)
    half_deg = INNER_SIDE_M / 2 / M_PER_DEG
    cells = []
    for cell in sorted(h3.grid_disk(middle, 14), key=lambda cell: (h3.grid_distance(middle, cell), cell)):
        lat, lon = h3.cell_to_latlng(cell)
        if abs(lat - CENTRE_LAT) <= half_deg and abs(lon - CENTRE_LON) * _LON_SCALE <= half_deg:
            cells.append((lat, lon))
    wanted = -(-count // per_cell)
    if len(cells) < wanted:
        raise ValueError(f"the inner city has {len(cells)} cells, not {wanted}")
    # Spread over the inner city, not all in its middle.
    chosen = [cells[index * len(cells) // wanted] for index in range(wanted)]
    places = []
    for number in range(count):
        far_m, angle = SCATTER_M * ((number // wanted + 0.5) / per_cell) ** 0.5, number * 2.399963
        places.append(offset(*chosen[number % wanted], far_m * cos(angle), far_m * sin(angle)))
    return places
