"""Zones on the map: which of them a position is in, exactly, and whether it has left one for good. Pure.

A cell of resolution 9 is looked at once, when the first car comes to it: the STRtree gives the polygons near it, and
it is noted which of them hold the whole cell (no geometry test from then on) and which have their border in it (an
exact test for each car). Nothing is computed for cells in which nobody drives, so a zone may be as large as a country.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, radians
from typing import NamedTuple

import h3.api.basic_int as h3
import shapely

from stream.channels import cell_of
from stream.positions import METRES_PER_DEGREE
from stream.zone_file import Zone, parse_zones

#: Cells remembered, ~30 MB when all are taken; then the one seen first is forgotten, to be looked at again when it is
#: needed. A metropolis of 10,000 km² is 95,000 cells.
MAX_CELLS = 262_144
#: A cell's true border is bent between its corners, as its library computes on faces of an icosahedron: below 85° of
#: latitude by less than 1 cm. What is called the whole cell is larger than it by this share of its width (2 m).
GROWTH = 1.01
MAX_STRAIGHT_LAT = 85.0
#: Above it, and across the antimeridian, a cell is everything between two parallels, wider than it by this (1 km).
_BAND_DEG = 0.01
#: Segments of a border that are looked at together: few, so that far ones are not, and many, so that the tree is small.
RUN_SEGMENTS = 16


class Cover(NamedTuple):
    """How a cell lies to the zones, in the order of the file: `zone_ids` are all that reach into it.

    `rims` is empty where each of them holds the whole cell; else a zone that does has no parts there, and another has
    those whose border runs through the cell.
    """

    zone_ids: tuple[str, ...]
    rims: tuple[tuple[str, tuple[shapely.Polygon, ...]], ...] = ()


_NOTHING = Cover(())


class Zones:
    """The zones of one file. A position on a zone's border is in it."""

    def __init__(self, zones: list[Zone], max_cells: int = MAX_CELLS) -> None:
        """`zones` have distinct ids."""
        self._zones = {zone.zone_id: zone for zone in zones}
        self._parts = [(zone.zone_id, part) for zone in zones for part in zone.parts]
        for _, part in self._parts:
            shapely.prepare(part)
        self._tree = shapely.STRtree([part for _, part in self._parts])
        self._rims: dict[str, shapely.STRtree] = {}
        self._covers: dict[int, Cover] = {}
        self._max_cells = max_cells
        #: Zone id -> its kind.
        self.kinds: Mapping[str, str] = {zone.zone_id: zone.kind for zone in zones}

    @classmethod
    def parse(cls, geojson: bytes) -> Zones:
        """The zones of a GeoJSON file. Raises ValueError, one line that says which feature is wrong and how."""
        return cls(parse_zones(geojson))

    def __len__(self) -> int:
        return len(self._zones)

    def __contains__(self, zone_id: object) -> bool:
        return zone_id in self._zones

    def zone(self, zone_id: str) -> Zone:
        """Raises KeyError."""
        return self._zones[zone_id]

    def at(self, lat: float, lon: float, cell: int) -> tuple[str, ...]:
        """The ids of the zones that the position is in; `cell` is its cell of resolution 9."""
        cover = self._covers.get(cell)
        if cover is None:
            cover = self._look_at(cell)
        if not cover.rims:
            return cover.zone_ids
        return tuple(
            zone_id
            for zone_id, parts in cover.rims
            if not parts or any(shapely.intersects_xy(part, lon, lat) for part in parts)
        )

    def within_margin(self, zone_id: str, lat: float, lon: float) -> bool:
        """Whether the position is in the zone, or no more than its `exit_margin_m` away from it.

        The distance to the border is measured in the plane that touches the sphere at the position, where a degree of
        longitude is as short as it is there. So it is right to 0.1 % up to 80° of latitude, for margins to 1 km.
        It does not reach across the antimeridian. Raises KeyError for a zone that there is not.
        """
        zone = self._zones[zone_id]
        if zone_id in self.at(lat, lon, cell_of(lat, lon)):
            return True
        margin_deg = zone.exit_margin_m / METRES_PER_DEGREE
        shrink = max(cos(radians(lat)), 1e-6)
        # A hair wider, so that rounding leaves out nothing; what counts is the distance below.
        reach_lat, reach_lon = margin_deg * 1.001, margin_deg * 1.001 / shrink
        rim = self._rim(zone)
        near = rim.query(shapely.box(lon - reach_lon, lat - reach_lat, lon + reach_lon, lat + reach_lat))
        if not near.size:
            return False
        runs = shapely.transform(rim.geometries[near], lambda lon_lat: (lon_lat - (lon, lat)) * (shrink, 1.0))
        return bool(shapely.distance(runs, shapely.Point(0.0, 0.0)).min() <= margin_deg)

    def _rim(self, zone: Zone) -> shapely.STRtree:
        """The zone's border in short runs; made when the first car leaves the zone."""
        rim = self._rims.get(zone.zone_id)
        if rim is None:
            self._rims[zone.zone_id] = rim = shapely.STRtree([run for part in zone.parts for run in _runs(part)])
        return rim

    def _look_at(self, cell: int) -> Cover:
        whole = grown(cell)
        near: dict[str, tuple[shapely.Polygon, ...]] = {}
        for number in sorted(self._tree.query(whole)):
            zone_id, part = self._parts[number]
            parts = near.get(zone_id)
            if parts == ():  # another part of the zone holds all of the cell
                continue
            if shapely.covers(part, whole):
                near[zone_id] = ()
            elif shapely.intersects(part, whole):
                near[zone_id] = (*(parts or ()), part)
        cover = _NOTHING
        if near:
            cover = Cover(tuple(near), tuple(near.items()) if any(near.values()) else ())
        if len(self._covers) >= self._max_cells:
            del self._covers[next(iter(self._covers))]
        self._covers[cell] = cover
        return cover


def grown(cell: int) -> shapely.Polygon:
    """A polygon that holds every position of the cell, straight between its corners in degrees."""
    corners = h3.cell_to_boundary(cell)
    lats, lons = [lat for lat, _ in corners], [lon for _, lon in corners]
    south, north, west, east = min(lats), max(lats), min(lons), max(lons)
    if east - west > 180.0 or max(north, -south) > MAX_STRAIGHT_LAT:
        return shapely.box(-180.0, south - _BAND_DEG, 180.0, north + _BAND_DEG)
    lat, lon = (south + north) / 2, (west + east) / 2
    return shapely.Polygon([(lon + (x - lon) * GROWTH, lat + (y - lat) * GROWTH) for y, x in corners])


def _runs(part: shapely.Polygon) -> list[shapely.LineString]:
    """The part's rings, cut where a run is full: the last position of a run is the first of the next."""
    rings = [shapely.get_coordinates(ring) for ring in (part.exterior, *part.interiors)]
    return [
        shapely.LineString(positions[at : at + RUN_SEGMENTS + 1])
        for positions in rings
        for at in range(0, len(positions) - 1, RUN_SEGMENTS)
    ]
