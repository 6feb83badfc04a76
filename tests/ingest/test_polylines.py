"""A polyline is read as it was written, and what is none is refused without telling a place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.polylines import decode_polyline

POINTS = st.lists(
    st.tuples(st.integers(-9_000_000, 9_000_000), st.integers(-18_000_000, 18_000_000)), min_size=0, max_size=30
)


def encode(points: list[tuple[int, int]]) -> str:
    """The published algorithm, from points in 1e-5 degrees."""
    text, before = "", (0, 0)
    for point in points:
        for value, last in zip(point, before, strict=True):
            number = (value - last) << 1
            if number < 0:
                number = ~number
            while number >= 0x20:
                text += chr((0x20 | number & 0x1F) + 63)
                number >>= 5
            text += chr(number + 63)
        before = point
    return text


def test_the_published_example_is_read() -> None:
    assert decode_polyline("_p~iF~ps|U_ulLnnqC_mqNvxq`@") == [(38.5, -120.2), (40.7, -120.95), (43.252, -126.453)]
    assert decode_polyline("") == []


@given(POINTS)
def test_every_line_on_earth_is_read_as_it_was_written(points: list[tuple[int, int]]) -> None:
    assert decode_polyline(encode(points)) == [(lat / 1e5, lon / 1e5) for lat, lon in points]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("_p~iF", "middle of a point"),
        ("_p~iF~ps|U_", "middle of a number"),
        ("~~~~~~~~~~~~", "too long"),
        ("_p~iF ps|U", "character 5 cannot be"),
        ("_p~iF~ps|\u00e9", "character 9 cannot be"),
        (encode([(9_000_001, 0)]), "point 0 of the polyline is not on Earth"),
        (encode([(1, 1), (0, 18_000_001)]), "point 1 of the polyline is not on Earth"),
    ],
)
def test_what_is_no_polyline_is_refused_and_why_is_told(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        decode_polyline(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        points = decode_polyline(text)
    except ValueError:
        return
    assert all(abs(lat) <= 90 and abs(lon) <= 180 for lat, lon in points)
