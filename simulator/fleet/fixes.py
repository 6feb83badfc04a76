"""What a phone posts: one GPS fix and its JSON, as published in docs/wire. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Fix(msgspec.Struct, omit_defaults=True, gc=False, kw_only=True):
    """One fix of one driver. WGS84 degrees, metres, metres per second, epoch milliseconds.

    Our own struct, not ingest's: the simulator meets the system only at its public wire.
    """

    ping_id: str = ""
    driver_id: str
    fix_time_ms: int
    lat: float
    lon: float
    accuracy_m: float | None = None
    heading_deg: float | None = None
    speed_mps: float | None = None
    vehicle_type: str = ""
    #: The phone says that another app made the fix up.
    is_mock: bool = False


_encoder = msgspec.json.Encoder()


def encode_fix(fix: Fix) -> bytes:
    """One ping as a JSON object; what is unknown is left out."""
    return _encoder.encode(fix)


def join_post(encoded: Iterable[bytes]) -> bytes:
    """The body of a `POST /v1/pings` that carries these pings."""
    return b'{"pings":[%b]}' % b",".join(encoded)
