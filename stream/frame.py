"""One Kafka record of `driver.pings` on its way through a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Frame:
    """`done` is called once its effect is in Redis. `reason` says why it could not be read."""

    partition: int
    offset: int
    value: bytes
    done: Callable[[], object]
    reason: str | None = None
