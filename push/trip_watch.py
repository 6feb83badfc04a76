"""Every rider's trip subscriptions: who may see what, who is owed something, and who is told that there is nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from push.metrics import RiderMetrics
from push.protocol import encode_server
from push.rider import Rider
from push.scopes import SHARE_SCOPE, may_see
from push.trip_mirror import TripMirror
from push.trip_outbox import EXPIRED, REVOKED, TripOutbox
from push.trip_view import TripView

#: The same words for both, and at the same moment: nobody learns which trips there are.
_UNKNOWN: Final = {"code": "unknown_trip", "detail": "there is no such trip, or it is not yours to watch"}

#: A share link: the ids of the trip and of the share.
Link = tuple[str, str]


class Trips(Protocol):
    """Whoever keeps the mirror's trips up to date: `trip_feed.TripFeed`."""

    @property
    def away(self) -> str | None: ...

    def watch(self, key: str, /) -> None: ...

    def unwatch(self, key: str, /) -> None: ...

    def catch_up(self) -> None: ...


class TripWatch:
    """`watch`, `unwatch` and `forget` for one rider; `settle` says whom to tell."""

    def __init__(self, wait_s: float, mirror: TripMirror, metrics: RiderMetrics) -> None:
        """`wait_s`: an unknown trip may become known within this."""
        self._wait_s, self._mirror, self._metrics = wait_s, mirror, metrics
        self._trips: Trips | None = None
        self._owners: dict[str, dict[TripOutbox, Rider]] = {}  # by trip
        self._views: dict[tuple[str, bool], TripView] = {}
        self._held: dict[TripOutbox, float] = {}  # until when they wait
        self._links: dict[TripOutbox, Link] = {}
        self._good: set[TripOutbox] = set()  # those whose link was good when it was last looked up
        self._fresh: list[TripOutbox] = []  # held ones that may be let go
        self._owed: dict[Rider, None] = {}

    def follow(self, trips: Trips) -> None:
        """From now on `trips` hears which trips are watched."""
        self._trips = trips

    def watch(self, rider: Rider, sub: str, trip_id: str, recover: tuple[str, int] | None) -> None:
        """The rider subscribes: the trip is owed once it is known, and known to be theirs to see."""
        principal = rider.session.principal
        assert self._trips is not None
        assert principal is not None
        self._trips.watch(trip_id)
        shared = SHARE_SCOPE in principal.scopes
        view = self._views.get((trip_id, shared))
        if view is None:
            copy = self._mirror.copy_of(trip_id)
            assert copy is not None
            view = self._views[trip_id, shared] = TripView(copy, shared)
        outbox = rider.trips[sub] = TripOutbox(sub, view, recover)
        self._owners.setdefault(trip_id, {})[outbox] = rider
        self._held[outbox] = rider.connection.loop.time() + self._wait_s
        self._fresh.append(outbox)
        if shared:
            self._links[outbox] = (principal.resource, principal.token_id)
        self._metrics.trips.inc()
        rider.pace()

    def unwatch(self, rider: Rider, sub: str) -> None:
        """Nothing more is owed of it."""
        outbox = rider.trips.pop(sub)
        trip_id = outbox.view.copy.trip_id
        owners = self._owners[trip_id]
        del owners[outbox]
        self._held.pop(outbox, None)
        self._links.pop(outbox, None)
        self._good.discard(outbox)
        self._metrics.trips.dec()
        if not owners:
            del self._owners[trip_id]
            for shared in (False, True):
                self._views.pop((trip_id, shared), None)
            assert self._trips is not None
            self._trips.unwatch(trip_id)

    def forget(self, rider: Rider) -> None:
        """The rider is gone."""
        for sub in list(rider.trips):
            self.unwatch(rider, sub)
        self._owed.pop(rider, None)

    def catch_up(self) -> None:
        if self._trips is not None:
            self._trips.catch_up()

    def is_due(self, now_ms: int) -> bool:
        """Whether `settle` would have something to tell."""
        return self._mirror.is_due(now_ms)

    def settle(self, now_ms: int) -> Iterable[Rider]:
        """Show what Redis says as of `now_ms` (event time). Returns the riders who are owed something."""
        for copy in self._mirror.settle(now_ms):
            owners = self._owners.get(copy.trip_id, {})
            self._fresh += owners
            for rider in owners.values():
                self._owed[rider] = None
        fresh, self._fresh = self._fresh, []
        for outbox in fresh:
            if outbox in self._held:
                self._release(outbox)
        owed, self._owed = self._owed, {}
        return owed

    def _release(self, outbox: TripOutbox) -> None:
        """Let go of it once its trip is known and its rider may see that."""
        rider = self._owner(outbox)
        if self._may_see(outbox, rider):
            del self._held[outbox]
            outbox.held = False
            self._owed[rider] = None

    def _may_see(self, outbox: TripOutbox, rider: Rider) -> bool:
        shown, principal = outbox.view.copy.shown, rider.session.principal
        if shown is None or principal is None or not may_see(principal, shown.trip):
            return False
        return outbox not in self._links or outbox in self._good

    def _owner(self, outbox: TripOutbox) -> Rider:
        return self._owners[outbox.view.copy.trip_id][outbox]

    def refuse(self, now_s: float) -> None:
        """Tell those who have waited long enough that there is nothing to see. While Redis is away nobody knows that.

        It depends on the time alone, so that what happens to a trip cannot be seen from when its watcher is refused.
        """
        self._metrics.watched.set(len(self._mirror))
        assert self._trips is not None
        if self._trips.away is not None:
            return
        for outbox, until_s in list(self._held.items()):
            trip_id, link = outbox.view.copy.trip_id, self._links.get(outbox)
            # Of a link for this very trip Redis will say whether it is good.
            asked = link is not None and link[0] == trip_id and outbox not in self._good
            if now_s >= until_s and self._mirror.is_loaded(trip_id) and not asked:
                rider = self._owner(outbox)
                rider.send(encode_server("error", {"sub": outbox.sub, **_UNKNOWN}))
                rider.session.forget(outbox.sub)
                self.unwatch(rider, outbox.sub)

    def links(self) -> set[Link]:
        """The share links by which somebody watches."""
        return set(self._links.values())

    def judge_links(self, asked: set[Link], good: set[Link]) -> list[Rider]:
        """Redis says which of the `asked` links are `good`. Returns the riders to whom that makes a difference."""
        told = []
        for outbox, link in list(self._links.items()):
            if link in good:
                if outbox not in self._good:
                    self._good.add(outbox)
                    self._fresh.append(outbox)
                    told.append(self._owner(outbox))
            elif link in asked and not outbox.ending:
                told.append(self._end(outbox, REVOKED))
        return told

    def expire_links(self, wall_s: float) -> list[Rider]:
        """Returns the riders whose links have expired by now."""
        told = []
        for outbox in list(self._links):
            principal = self._owner(outbox).session.principal
            if principal is not None and wall_s >= principal.expires_at_s and not outbox.ending:
                told.append(self._end(outbox, EXPIRED))
        return told

    def _end(self, outbox: TripOutbox, reason: str) -> Rider:
        self._held.pop(outbox, None)
        outbox.ending = reason
        return self._owner(outbox)
