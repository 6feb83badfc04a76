"""What riders read off the wire is what it says, however many read the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.riders import reading
from simulator.riders.reading import Reader
from simulator.riders.view import SeenCar, Snapshot, Update

PLAIN = msgspec.json.Decoder(Snapshot | Update)

CARS = st.builds(
    lambda driver, age_ms, more: {
        "driver_id": f"d-{driver}",
        "lat": 40.5,
        "lon": -73.0,
        "fix_time_ms": 1_000 - age_ms,
        "age_ms": age_ms,
        "freshness": "live" if age_ms < 3 else "stale",
        **more,
    },
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from([{}, {"heading_deg": 29.0, "vehicle_type": "TAXI"}, {"unknown": [1, {"x": "]"}]}]),
)
MESSAGES = st.one_of(
    st.builds(lambda cars: {"type": "snapshot", "sub": "a", "seq": 1, "cars": cars}, st.lists(CARS, max_size=6)),
    st.builds(
        lambda enter, move, leave: (
            {"type": "update", "sub": "a", "seq": 2} | {"enter": enter, "move": move, "leave": leave}
        ),
        st.lists(CARS, max_size=3),
        st.lists(CARS, max_size=6),
        st.lists(st.sampled_from(["d-0", "d-1"]), max_size=2),
    ),
)


def said(message: dict[str, Any]) -> bytes:
    return json.dumps({**message, "server_time_ms": 1_000}, separators=(",", ":")).encode()


@given(st.lists(MESSAGES, max_size=12))
def test_a_shared_reader_reads_what_each_message_says(messages: list[dict[str, Any]]) -> None:
    reader = Reader()
    for message in messages:
        assert reader.read(said(message)) == PLAIN.decode(said(message))


def test_what_is_said_of_a_car_in_the_same_words_is_one_car_and_in_other_words_another() -> None:
    reader, car = Reader(), {"driver_id": "d", "lat": 1.0, "lon": 2.0, "fix_time_ms": 3, "freshness": "live"}
    first, second, third = (
        reader.read(said({"type": "snapshot", "sub": sub, "seq": 1, "cars": [{**car, "age_ms": age_ms}]}))
        for sub, age_ms in (("a", 5), ("b", 5), ("a", 6))
    )
    assert isinstance(first, Snapshot)
    assert isinstance(second, Snapshot)
    assert isinstance(third, Snapshot)
    assert first.cars[0] is second.cars[0]
    assert third.cars[0] == SeenCar("d", 1.0, 2.0, 3, 6, "live")


def test_a_reader_forgets_what_was_said_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_REMEMBERED", 4)
    reader, car = Reader(), {"driver_id": "d", "lat": 1.0, "lon": 2.0, "fix_time_ms": 3, "freshness": "live"}
    for age_ms in range(10):
        reader.read(said({"type": "snapshot", "sub": "a", "seq": 1, "cars": [{**car, "age_ms": age_ms}]}))
        assert len(reader._cars) + len(reader._before) <= 4


@pytest.mark.parametrize("car", [{}, {"driver_id": "d"}, 5, "x"])
def test_a_car_that_is_none_is_not_read(car: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        Reader().read(said({"type": "snapshot", "sub": "a", "seq": 1, "cars": [car]}))
