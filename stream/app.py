"""Build the Faust app: frames of `driver.pings` and records of `trip.events` in, acknowledged in order once applied."""

from __future__ import annotations

import logging
from typing import Any

import faust
from faust.types import TP
from yarl import URL

from ingest.events import PINGS_TOPIC, REJECTED_TOPIC, TRIP_EVENTS_TOPIC
from stream.gaps import GapWatch
from stream.handlers import FrameHandler
from stream.settings import StreamSettings
from stream.transport import Transport
from stream.trip_handler import TripHandler
from stream.trip_table import TripTable

log = logging.getLogger(__name__)

#: A member learns of a rebalance by its next heartbeat. Kafka's own advice is at most a third of the session timeout.
HEARTBEAT_S, HEARTBEATS_PER_SESSION = 1.0, 3
#: Faust's default is 4,096 records; a record of ours is up to 45 KB, and Redis may be away while they wait.
BUFFERED_RECORDS = 256


class App(faust.App):  # type: ignore[misc]
    """Faust's, that makes no folders in the working directory: its table is in memory, and read back from Kafka."""

    def _create_directories(self) -> None:
        pass


def build_app(settings: StreamSettings, handler: FrameHandler, trips: TripHandler, gaps: GapWatch) -> faust.App:
    """A Faust app that feeds all, and has the table of `trips`; `await app.start()` and `await app.stop()`."""
    brokers = [URL(f"kafka://{address.strip()}") for address in settings.kafka.split(",")]
    app = App(
        settings.consumer_group,
        broker=brokers,
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        cython_optimizations=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout_s,
        broker_rebalance_timeout=settings.rebalance_timeout_s,
        broker_heartbeat_interval=min(HEARTBEAT_S, settings.session_timeout_s / HEARTBEATS_PER_SESSION),
        broker_commit_interval=settings.commit_interval_s,
        stream_buffer_maxsize=BUFFERED_RECORDS,
        # A revoked partition is handed over when its frames are written, so that the next owner reads all of them; or
        # when the rebalance timeout is over (Consumer.wait_empty), and then the next owner repeats some.
        stream_wait_empty=True,
        # A copy in each other worker would cost as much as the table, and reading it back takes less than a rebalance.
        table_standby_replicas=0,
    )
    app.transport = Transport(
        brokers, app, PINGS_TOPIC, settings.fetch_max_wait_ms, settings.rebalance_timeout_s, handler.assign, gaps
    )
    topic = app.topic(PINGS_TOPIC, key_serializer="raw", value_serializer="raw", value_type=bytes)

    @app.agent(topic, name="fold", concurrency=1)  # type: ignore[untyped-decorator]
    async def fold(frames: Any) -> None:
        # `noack`, because a frame is acknowledged when it is written, which is after the next was taken. The handler
        # calls `event.ack` in the order of the frames; tests/stream/test_faust_acks.py says why that matters.
        async for event in frames.noack().events():
            message = event.message
            await gaps.look(message.tp, message.offset)
            await handler.accept(message.partition, message.offset, message.value, event.ack)

    trips.table = TripTable(app, settings.partitions)
    records = app.topic(TRIP_EVENTS_TOPIC, key_serializer="raw", value_serializer="raw", value_type=bytes)

    @app.agent(records, name="join", concurrency=1)  # type: ignore[untyped-decorator]
    async def join(events: Any) -> None:
        async for event in events.noack().events():
            message = event.message
            await gaps.look(message.tp, message.offset)
            await trips.accept(message.partition, message.offset, message.value, event.ack)

    async def revoked(_: Any, __: set[TP], **___: Any) -> None:
        handler.revoke()

    app.on_partitions_revoked.connect(revoked, weak=False)
    return app


async def publish(app: faust.App, topic: str, key: bytes, value: bytes, partition: int) -> None:
    """Return once Kafka has the record. Raises what the producer raises."""
    await app.producer.send_and_wait(topic, key, value, partition, None, {})


async def publish_rejected(app: faust.App, topic: str, partition: int, offset: int, value: bytes, reason: str) -> None:
    """Put a record of a topic that could not be read aside in `driver.pings.rejected`; return once Kafka has it.

    Its headers name the reason and where it came from. Raises what the producer raises.
    """
    headers = {
        "reason": reason.encode(),
        "source": f"{topic}/{partition}/{offset}".encode(),
    }
    log.warning("bad record put aside", extra={"reason": reason, "partition": partition, "offset": offset})
    await app.producer.send_and_wait(REJECTED_TOPIC, None, value, None, None, headers)
