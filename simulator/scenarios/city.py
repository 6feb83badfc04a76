"""The city of a scenario: the shipped road network or the user's own, whole or cut to an area. No clock, no chance."""

from __future__ import annotations

import csv
import zlib
from math import cos, radians
from pathlib import Path
from typing import Final

import h3

from simulator.roads.network import RoadNetwork, RoadsError, load_manhattan, load_network
from simulator.scenarios.scenario import Area, City

#: Of latitude, on a sphere with the mean radius of the Earth, 6,371.0 km.
M_PER_DEG: Final = 111_195.0


def load_city(city: City) -> RoadNetwork:
    """The roads on which this scenario is played. Raises RoadsError, which names the member of the scenario."""
    roads = _own_roads(city) if city.nodes else load_manhattan()
    return roads if city.area is None else within(roads, city.area)


def _own_roads(city: City) -> RoadNetwork:
    nodes, edges = Path(city.nodes), Path(city.edges)
    try:
        return load_network(nodes, edges)
    except RoadsError as error:
        # It begins with the name of the table that is wrong, if it is one of them.
        member = next((m for m, path in (("nodes", nodes), ("edges", edges)) if str(error).startswith(path.name)), None)
        raise RoadsError(f"city.{member}: {error}" if member else f"city: {error}") from None
    except OSError as error:
        member = "edges" if error.filename == str(edges) else "nodes"
        raise RoadsError(f"city.{member}: {error.filename or nodes}: {error.strerror or error}") from None
    except (ValueError, EOFError, csv.Error, zlib.error):
        raise RoadsError("city: nodes and edges must each be a CSV in UTF-8, or a whole gzip of one") from None


def holds_road(roads: RoadNetwork, area: Area) -> bool:
    """Whether any road comes into `area`, if only between two places. Flat around its centre, as far as it reaches."""
    east_m = M_PER_DEG * cos(radians(area.lat))

    def flat_m(node: int) -> complex:
        lat, lon = roads.positions[node]
        return complex((lon - area.lon) * east_m, (lat - area.lat) * M_PER_DEG)

    return any(_from_origin_m(flat_m(link.from_node), flat_m(link.to_node)) <= area.radius_m for link in roads.links)


def _from_origin_m(a: complex, b: complex) -> float:
    """How far the straight line from `a` to `b` passes from 0."""
    along = b - a
    square = abs(along) ** 2
    share = 0.0 if square == 0 else -(a * along.conjugate()).real / square
    return abs(a + along * min(1.0, max(0.0, share)))


def within(roads: RoadNetwork, area: Area) -> RoadNetwork:
    """The roads whose two ends lie in `area`, less what cannot be reached from the others there. Raises RoadsError."""
    centre = (area.lat, area.lon)
    inside = {
        node
        for node, position in enumerate(roads.positions)
        if h3.great_circle_distance(centre, position, unit="m") <= area.radius_m
    }
    links = [link for link in roads.links if link.from_node in inside and link.to_node in inside]
    kept = _largest_connected(inside, [(link.from_node, link.to_node) for link in links])
    if len(kept) < 2:
        raise RoadsError("city.area: holds no roads that lead from one place to another; move it or make it larger")
    number = {node: n for n, node in enumerate(sorted(kept))}
    return RoadNetwork(
        [roads.positions[node] for node in number],
        [
            (number[link.from_node], number[link.to_node], link.speed_mps)
            for link in links
            if link.from_node in number and link.to_node in number
        ],
    )


def _largest_connected(nodes: set[int], links: list[tuple[int, int]]) -> set[int]:
    """The largest set of nodes that all reach each other; the one with the lowest number if there are several."""
    forward: dict[int, list[int]] = {node: [] for node in nodes}
    backward: dict[int, list[int]] = {node: [] for node in nodes}
    for a, b in links:
        forward[a].append(b)
        backward[b].append(a)
    best: set[int] = set()
    left = set(nodes)
    while len(left) > len(best):
        start = min(left)
        connected = _reached(start, forward) & _reached(start, backward)
        left -= connected
        best = max(best, connected, key=len)
    return best


def _reached(start: int, neighbours: dict[int, list[int]]) -> set[int]:
    seen, waiting = {start}, [start]
    while waiting:
        fresh = set(neighbours[waiting.pop()]) - seen
        seen |= fresh
        waiting.extend(fresh)
    return seen
