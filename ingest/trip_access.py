"""Who may do what with a trip, by the scopes of their token. Pure."""

from __future__ import annotations

from collections.abc import Set

import msgspec

from ingest.trips import Trip

#: Scopes: any trip and every command; the driver's own trips; the rider's own trips, to read.
DISPATCH, DRIVER, RIDER = "dispatch", "driver", "rider"


class Actor(msgspec.Struct, frozen=True):
    """Somebody with a good token, and the most that it lets them be: `role` is one of the scopes above."""

    subject: str
    role: str

    def may_see(self, trip: Trip) -> bool:
        """A trip that somebody may not see does not exist for them."""
        match self.role:
            case "dispatch":
                return True
            case "driver":
                return trip.driver_id == self.subject
            case _:
                return trip.rider_id == self.subject


def actor_of(subject: str, scopes: Set[str], roles: tuple[str, ...]) -> Actor | None:
    """Who calls, in the first of `roles` that the token has a scope for; None where it has none."""
    role = next((role for role in roles if role in scopes), None)
    return None if role is None else Actor(subject, role)
