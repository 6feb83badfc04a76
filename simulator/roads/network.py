"""A network of straight directed road links: its tables, its geometry and shortest-time routes. No clock, no chance."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from importlib.resources import files
from pathlib import Path
from typing import IO, Final

import h3

NODES_FILE: Final = "manhattan_nodes.csv.gz"
LINKS_FILE: Final = "manhattan_links.csv.gz"
_FAR: Final = 1 << 60


class RoadsError(ValueError):
    """A road table cannot be used; the message is one line and names the file, row and column."""


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of one stretch of road between two nodes, straight."""

    from_node: int
    to_node: int
    length_m: float
    speed_mps: float
    heading_deg: float
    #: Whole milliseconds, so that sums are exact and ties do not depend on the order of additions.
    travel_ms: int


class RoadNetwork:
    """Nodes 0..n-1 with their positions (WGS84 degrees) and the links between them, every node reachable from every."""

    def __init__(self, positions: list[tuple[float, float]], links: Iterable[tuple[int, int, float]]) -> None:
        """`positions` are (lat, lon); `links` are (from node, to node, speed in m/s). Raises RoadsError."""
        self.positions = positions
        self.links = [_link(positions, a, b, speed_mps) for a, b, speed_mps in links]
        self.leaving: list[list[int]] = [[] for _ in positions]
        for number, link in enumerate(self.links):
            self.leaving[link.from_node].append(number)
        self._forward = [[(self.links[n].to_node, self.links[n].travel_ms, n) for n in out] for out in self.leaving]
        self._refuse_if_not_connected()

    def route(self, origin: int, destination: int) -> list[int]:
        """Numbers of the links of a route of least travel time; empty when origin and destination are the same.

        Dijkstra, which ends at the destination. Measured on the shipped network: 1.0 ms for places up to 4 km apart,
        2.3 ms for any two; A* with 1 to 16 landmarks gained less than half of that and was not worth its code.
        """
        cost = {origin: 0}
        came_by: dict[int, int] = {}
        queue = [(0, origin)]
        while queue:
            so_far, node = heappop(queue)
            if node == destination:
                break
            if so_far > cost[node]:
                continue
            for neighbour, travel_ms, number in self._forward[node]:
                candidate = so_far + travel_ms
                if candidate < cost.get(neighbour, _FAR):
                    cost[neighbour] = candidate
                    came_by[neighbour] = number
                    heappush(queue, (candidate, neighbour))
        path: list[int] = []
        while node != origin:
            number = came_by[node]
            path.append(number)
            node = self.links[number].from_node
        return path[::-1]

    def travel_ms(self, route: Iterable[int]) -> int:
        """Time to drive the links of `route` at their speeds, without stops."""
        return sum(self.links[number].travel_ms for number in route)

    def along(self, number: int, offset_m: float) -> tuple[float, float]:
        """(lat, lon) at `offset_m` from the start of a link."""
        link = self.links[number]
        (lat_a, lon_a), (lat_b, lon_b) = self.positions[link.from_node], self.positions[link.to_node]
        share = min(1.0, max(0.0, offset_m / link.length_m))
        return lat_a + (lat_b - lat_a) * share, lon_a + (lon_b - lon_a) * share

    def _refuse_if_not_connected(self) -> None:
        backward: list[list[int]] = [[] for _ in self.positions]
        for link in self.links:
            backward[link.to_node].append(link.from_node)
        forward = [[link[0] for link in links] for links in self._forward]
        if min(_reached_from_0(forward), _reached_from_0(backward)) < len(self.positions):
            raise RoadsError(
                "road network: some nodes cannot be reached from the others, or cannot reach them; "
                "keep its largest strongly connected part"
            )


def _reached_from_0(neighbours: list[list[int]]) -> int:
    """How many nodes can be reached from node 0, itself included."""
    seen, waiting = {0}, [0]
    while waiting:
        fresh = set(neighbours[waiting.pop()]) - seen
        seen |= fresh
        waiting.extend(fresh)
    return len(seen)


def _link(positions: list[tuple[float, float]], a: int, b: int, speed_mps: float) -> Link:
    here, there = positions[a], positions[b]
    length_m = max(0.1, h3.great_circle_distance(here, there, unit="m"))
    heading_deg = bearing_deg(here, there)
    return Link(a, b, length_m, speed_mps, heading_deg, max(1, round(length_m / speed_mps * 1_000)))


def bearing_deg(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Initial great-circle bearing from one (lat, lon) to another, clockwise from north, in [0, 360)."""
    lat_a, lat_b = math.radians(here[0]), math.radians(there[0])
    d_lon = math.radians(there[1] - here[1])
    east = math.sin(d_lon) * math.cos(lat_b)
    north = math.cos(lat_a) * math.sin(lat_b) - math.sin(lat_a) * math.cos(lat_b) * math.cos(d_lon)
    return math.degrees(math.atan2(east, north)) % 360.0


def open_table(path: Path) -> IO[str]:
    """Open a CSV for reading, gzipped or not, whatever its name says."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8-sig", newline="") if zipped else path.open(encoding="utf-8-sig")


def load_manhattan() -> RoadNetwork:
    """The shipped network. © OpenStreetMap contributors, ODbL 1.0 (simulator/roads/manhattan/NOTICE.md)."""
    folder = files("simulator.roads.manhattan")
    nodes = io.StringIO(gzip.decompress((folder / NODES_FILE).read_bytes()).decode())
    links = io.StringIO(gzip.decompress((folder / LINKS_FILE).read_bytes()).decode())
    return parse_network(nodes, NODES_FILE, links, LINKS_FILE)


def load_network(nodes: Path, edges: Path) -> RoadNetwork:
    """A network of the caller's own. Raises RoadsError, OSError."""
    with open_table(nodes) as node_rows, open_table(edges) as edge_rows:
        return parse_network(node_rows, nodes.name, edge_rows, edges.name)


def parse_network(nodes: Iterable[str], nodes_name: str, edges: Iterable[str], edges_name: str) -> RoadNetwork:
    """Read tables with columns id, lat, lon (or lng) and from, to, speed_kph. Raises RoadsError.

    A `length_m` column is not used: links are straight, and a car's speed must agree with its way on the map.
    """
    number: dict[str, int] = {}
    positions: list[tuple[float, float]] = []
    for row_number, row in enumerate(csv.DictReader(nodes), start=2):
        number[_text(row, "id", nodes_name, row_number)] = len(positions)
        lon_column = "lon" if "lon" in row else "lng"
        lat = _number(row, "lat", nodes_name, row_number, 90)
        positions.append((lat, _number(row, lon_column, nodes_name, row_number, 180)))
    links: list[tuple[int, int, float]] = []
    for row_number, row in enumerate(csv.DictReader(edges), start=2):
        ends = [number.get(_text(row, column, edges_name, row_number)) for column in ("from", "to")]
        speed_kph = _number(row, "speed_kph", edges_name, row_number, 300)
        if ends[0] is None or ends[1] is None or speed_kph <= 0:
            raise RoadsError(f"{edges_name}: row {row_number}: from and to must be ids of {nodes_name}, speed_kph > 0")
        if ends[0] != ends[1]:
            links.append((ends[0], ends[1], speed_kph / 3.6))
    if not links:
        raise RoadsError(f"{edges_name}: no links")
    return RoadNetwork(positions, links)


def _text(row: Mapping[str, str | None], column: str, file: str, row_number: int) -> str:
    value = row.get(column)
    if not value:
        raise RoadsError(f"{file}: row {row_number}: column {column} is missing or empty")
    return value


def _number(row: Mapping[str, str | None], column: str, file: str, row_number: int, limit: float) -> float:
    text = _text(row, column, file, row_number)
    try:
        value = float(text)
    except ValueError:
        raise RoadsError(f"{file}: row {row_number}: column {column} is not a number") from None
    if not -limit <= value <= limit:
        raise RoadsError(f"{file}: row {row_number}: column {column} is out of range (±{limit:g})")
    return value
