"""Who may see what in push, by the scopes of a token. Pure."""

from __future__ import annotations

from typing import Final

from infra.identity import Principal
from ingest.trips import Trip

#: Riders see the cars around them and their own trips, dispatch sees every trip, the holder of a share link sees one.
RIDER_SCOPE: Final = "rider"
DISPATCH_SCOPE: Final = "dispatch"
SHARE_SCOPE: Final = "share"
SCOPES: Final = frozenset({RIDER_SCOPE, DISPATCH_SCOPE, SHARE_SCOPE})


def may_see(principal: Principal, trip: Trip) -> bool:
    """Whether the trip is theirs to see. Of a share link it must also be known that it is still good."""
    if SHARE_SCOPE in principal.scopes:
        return principal.resource == trip.trip_id
    if DISPATCH_SCOPE in principal.scopes:
        return True
    return RIDER_SCOPE in principal.scopes and principal.subject == trip.rider_id
