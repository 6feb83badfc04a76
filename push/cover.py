"""The small cells and regions a rider's circle can touch: never too few, and the same for all riders of a cell. Pure.

    a rider anywhere in the centre's cell           keep a cell when
    looks at a point p within `radius_m`:             distance(centre of centre's cell, centre of cell)
                                                        <= R(centre's cell) + radius_m + R(cell)
      centre o--R--x rider ---radius--- p --R-- o     where R is the farthest corner of a cell: by the triangle
             (cell)                       (cell)      inequality no cell that holds such a p is left out

Regions are taken from the cells' parents and never from geometry: a car is indexed under the ancestor of its small
cell, and a small cell can stick out of its ancestor.
"""

from __future__ import annotations

import math
from functools import lru_cache

import h3.api.basic_int as h3

from stream.channels import region_of

#: Floating point in H3's projections stays far below this (measured: < 1e-6 m); it costs no extra cell worth naming.
ROUNDING_M = 0.5
#: A cover of 1 km is ~60 cells and ~8 kB, of 5 km ~900 cells and ~100 kB; riders of one small cell share it.
CACHED_COVERS = 1_024
#: A city of 1,000 km² is 10,000 small cells.
CACHED_CELLS = 131_072


class Cover:
    """Cells (resolution 9) that can hold a match, nearest first, and the regions (resolution 6) they are indexed in.

    `cells` maps a cell to the farthest that a point of it can be from a rider in the centre's cell; no point of it is
    nearer than that less `spread_m`. Where the farthest is at most `inside_m`, every point of the cell matches.
    """

    __slots__ = ("cells", "inside_m", "reach_m", "regions", "spread_m")

    def __init__(self, cells: dict[int, float], spread_m: float, inside_m: float) -> None:
        self.cells, self.spread_m, self.inside_m = cells, spread_m, inside_m
        self.regions = frozenset(region_of(cell) for cell in cells)
        #: No match is farther away than this.
        self.reach_m = min(inside_m, max(cells.values(), default=0.0))


@lru_cache(maxsize=CACHED_CELLS)
def _centre_and_radius(cell: int) -> tuple[tuple[float, float], float]:
    centre = h3.cell_to_latlng(cell)
    return centre, max(h3.great_circle_distance(centre, corner, unit="m") for corner in h3.cell_to_boundary(cell))


def _spans(cells: list[int], around: int) -> tuple[dict[int, float], float]:
    """Each cell with its farthest distance from a rider in `around`, nearest first, and twice the largest slack."""
    centre, slack_m = _centre_and_radius(around)
    spans: list[tuple[float, int]] = []
    widest_m = 0.0
    for cell in cells:
        middle, radius_m = _centre_and_radius(cell)
        widest_m = max(widest_m, radius_m)
        spans.append((h3.great_circle_distance(centre, middle, unit="m") + radius_m + slack_m + ROUNDING_M, cell))
    spans.sort()
    return {cell: far_m for far_m, cell in spans}, 2 * (widest_m + slack_m + ROUNDING_M)


@lru_cache(maxsize=CACHED_COVERS)
def cover_circle(cell: int, radius_m: float) -> Cover:
    """The cover of every circle of `radius_m` whose centre is in `cell`.

    The cells that touch the circle hang together, so once a whole ring of a disk touches it nowhere, nothing outside
    that ring does.
    """
    _, slack_m = _centre_and_radius(cell)
    # Rings are about 1.5 of a corner's distance apart; where H3 squeezes them, the loop adds some.
    rings = math.ceil((radius_m + 2 * slack_m) / (1.5 * slack_m)) + 1
    while True:
        disk = {int(each) for each in h3.grid_disk(cell, rings)}
        spans, spread_m = _spans(list(disk), cell)
        kept = {each: far_m for each, far_m in spans.items() if far_m - 2 * _slack(each, slack_m) <= radius_m}
        rim = disk.difference(h3.grid_disk(cell, rings - 1))
        if rim.isdisjoint(kept):
            return Cover(kept, spread_m, radius_m)
        rings += 2


def _slack(cell: int, centre_slack_m: float) -> float:
    return _centre_and_radius(cell)[1] + centre_slack_m + ROUNDING_M


@lru_cache(maxsize=CACHED_COVERS)
def cover_rings(cell: int, rings: int) -> Cover:
    """The disk of `rings` H3 rings around `cell`: a car matches by its cell alone."""
    spans, spread_m = _spans([int(each) for each in h3.grid_disk(cell, rings)], cell)
    return Cover(spans, spread_m, math.inf)
