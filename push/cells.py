"""The H3 cells around a place as GeoJSON, for the live map to draw. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

import h3.api.basic_int as h3

from stream.channels import CELL_RESOLUTION

#: ~2,000 polygons are 200 m² of screen each at the widest radius and ~90 kB on the wire; a bigger circle loses its rim.
MAX_CELLS: Final = 2_000
#: Rings of a resolution 9 disk are at least this far apart: 1.5 average edges (301 m), less H3's distortion (~20 %).
MIN_RING_M: Final = 240.0
#: No point of a cell is farther than this from its centre (average edge 201 m, plus distortion).
CELL_RADIUS_M: Final = 250.0


def cells_around(lat: float, lon: float, radius_m: float) -> list[int]:
    """The cells that may reach into the circle, nearest first, at most MAX_CELLS."""
    rings = math.ceil((radius_m + CELL_RADIUS_M) / MIN_RING_M)
    # 3k(k+1)+1 cells in k rings: no more rings than MAX_CELLS can come from, with room for the disk being a hexagon.
    rings = min(rings, math.ceil(math.sqrt(MAX_CELLS / 3) * 1.2))
    center = h3.latlng_to_cell(lat, lon, CELL_RESOLUTION)
    by_distance = sorted(
        (h3.great_circle_distance((lat, lon), h3.cell_to_latlng(cell), unit="m"), int(cell))
        for cell in h3.grid_disk(center, rings)
    )
    return [cell for distance_m, cell in by_distance[:MAX_CELLS] if distance_m <= radius_m + CELL_RADIUS_M]


def cells_geojson(lat: float, lon: float, radius_m: float) -> dict[str, Any]:
    """A FeatureCollection of hexagons; a feature's `id` is the cell as cars name it in `cell`."""
    return {
        "type": "FeatureCollection",
        "features": [_feature(cell) for cell in cells_around(lat, lon, radius_m)],
    }


def _feature(cell: int) -> dict[str, Any]:
    ring = [[round(lon, 6), round(lat, 6)] for lat, lon in h3.cell_to_boundary(cell)]
    # A cell across the antimeridian is drawn on one side of it: no edge of a small cell spans half the world.
    ring = [[lon + 360 if lon < 0 and ring[0][0] > 0 and ring[0][0] - lon > 180 else lon, lat] for lon, lat in ring]
    ring = [[lon - 360 if lon > 0 and ring[0][0] < 0 and lon - ring[0][0] > 180 else lon, lat] for lon, lat in ring]
    return {
        "type": "Feature",
        "id": h3.int_to_str(cell),
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
    }
