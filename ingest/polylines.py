"""Encoded polylines of 5 decimals (Google's format): read one into points, or say why it is none; write one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

#: One in 100,000 degrees: about a metre.
_SCALE = 1e5
#: Five bits a character, and 180 degrees doubled for the sign take 26 bits: no honest number has more characters.
_MAX_SHIFT = 30


def decode_polyline(text: str) -> list[tuple[float, float]]:
    """The points (lat, lon) in WGS84 degrees; none for "". Raises ValueError that says what is wrong, without a place.

    Format: https://developers.google.com/maps/documentation/utilities/polylinealgorithm
    """
    numbers = _numbers(text)
    if len(numbers) % 2:
        raise ValueError("the polyline ends in the middle of a point")
    points = []
    lat = lon = 0
    for at in range(0, len(numbers), 2):
        lat += numbers[at]
        lon += numbers[at + 1]
        point = (lat / _SCALE, lon / _SCALE)
        if not (-90.0 <= point[0] <= 90.0 and -180.0 <= point[1] <= 180.0):
            raise ValueError(f"point {at // 2} of the polyline is not on Earth; it must be lat, lon with 5 decimals")
        points.append(point)
    return points


def _numbers(text: str) -> list[int]:
    """The signed differences, in 1e-5 degrees, lat and lon by turns."""
    numbers = []
    value = shift = 0
    for at, character in enumerate(text):
        bits = ord(character) - 63
        if not 0 <= bits < 64:
            raise ValueError(f"character {at} cannot be in an encoded polyline")
        if shift > _MAX_SHIFT:
            raise ValueError(f"the number at character {at} of the polyline is too long")
        value |= (bits & 31) << shift
        if bits & 32:
            shift += 5
        else:
            numbers.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    if shift:
        raise ValueError("the polyline ends in the middle of a number")
    return numbers


def encode_polyline(points: Iterable[tuple[float, float]]) -> str:
    """Inverse of `decode_polyline`, to 5 decimals: points (lat, lon) in degrees."""
    characters = []
    before = (0, 0)
    for lat, lon in points:
        point = (round(lat * _SCALE), round(lon * _SCALE))
        for value, last in zip(point, before, strict=True):
            difference = value - last
            bits = ~(difference << 1) if difference < 0 else difference << 1
            while bits >= 32:
                characters.append(chr((bits & 31 | 32) + 63))
                bits >>= 5
            characters.append(chr(bits + 63))
        before = point
    return "".join(characters)
