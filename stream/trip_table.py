"""The Faust table of trips: what a worker knows of its trips, in Kafka, so that the next one goes on where it ended.

Faust reads a partition's records back before the partition's pings flow. It is written here, record by record, and not
by assignment to the table: that would need an event at hand, and nobody would know when Kafka has it.
"""

from __future__ import annotations

from collections.abc import Iterator

import faust

from ingest.events import TRIPS_TABLE_TOPIC


class TripTable:
    """Values of trips by partition and trip id. Create it before the app starts."""

    def __init__(self, app: faust.App, partitions: int) -> None:
        self._app = app
        changelog = app.topic(
            TRIPS_TABLE_TOPIC, key_serializer="raw", value_serializer="raw", value_type=bytes, partitions=partitions
        )
        self._table = app.Table(
            "trips", key_type=bytes, value_type=bytes, partitions=partitions, changelog_topic=changelog
        )

    def values(self, partition: int) -> Iterator[bytes]:
        """Everything that was saved of a partition, as far as Faust has read it back or it was saved here since."""
        prefix = _key(partition, "")
        return (value for key, value in list(self._table.data.data.items()) if value and key.startswith(prefix))

    async def save(self, partition: int, trip_id: str, value: bytes | None) -> None:
        """Return when Kafka has the value, or (None) that the trip is to be forgotten. Raises what the producer raises.

        One record after the other: an embedded broker counts a batch of several as one when it is asked for the end of
        the log (see transport.Consumer.highwaters), and Faust would stop reading back before the last of them.
        """
        key = _key(partition, trip_id)
        await self._app.producer.send_and_wait(TRIPS_TABLE_TOPIC, key, value, partition, None, {})
        if value is None:
            self._table.data.data.pop(key, None)
        else:
            self._table.data.data[key] = value


def _key(partition: int, trip_id: str) -> bytes:
    # A trip that was given to another driver is in two partitions, and Faust keeps all of a worker's in one dictionary.
    return f"{partition}/{trip_id}".encode()
