"""The way along a road network, as the encoded polyline of 5 decimals that trips and maps take. No clock, no chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simulator.roads.network import RoadNetwork

#: One in 100,000 degrees: about a metre.
_SCALE = 1e5


def encode_polyline(points: Iterable[tuple[float, float]]) -> str:
    """Points (lat, lon) in degrees. Format: https://developers.google.com/maps/documentation/utilities/polylinealgorithm

    Ours and not ingest's, so that a mistake in one of them is seen by the other.
    """
    characters: list[str] = []
    last = (0, 0)
    for lat, lon in points:
        point = round(lat * _SCALE), round(lon * _SCALE)
        for difference in (point[0] - last[0], point[1] - last[1]):
            # The sign goes last, then five bits a character, lowest first; 32 says that more follow.
            bits = ~(difference << 1) if difference < 0 else difference << 1
            while bits >= 32:
                characters.append(chr((bits & 31) + 32 + 63))
                bits >>= 5
            characters.append(chr(bits + 63))
        last = point
    return "".join(characters)


def decode_polyline(polyline: str) -> list[tuple[float, float]]:
    """The inverse: (lat, lon) in degrees, to five decimals."""
    numbers: list[int] = []
    last, bits, shift = [0, 0], 0, 0
    for character in polyline:
        part = ord(character) - 63
        bits |= (part & 31) << shift
        shift += 5
        if part < 32:
            axis = len(numbers) % 2
            last[axis] += ~(bits >> 1) if bits & 1 else bits >> 1
            numbers.append(last[axis])
            bits = shift = 0
    return [(lat / _SCALE, lon / _SCALE) for lat, lon in zip(numbers[::2], numbers[1::2], strict=True)]


def route_points(roads: RoadNetwork, origin: int, links: Sequence[int]) -> list[tuple[float, float]]:
    """(lat, lon) of the nodes along links that leave from the node `origin`; one point when there is no link."""
    return [roads.positions[origin], *(roads.positions[roads.links[number].to_node] for number in links)]
