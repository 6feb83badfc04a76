"""Encode a polyline, from the description of Google's format, to try what decodes it."""

from __future__ import annotations

from collections.abc import Iterable


def encode(points: Iterable[tuple[float, float]]) -> str:
    """Google's encoded polyline, from its description."""
    text, before = "", (0, 0)
    for lat, lon in points:
        now = (round(lat * 1e5), round(lon * 1e5))
        for change in (now[0] - before[0], now[1] - before[1]):
            value = ~(change << 1) if change < 0 else change << 1
            while value >= 32:
                text += chr((32 | (value & 31)) + 63)
                value >>= 5
            text += chr(value + 63)
        before = now
    return text
