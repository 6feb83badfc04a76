"""Carry out a command on a trip: read, decide, commit to the ledger, publish to Kafka; only then is it answered.

A version that the ledger has and Kafka may not is in doubt. Whoever comes next, with whatever request, publishes it
before anything is said or decided about the trip. Nor is anything acknowledged that Redis lost while it was on its way
to Kafka: it is given back, and is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from redis.exceptions import RedisError

from infra.clock import Clock
from ingest.bodies import Refused
from ingest.idempotency import Answered, RequestKey
from ingest.ledger import Entry, Ledger
from ingest.transitions import Illegal, Wish, allowed, create
from ingest.trip_access import Actor
from ingest.trip_producer import NotAcknowledged
from ingest.trip_schemas import encode
from ingest.trips import Trip

#: How often a decision is taken again because somebody else was first. Two apps of one trip do that once.
TRIES = 8
#: What a refused client is told to wait: Kafka elects a leader, and Redis is back, within seconds.
RETRY_AFTER_S = 2
_RETRY = ((b"retry-after", str(RETRY_AFTER_S).encode()),)

#: What a command makes of a trip at a time (event time, ms): its next version, or why there is none.
Decide = Callable[[Trip, int], Trip | Illegal]


class Publisher(Protocol):
    """What the desk needs of TripProducer."""

    def refusal(self) -> str | None: ...

    async def publish(self, trip: Trip) -> None: ...


class TripDesk:
    """All methods raise Refused: 404 unknown or not theirs, 409 not now, 422 another request's key, 503 try again."""

    def __init__(self, ledger: Ledger, publisher: Publisher, clock: Clock) -> None:
        self._ledger, self._publisher, self._clock = ledger, publisher, clock

    async def read(self, trip_id: str, actor: Actor) -> Answered:
        """The trip as it stands."""
        entry, _ = await self._look(trip_id, None)
        return Answered(b"", 200, encode((await self._theirs(trip_id, entry, actor)).trip))

    async def create(self, trip_id: str, wish: Wish, actor: Actor, key: RequestKey | None) -> Answered:
        """Make the trip, NEW."""
        if key is not None:
            try:
                claimed = await self._ledger.claim(key)
            except RedisError as error:
                raise _ledger_away(error) from None
            if not claimed:
                raise _other_request()
        for _ in range(TRIES):
            entry, answered = await self._look(trip_id, key)
            if entry is not None and entry.restored:
                await self._all_are_restored()
                entry, answered = await self._look(trip_id, key)
            if entry is not None:
                await self._settle(entry)
            if answered is not None:
                return _same(answered, key)
            if entry is not None:
                raise _conflict("trip-exists", f"there is a trip {trip_id} already; give yours another id", entry.trip)
            await self._all_are_restored()
            trip = create(trip_id, wish, actor.role, self._clock.now_ms())
            if await self._commit(trip, key, 201):
                return await self._publish(trip, 201)
        raise _contended()

    async def change(self, trip_id: str, actor: Actor, key: RequestKey | None, decide: Decide) -> Answered:
        """Take the trip to its next version."""
        for _ in range(TRIES):
            entry, answered = await self._look(trip_id, key)
            if answered is not None:
                if entry is not None:
                    await self._settle(entry)
                return _same(answered, key)
            trip = (await self._theirs(trip_id, entry, actor)).trip
            after = decide(trip, self._clock.now_ms())
            if isinstance(after, Illegal):
                raise _conflict("illegal-transition", after.detail, trip)
            if await self._commit(after, key, 200):
                return await self._publish(after, 200)
        raise _contended()

    async def _look(self, trip_id: str, key: RequestKey | None) -> tuple[Entry | None, Answered | None]:
        try:
            return await self._ledger.read(trip_id, key)
        except RedisError as error:
            raise _ledger_away(error) from None

    async def _theirs(self, trip_id: str, entry: Entry | None, actor: Actor) -> Entry:
        """The trip, if there is one that the actor may see, and Kafka has it."""
        if entry is None or entry.restored:
            await self._all_are_restored()
            entry, _ = await self._look(trip_id, None)  # it, or a newer version, may have come back since
        if entry is None or not actor.may_see(entry.trip):
            raise Refused(404, "not-found", "there is no such trip, or it is not yours")
        await self._settle(entry)
        return entry

    async def _all_are_restored(self) -> None:
        """Raises Refused 503 while a wiped Redis is being given its trips back: this may be one of them."""
        try:
            missing = await self._ledger.missing_partitions()
        except RedisError as error:
            raise _ledger_away(error) from None
        if missing:
            raise Refused(
                503, "unavailable", "trips are being restored; is there a stream worker? Send it again soon", _RETRY
            )

    async def _settle(self, entry: Entry) -> None:
        """Publish what is in doubt: also what was published of a later version that Redis lost since."""
        if entry.published != entry.trip.version:
            await self._publish(entry.trip, 200)

    async def _commit(self, trip: Trip, key: RequestKey | None, status: int) -> bool:
        # What is known to fail is not begun: nothing is left in doubt then.
        if (why := self._publisher.refusal()) is not None:
            raise _unacknowledged(why)
        answer = None if key is None else (key, Answered(key.digest, status, encode(trip)))
        try:
            return await self._ledger.commit(trip, answer)
        except RedisError as error:
            raise _ledger_away(error) from None

    async def _publish(self, trip: Trip, status: int) -> Answered:
        try:
            await self._publisher.publish(trip)
        except NotAcknowledged as error:
            await self._give_back(trip)
            raise _unacknowledged(str(error)) from None
        try:
            marked = await self._ledger.mark_published(trip)
        except RedisError as error:
            await self._give_back(trip)
            raise _ledger_away(error) from None
        if not marked:
            await self._give_back(trip)
            raise _unacknowledged("Redis lost the trip while Kafka was given it")
        return Answered(b"", status, encode(trip))

    async def _give_back(self, trip: Trip) -> None:
        """Kafka may have this version, and a wiped ledger not: then its number would be given away once more.

        Stream's worker may have read all that Kafka had before this record came.
        """
        with suppress(RedisError):
            await self._ledger.restore([trip])


def _same(answered: Answered, key: RequestKey | None) -> Answered:
    if key is None or answered.digest != key.digest:
        raise _other_request()
    return answered


def _other_request() -> Refused:
    return Refused(
        422, "idempotency-key-reused", "this Idempotency-Key came with another request before; use a new one"
    )


def _conflict(slug: str, detail: str, trip: Trip) -> Refused:
    more = {"state": trip.state, "version": trip.version, "allowed": allowed(trip)}
    return Refused(409, slug, detail, more=more)


def _contended() -> Refused:
    return Refused(503, "unavailable", "too many requests for one trip at once; send it again", _RETRY)


def _unacknowledged(why: str) -> Refused:
    return Refused(503, "unavailable", f"{why}; send the same request again after {RETRY_AFTER_S} s", _RETRY)


def _ledger_away(error: RedisError) -> Refused:
    detail = f"the ledger of trips does not answer ({type(error).__name__}); send the same request again"
    return Refused(503, "unavailable", detail, _RETRY)
