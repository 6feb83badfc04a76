"""What one rider may do: frames in, actions out. It knows the rules, not the socket. Pure.

A connection is opened, authenticates (a token in the handshake, or `auth` as its first message), and then asks. Every
method returns what is to be done, in order; after a `Close` nothing more is asked of the session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infra.identity import LEEWAY_S, Principal, TokenRefused
from ingest.events import VEHICLE_TYPES
from ingest.schemas import valid_id
from push.actions import Action, Close, Look, Pong, Send, Unwatch, Watch, WatchTrip, Welcome, close
from push.nearby import Query
from push.protocol import (
    BAD_REQUEST,
    BAD_TOKEN,
    FORBIDDEN,
    NEARBY,
    NEVER_AUTHENTICATED,
    RATE_LIMITED,
    TOKEN_EXPIRED,
    TRIP,
    Auth,
    PingMessage,
    ProtocolError,
    Recenter,
    Subscribe,
    Unsubscribe,
    decode_client,
    encode_server,
)
from push.scopes import DISPATCH_SCOPE, RIDER_SCOPE, SCOPES

#: A client's own names (`sub`, `id`) come back on every message: long ones would multiply.
MAX_NAME: Final = 64
#: What a rider may filter by. A car whose driver app does not say its type is of none.
ASKED_TYPES: Final = VEHICLE_TYPES - {""}
TYPE_NAMES: Final = ", ".join(sorted(ASKED_TYPES))
#: A rider who opens the app sends a burst: this many seconds of its message rate at once.
BURST_S: Final = 2.0
#: An app that keeps sending what is not ridestream.v1 will not get better; the first few answers help its developer.
MAX_BAD_MESSAGES: Final = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may ask for."""

    max_radius_m: float
    max_rings: int
    max_cars: int
    max_subscriptions: int
    max_messages_per_s: float
    auth_timeout_s: float

    def public(self) -> Mapping[str, float]:
        """As `welcome` tells a client."""
        return {
            "max_radius_m": self.max_radius_m,
            "max_rings": self.max_rings,
            "max_cars": self.max_cars,
            "max_subscriptions": self.max_subscriptions,
            "max_messages_per_s": self.max_messages_per_s,
        }


class _Refused(Exception):
    """A request is understood and not granted: (error code, what to do instead)."""


class Session:
    """One connection's rules. Times are handed in: `now_s` counts seconds (monotonic), `wall_s` is epoch seconds."""

    __slots__ = ("_bad", "_limits", "_opened_s", "_queries", "_stamp_s", "_tokens", "_trips", "_verify", "principal")

    def __init__(self, limits: Limits, verify: Callable[[str, float], Principal], now_s: float) -> None:
        """`verify` returns a token's principal at a wall time, or raises TokenRefused."""
        self._limits, self._verify = limits, verify
        self._opened_s = self._stamp_s = now_s
        self._tokens = limits.max_messages_per_s * BURST_S
        self._bad = 0
        self._queries: dict[str, Query] = {}
        self._trips: set[str] = set()
        self.principal: Principal | None = None

    def authenticate(self, token: str, wall_s: float, id_: str | None = None) -> list[Action]:
        """Check a token: from the handshake, from `auth`, or from an `auth` that renews an open connection."""
        try:
            principal = self._verify(token, wall_s)
        except TokenRefused as refused:
            return [close(BAD_TOKEN, str(refused))]
        if principal.scopes.isdisjoint(SCOPES):
            return [close(FORBIDDEN)]
        known = self.principal
        if known is not None:
            if principal.subject != known.subject or principal.resource != known.resource:
                return [close(FORBIDDEN, "forbidden: this connection belongs to another rider; open a new one")]
            if not (known.scopes & SCOPES) <= principal.scopes:
                return [close(FORBIDDEN, "forbidden: the new token may do less than the old; open a new connection")]
        self.principal = principal
        return [Welcome(id_)]

    def forget(self, sub: str) -> None:
        """The server has ended this subscription; its name is free."""
        self._queries.pop(sub, None)
        self._trips.discard(sub)

    def due(self, now_s: float, wall_s: float) -> Close | None:
        """Ask from time to time: whether the rider's time is up."""
        if self.principal is None:
            return close(NEVER_AUTHENTICATED) if now_s - self._opened_s >= self._limits.auth_timeout_s else None
        return close(TOKEN_EXPIRED) if wall_s >= self.principal.expires_at_s + LEEWAY_S else None

    def received(self, text: str | bytes, now_s: float, wall_s: float) -> list[Action]:
        """One message of the client."""
        if not self._spend(now_s):
            return [close(RATE_LIMITED)]
        try:
            message = decode_client(text)
        except ProtocolError as error:
            self._bad += 1
            if self.principal is None or self._bad >= MAX_BAD_MESSAGES:
                return [close(BAD_REQUEST, f"bad request: {error}")]
            return [_error("bad_message", str(error))]
        if isinstance(message, Auth):
            return self.authenticate(message.token, wall_s, message.id)
        if self.principal is None:
            return [close(NEVER_AUTHENTICATED)]
        id_ = message.id if message.id is None or len(message.id) <= MAX_NAME else None
        if isinstance(message, PingMessage):
            return [Pong(id_)]
        try:
            return self._request(message, id_)
        except _Refused as refused:
            code, detail = refused.args
            return [_error(code, detail, id_, message.sub[:MAX_NAME])]

    def _request(self, message: Subscribe | Recenter | Unsubscribe, id_: str | None) -> list[Action]:
        sub = message.sub
        reply = {"id": id_, "sub": sub}
        if isinstance(message, Subscribe):
            self._name(sub)
            if message.channel == TRIP:
                return self._trip(message, reply)
            query = self._subscription(message)
            self._queries[sub] = query
            return [Send("subscribed", encode_server("subscribed", {**reply, "limit": query.limit})), Watch(sub, query)]
        known = self._queries.get(sub)
        if known is None and sub not in self._trips:
            raise _Refused("unknown_sub", "no subscription has this name; subscribe first")
        if isinstance(message, Unsubscribe):
            self.forget(sub)
            return [Unwatch(sub), Send("unsubscribed", encode_server("unsubscribed", reply))]
        if known is None:
            raise _Refused("not_a_place", "this subscription watches a trip; only one of nearby cars can be recentered")
        same_area = message.radius_m is None and message.rings is None
        query = Query(
            *_place(message),
            known.limit,
            *((known.radius_m, known.rings) if same_area else self._area(message)),
            known.vehicle_types,
        )
        self._queries[sub] = query
        return [Look(sub, query), Send("recentered", encode_server("recentered", reply))]

    def _name(self, sub: str) -> None:
        most = self._limits.max_subscriptions
        if not 0 < len(sub) <= MAX_NAME:
            raise _Refused("bad_sub", f"sub must have 1 to {MAX_NAME} characters")
        if sub in self._queries or sub in self._trips:
            raise _Refused("sub_taken", "a subscription has this name; recenter it, or unsubscribe first")
        if len(self._queries) + len(self._trips) >= most:
            raise _Refused("too_many_subscriptions", f"at most {most}; unsubscribe another first")

    def _trip(self, message: Subscribe, reply: Mapping[str, object]) -> list[Action]:
        """Whether the trip exists, and is theirs to see, is found out later: nobody learns which ids exist."""
        trip_id, recover = message.trip_id or "", message.recover
        if not valid_id(trip_id):
            raise _Refused("bad_trip_id", "trip_id must have 1 to 64 characters of A-Z a-z 0-9 _ . : -")
        self._trips.add(message.sub)
        watch = WatchTrip(message.sub, trip_id, None if recover is None else (recover.epoch, recover.offset))
        return [Send("subscribed", encode_server("subscribed", {**reply, "trip_id": trip_id})), watch]

    def _subscription(self, message: Subscribe) -> Query:
        limits, types = self._limits, message.vehicle_types
        if message.channel != NEARBY:
            raise _Refused("unknown_channel", f"channel must be {NEARBY} or {TRIP}")
        if self.principal is not None and self.principal.scopes.isdisjoint({RIDER_SCOPE, DISPATCH_SCOPE}):
            raise _Refused("not_allowed", "a share link shows its trip and nothing else")
        if message.limit is not None and not 1 <= message.limit <= limits.max_cars:
            raise _Refused("bad_limit", f"limit must be 1 to {limits.max_cars}")
        if types is not None and not (types and ASKED_TYPES.issuperset(types)):
            raise _Refused("bad_vehicle_types", f"vehicle_types must name one or more of {TYPE_NAMES}")
        radius_m, rings = self._area(message)
        return Query(
            *_place(message),
            message.limit or limits.max_cars,
            radius_m,
            rings,
            None if types is None else frozenset(types),
        )

    def _area(self, message: Subscribe | Recenter) -> tuple[float | None, int | None]:
        radius_m, rings = message.radius_m, message.rings
        if (radius_m is None) == (rings is None):
            raise _Refused("bad_area", "give exactly one of radius_m and rings")
        if radius_m is not None and not 0 < radius_m <= self._limits.max_radius_m:
            raise _Refused("bad_area", f"radius_m must be above 0 and at most {self._limits.max_radius_m:g}")
        if rings is not None and not 0 <= rings <= self._limits.max_rings:
            raise _Refused("bad_area", f"rings must be 0 to {self._limits.max_rings}")
        return radius_m, rings

    def _spend(self, now_s: float) -> bool:
        rate = self._limits.max_messages_per_s
        self._tokens = min(rate * BURST_S, self._tokens + (now_s - self._stamp_s) * rate)
        self._stamp_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _place(message: Subscribe | Recenter) -> tuple[float, float]:
    lat, lon = message.lat, message.lon
    if lat is None or lon is None or not (math.isfinite(lat) and math.isfinite(lon)):
        raise _Refused("bad_place", "lat and lon must be numbers")
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise _Refused("bad_place", "lat must be within -90..90 and lon within -180..180 degrees")
    return lat, lon


def _error(code: str, detail: str, id_: str | None = None, sub: str | None = None) -> Send:
    return Send("error", encode_server("error", {"id": id_, "sub": sub, "code": code, "detail": detail}))
