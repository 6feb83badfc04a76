"""One trip's log as a worker knows it: its events in order, which of them Redis has, and which Kafka has. Pure.

Redis counts offsets and logs an event once, by its id; so its order is the true one, and what it does not have follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest.trips import CREATED, REASSIGNED, STATE_CHANGED, TripEvent
from stream.trip_channels import LogEntry

#: Events kept in memory beyond those that are not yet in Redis and Kafka.
KEPT_EVENTS = 1_000
#: Told by people, so never given up.
_OF_PEOPLE = frozenset({CREATED, STATE_CHANGED, REASSIGNED})


class EventLog:
    """Events from offset `base + 1` on. The first `known` of them are in Redis; up to offset `published` in Kafka."""

    __slots__ = ("_elsewhere", "_ids", "base", "events", "known", "published")

    def __init__(self, events: Sequence[TripEvent] = (), base: int = 0, known: int = 0, published: int = 0) -> None:
        self.events, self.base, self.known, self.published = list(events), base, known, published
        self._ids = {event.event_id for event in events}
        #: Events that Redis has at offsets nobody told us, because its log has been trimmed.
        self._elsewhere: set[str] = set()

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._ids

    @property
    def pending(self) -> list[TripEvent]:
        """What Redis is not known to have."""
        return self.events[self.known :]

    @property
    def unpublished(self) -> Iterator[tuple[int, TripEvent]]:
        """(offset, event) of what Redis has and Kafka is not known to have."""
        for at in range(max(self.published - self.base, 0), self.known):
            yield self.base + at + 1, self.events[at]

    @property
    def settled(self) -> bool:
        """Everything is in Redis and in Kafka."""
        return self.known == len(self.events) and self.published >= self.base + self.known

    def append(self, event: TripEvent) -> bool:
        """Log an event, unless it was before."""
        if event.event_id in self._ids:
            return False
        self._ids.add(event.event_id)
        self.events.append(event)
        return True

    def adopt(self, entries: Sequence[LogEntry], offset: int, published: int) -> None:
        """Take Redis's order; what of ours it does not have follows.

        But what was found from pings before something that Redis has was of a now that is over: it is taken back.
        """
        visible = [entry.event for entry in entries]
        base = offset - len(visible)
        there = {event.event_id for event in visible}
        if base > 0:
            there |= self._elsewhere
            there.update(event.event_id for event in self.events[: self.known])
        else:
            self._elsewhere.clear()
        in_kafka = {event.event_id for event in self.events[: max(self.published - self.base, 0)]}
        last = max((at for at, event in enumerate(self.events) if event.event_id in there), default=-1)
        ours = [(at, event) for at, event in enumerate(self.events) if event.event_id not in there]
        follow = [event for at, event in ours if at > last or event.type in _OF_PEOPLE]
        self._ids.difference_update(event.event_id for _, event in ours)
        self._ids.update(event.event_id for event in follow)
        leading = 0
        while leading < len(visible) and visible[leading].event_id in in_kafka:
            leading += 1
        self.events, self.base, self.known = [*visible, *follow], base, len(visible)
        self.published = max(published, base + leading)
        self._ids.update(there)

    def written(self, sent: Sequence[TripEvent], offset: int) -> bool:
        """Redis has `sent` now, which was all or what was pending; whether its last offset is as we thought."""
        for begin in {0, self.known}:
            end = begin + len(sent)
            if end >= self.known and [one.event_id for one in self.events[begin:end]] == [one.event_id for one in sent]:
                break
        else:
            return False
        if offset != self.base + end:
            self._elsewhere.update(event.event_id for event in sent)
            return False
        self.known = end
        self._trim()
        return True

    def lost(self) -> None:
        """Redis has nothing of it: what is kept will be written again, and counted from 1."""
        self.published = max(self.published - self.base, 0)
        self.base = self.known = 0
        self._elsewhere.clear()

    def _trim(self) -> None:
        spare = min(self.known, self.published - self.base, len(self.events) - KEPT_EVENTS)
        if spare > 0:
            del self.events[:spare]
            self.base += spare
            self.known -= spare
