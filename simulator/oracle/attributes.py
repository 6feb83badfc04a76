"""What a rider is told of a car beside its place (heading, speed and so on), against what its phone sent. Pure.

The wire rounds nothing (docs/wire), and has a car say what its phone said; what the phone did not say is left out.
"""

from __future__ import annotations

from typing import Protocol

import h3

from simulator.phones.outboxes import Sent

#: Phones of the simulator say one decimal, and the outbox keeps seven digits: half of the last decimal is rounding.
ROUNDING = 0.051
#: docs/wire/pings.md: what cannot be true becomes unknown.
MOST_SPEED_MPS = 500.0
#: docs/wire/websocket.md: a car's cell is of H3's resolution 9.
RESOLUTION = 9

#: What was told of one fix: its time, lat, lon and cell, then heading, speed, accuracy and type.
Told = tuple[int, float, float, str, float | None, float | None, float | None, str]


class Shown(Protocol):
    """A car as a rider is told of it."""

    @property
    def heading_deg(self) -> float | None: ...

    @property
    def speed_mps(self) -> float | None: ...

    @property
    def accuracy_m(self) -> float | None: ...

    @property
    def vehicle_type(self) -> str: ...


def altered(sent: Sent, car: Shown) -> dict[str, object]:
    """What was told otherwise than sent, by name, each with what was sent; nothing when all is right."""
    found: dict[str, object] = {}
    heading_deg, speed_mps = sent.heading_deg, sent.speed_mps
    if heading_deg is not None and not 0.0 <= heading_deg <= 360.0:
        heading_deg = None
    if speed_mps is not None and not 0.0 <= speed_mps <= MOST_SPEED_MPS:
        speed_mps = None
    if not _same(heading_deg, car.heading_deg, 360.0):
        found |= {"heading_deg": car.heading_deg, "heading_deg_sent": heading_deg}
    if not _same(speed_mps, car.speed_mps):
        found |= {"speed_mps": car.speed_mps, "speed_mps_sent": speed_mps}
    if not _same(sent.accuracy_m, car.accuracy_m):
        found |= {"accuracy_m": car.accuracy_m, "accuracy_m_sent": sent.accuracy_m}
    if sent.vehicle_type != car.vehicle_type:
        found |= {"vehicle_type": car.vehicle_type, "vehicle_type_sent": sent.vehicle_type}
    return found


def cell_of(sent: Sent) -> str:
    """The cell in which the fix was taken, as the wire names it."""
    return str(h3.latlng_to_cell(sent.lat, sent.lon, RESOLUTION))


def _same(sent: float | None, told: float | None, turn: float = 0.0) -> bool:
    """Whether both are unknown, or equal but for rounding; at the end of a `turn` is its beginning."""
    if sent is None or told is None:
        return sent is told
    apart = abs(sent - told)
    return apart <= ROUNDING or (turn > 0.0 and abs(apart - turn) <= ROUNDING)
