"""When a driver is under way with a trip, by the trip's history, and what of that is no other rider's affair. Pure.

    rider before:   NEW ── set off ═════════════ COMPLETE
    rider next:          NEW ────────────────────────────── set off ═══
    barred for next:       [set off ══════════ COMPLETE]

A trip that has set off shows its car, whoever else is in it. One that has not shows none from when another set off
until that one ends, or is given to another driver: where the car goes meanwhile is the other rider's way home.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ingest.trips import CREATED, ENDED, REASSIGNED, Trip

#: Event time that never comes: it has not ended.
NEVER_MS: Final = 1 << 62


class Stretch(NamedTuple):
    """From one moment to another, both within it. Epoch milliseconds."""

    from_ms: int
    until_ms: int

    def __contains__(self, at_ms: object) -> bool:
        return isinstance(at_ms, int) and self.from_ms <= at_ms <= self.until_ms


def began_of(trip: Trip) -> int:
    """When the trip was given to its driver."""
    turns = [event.at_ms for event in trip.history if event.type in (CREATED, REASSIGNED)]
    return turns[-1] if turns else trip.created_at_ms


def rides_of(trip: Trip, driver_id: str) -> list[Stretch]:
    """When the driver was under way with the trip: from its first step to its end, or to the next driver's turn."""
    rides: list[Stretch] = []
    began_ms: int | None = None
    for event in trip.history:
        if began_ms is not None and (event.state in ENDED or event.type == REASSIGNED):
            rides.append(Stretch(began_ms, event.at_ms))
            began_ms = None
        elif event.type not in (CREATED, REASSIGNED) and event.state not in ENDED and event.driver_id == driver_id:
            began_ms = event.at_ms if began_ms is None else began_ms
    return rides if began_ms is None else [*rides, Stretch(began_ms, NEVER_MS)]


def barred(trip: Trip, others: Iterable[Trip]) -> tuple[Stretch, ...]:
    """Where the driver of `trip` was in these stretches, its rider is not to know; in order of time."""
    began_ms = began_of(trip)
    rides = [ride for ride in rides_of(trip, trip.driver_id) if ride.from_ms >= began_ms]
    # A trip that was called off before it began has never set off.
    set_off_ms = rides[-1].from_ms if rides else NEVER_MS
    last_ms = NEVER_MS if set_off_ms == NEVER_MS else set_off_ms - 1
    return tuple(
        sorted(
            Stretch(ride.from_ms, min(ride.until_ms, last_ms))
            for other in others
            for ride in rides_of(other, trip.driver_id)
            # Who got in later came into a car that this rider was shown already.
            if ride.from_ms < set_off_ms and ride.until_ms >= began_ms
        )
    )
