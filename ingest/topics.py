"""The topics of the pipeline and how long each is kept, created with explicit partition counts."""

from __future__ import annotations

from infra.kafka import Topic, create_topics
from infra.settings import KafkaSettings
from ingest.events import (
    PINGS_TOPIC,
    REJECTED_TOPIC,
    TRIP_EVENTS_TOPIC,
    TRIP_UPDATES_TOPIC,
    TRIPS_TABLE_TOPIC,
    ZONE_EVENTS_TOPIC,
)

HOUR_MS = 3_600_000
#: Kept as long as the oldest fix that admission lets in (RIDESTREAM_MAX_AGE_MS): the index can be rebuilt from it.
#: Positions of people: not longer than needed.
PINGS_RETENTION_MS = 24 * HOUR_MS
#: Undecodable records: long enough for somebody on call to look.
REJECTED_RETENTION_MS = 6 * HOUR_MS
#: Trips and what happened to them hold no track; a week lets a reader that was away over a weekend catch up.
TRIP_EVENTS_RETENTION_MS = 7 * 24 * HOUR_MS


def topics(partitions: int, replication_factor: int) -> list[Topic]:
    """Every topic, all with the same number of partitions, so that a driver has the same one in each."""
    retention_ms = {
        PINGS_TOPIC: PINGS_RETENTION_MS,
        REJECTED_TOPIC: REJECTED_RETENTION_MS,
        TRIP_EVENTS_TOPIC: TRIP_EVENTS_RETENTION_MS,
        TRIP_UPDATES_TOPIC: TRIP_EVENTS_RETENTION_MS,
        ZONE_EVENTS_TOPIC: TRIP_EVENTS_RETENTION_MS,
    }
    # acks=all means all in-sync replicas: without this, "all" may be one.
    safe = {"min.insync.replicas": str(max(1, replication_factor - 1))}
    # Retention drops whole segments: one that is a day long would keep a ping for two.
    logs = [
        Topic(
            name,
            partitions,
            replication_factor,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(kept_ms),
                "segment.ms": str(min(HOUR_MS, kept_ms)),
                **safe,
            },
        )
        for name, kept_ms in retention_ms.items()
    ]
    # A table: the newest record of each trip is what counts, and a worker that takes a partition over reads all of it.
    return [
        *logs,
        Topic(
            TRIPS_TABLE_TOPIC,
            partitions,
            replication_factor,
            {"cleanup.policy": "compact", "segment.ms": str(HOUR_MS), **safe},
        ),
    ]


def create_all(settings: KafkaSettings) -> list[str]:
    """Create what is missing and return the names. Raises KafkaUnreachable, ValueError."""
    return create_topics(settings.kafka, topics(settings.partitions, settings.replication_factor))
