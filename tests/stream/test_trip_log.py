"""Redis's order of a trip's events is the true one; what it lacks follows, unless its moment has passed."""

from __future__ import annotations

from ingest.trips import APPROACHING, CREATED, NEW, STATE_CHANGED, TripEvent
from stream.trip_channels import LogEntry
from stream.trip_log import KEPT_EVENTS, EventLog


def event(event_id: str) -> TripEvent:
    type_ = APPROACHING if event_id.startswith("a") else CREATED if event_id == "v1" else STATE_CHANGED
    return TripEvent(event_id, type_, 0, NEW, "d", 1)


def log_of(*ids: str, known: int = 0, published: int = 0) -> EventLog:
    return EventLog([event(one) for one in ids], known=known, published=published)


def entries(*ids: str, after: int = 0) -> list[LogEntry]:
    return [LogEntry(at, event(one)) for at, one in enumerate(ids, start=after + 1)]


def ids(log: EventLog) -> list[str]:
    return [one.event_id for one in log.events]


def test_what_redis_lacks_follows_what_it_has() -> None:
    log = log_of("v1", "a1", "v2")
    log.adopt(entries("v1"), 1, 0)
    assert ids(log) == ["v1", "a1", "v2"]
    assert [one.event_id for one in log.pending] == ["a1", "v2"]


def test_what_was_found_before_something_that_redis_has_is_not_told_any_more_and_may_be_found_again() -> None:
    log = log_of("v1", "a1", "v2", "a2")
    log.adopt(entries("v1", "v2"), 2, 0)
    assert ids(log) == ["v1", "v2", "a2"]
    assert "a1" not in log
    assert log.append(event("a1"))


def test_what_people_said_is_never_given_up() -> None:
    log = log_of("v1", "v2", "v3")
    log.adopt(entries("v1", "v3"), 2, 0)
    assert ids(log) == ["v1", "v3", "v2"]


def test_an_event_is_logged_once() -> None:
    log = log_of("v1")
    assert not log.append(event("v1"))


def test_an_answer_that_counts_otherwise_has_the_log_read_again() -> None:
    log = log_of("v1", "v2")
    assert not log.written(log.pending, 3)
    log.adopt(entries("v1", "a9", "v2"), 3, 0)
    assert ids(log) == ["v1", "a9", "v2"]
    assert log.pending == []


def test_events_that_were_trimmed_from_redis_are_not_sent_for_ever() -> None:
    log = log_of("v1", "v2", "v3")
    log.adopt(entries("v3", after=7), 8, 8)
    sent = log.pending
    assert [one.event_id for one in sent] == ["v1", "v2"]
    assert not log.written(sent, 8)
    log.adopt(entries("v3", after=7), 8, 8)
    assert log.pending == []
    assert log.settled


def test_what_kafka_has_is_known_by_its_events_when_redis_counts_anew() -> None:
    log = log_of("v1", "v2", "v3", known=3, published=2)
    log.lost()
    assert log.published == 2
    log.adopt(entries("v1"), 1, 0)
    assert (log.known, log.published) == (1, 1)
    assert log.written(log.pending, 3)
    assert [(offset, one.event_id) for offset, one in log.unpublished] == [(2, "v2"), (3, "v3")]


def test_a_log_that_was_trimmed_counts_from_one_in_a_redis_that_forgot() -> None:
    log = EventLog([event("v8"), event("v9")], base=7, known=2, published=8)
    log.lost()
    assert (log.base, log.known, log.published) == (0, 0, 1)
    assert log.written(log.pending, 2)
    assert [(offset, one.event_id) for offset, one in log.unpublished] == [(2, "v9")]


def test_a_log_keeps_what_is_not_yet_everywhere_and_not_much_more() -> None:
    log = EventLog()
    for at in range(KEPT_EVENTS + 500):
        log.append(event(f"v{at}"))
    log.published = 200
    assert log.written(log.pending, KEPT_EVENTS + 500)
    assert (log.base, len(log.events)) == (200, KEPT_EVENTS + 300)
    assert next(log.unpublished) == (201, event("v200"))
    assert not log.append(event("v0"))
