"""Read positions off the wire: what a server says of one car in the same bytes to many riders is read once. Pure.

A server makes a car's JSON once a tick for all who see it, so of ten riders nine get the same bytes again. To know them
again costs half of what it costs to read them, and who judges or sweeps screens later finds one car, not ten.
"""

from __future__ import annotations

import msgspec

from simulator.riders.view import SeenCar, Snapshot, Update

#: Cars remembered at most, and half as many at least: a second of a rush hour, with 4,000 different ones in it, is past
#: long before. 20 MB.
MOST_REMEMBERED = 32_768


class _Snapshot(msgspec.Struct, tag_field="type", tag="snapshot", gc=False):
    sub: str
    seq: int
    server_time_ms: int
    cars: list[msgspec.Raw]


class _Update(msgspec.Struct, tag_field="type", tag="update", gc=False):
    sub: str
    seq: int
    server_time_ms: int
    enter: list[msgspec.Raw]
    move: list[msgspec.Raw]
    leave: list[str]


_messages = msgspec.json.Decoder(_Snapshot | _Update)
_cars = msgspec.json.Decoder(SeenCar)


class Reader:
    """Reads for any number of riders; the cars in what it returns are shared, and nobody may change them."""

    def __init__(self) -> None:
        # Two generations, as in simulator/posting/departures.py.
        self._cars: dict[bytes, SeenCar] = {}
        self._before: dict[bytes, SeenCar] = {}

    def read(self, text: bytes) -> Snapshot | Update:
        """A message `snapshot` or `update`. Raises msgspec.DecodeError."""
        message = _messages.decode(text)
        if isinstance(message, _Update):
            enter = self._all(message.enter) if message.enter else []
            return Update(
                message.sub, message.seq, message.server_time_ms, enter, self._all(message.move), message.leave
            )
        return Snapshot(message.sub, message.seq, message.server_time_ms, self._all(message.cars))

    def _all(self, said: list[msgspec.Raw]) -> list[SeenCar]:
        known, cars = self._cars, []
        for raw in said:
            content = bytes(raw)
            car = known.get(content)
            if car is None:
                car = known[content] = self._before.get(content) or _cars.decode(content)
            cars.append(car)
        if len(known) >= MOST_REMEMBERED // 2:
            self._cars, self._before = {}, known
        return cars
