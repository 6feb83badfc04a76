"""The amounts that a scenario may name, each with what it may be at least and at most. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

#: Long enough for anything one wants to play (115 days), and no infinity.
MOST_S = 1e7
Seconds = Annotated[float, Meta(ge=0, le=MOST_S)]
Metres = Annotated[float, Meta(gt=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
