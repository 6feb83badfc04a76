"""Reach Kafka and create topics with explicit partition counts. It knows brokers and topics, not what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import KafkaAdminClient
from kafka.errors import KafkaError


class KafkaUnreachable(Exception):
    """No broker answered; `args[0]` is one line for an operator."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be: a wrong partition count would send a driver's pings and trips to different workers."""

    name: str
    partitions: int
    replication_factor: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


def create_topics(bootstrap_servers: str, topics: list[Topic], timeout_s: float = 10.0) -> list[str]:
    """Create the topics that are missing and return their names.

    Raises KafkaUnreachable when no broker answers, ValueError when a topic exists with another partition count.
    """
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers.split(","),
            bootstrap_timeout_ms=int(timeout_s * 1000),
        )
    except (KafkaError, OSError, ValueError) as error:
        raise KafkaUnreachable(f"no Kafka broker answers at {bootstrap_servers}: {error}") from None
    try:
        existing = {
            entry["name"]: len(entry["partitions"]) for entry in admin.describe_topics() if "partitions" in entry
        }
        for topic in topics:
            found = existing.get(topic.name)
            if found not in (None, topic.partitions):
                raise ValueError(
                    f"topic {topic.name} has {found} partitions, not {topic.partitions}; "
                    "set RIDESTREAM_PARTITIONS to what it has, or recreate it"
                )
        missing = [topic for topic in topics if topic.name not in existing]
        if missing:
            admin.create_topics(
                {
                    topic.name: {
                        "num_partitions": topic.partitions,
                        "replication_factor": topic.replication_factor,
                        "configs": dict(topic.config),
                    }
                    for topic in missing
                }
            )
        return [topic.name for topic in missing]
    except KafkaError as error:
        raise KafkaUnreachable(f"Kafka at {bootstrap_servers} refused to create topics: {error}") from None
    finally:
        admin.close()
