"""Build the Faust app: raw frames of `driver.pings` in, acknowledged in order once they are in Redis."""

from __future__ import annotations

import logging
from typing import Any

import faust
from faust.types import TP
from yarl import URL

from ingest.events import PINGS_TOPIC, REJECTED_TOPIC
from stream.handlers import FrameHandler
from stream.settings import StreamSettings
from stream.transport import Transport

log = logging.getLogger(__name__)

#: A member learns of a rebalance by its next heartbeat. Kafka's own advice is at most a third of the session timeout.
HEARTBEAT_S, HEARTBEATS_PER_SESSION = 1.0, 3
#: Faust's default is 4,096 records; a record of ours is up to 45 KB, and Redis may be away while they wait.
BUFFERED_RECORDS = 256


class App(faust.App):  # type: ignore[misc]
    """Faust's, that makes no folders in the working directory: a job without tables keeps nothing on disk."""

    def _create_directories(self) -> None:
        pass


def build_app(settings: StreamSettings, handler: FrameHandler) -> faust.App:
    """A Faust app that feeds `handler`; start and stop it with `await app.start()` and `await app.stop()`."""
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
    )
    app.transport = Transport(
        brokers, app, PINGS_TOPIC, settings.fetch_max_wait_ms, settings.rebalance_timeout_s, handler.assign
    )
    topic = app.topic(PINGS_TOPIC, key_serializer="raw", value_serializer="raw", value_type=bytes)

    @app.agent(topic, name="fold", concurrency=1)  # type: ignore[untyped-decorator]
    async def fold(frames: Any) -> None:
        # `noack`, because a frame is acknowledged when it is written, which is after the next was taken. The handler
        # calls `event.ack` in the order of the frames; tests/stream/test_faust_acks.py says why that matters.
        async for event in frames.noack().events():
            message = event.message
            await handler.accept(message.partition, message.offset, message.value, event.ack)

    async def revoked(_: Any, __: set[TP], **___: Any) -> None:
        handler.revoke()

    app.on_partitions_revoked.connect(revoked, weak=False)
    return app


async def publish_rejected(app: faust.App, partition: int, offset: int, value: bytes, reason: str) -> None:
    """Put a record that is no frame aside in `driver.pings.rejected`, and return once Kafka has it.

    Its headers name the reason and where it came from. Raises what the producer raises.
    """
    headers = {
        "reason": reason.encode(),
        "source": f"{PINGS_TOPIC}/{partition}/{offset}".encode(),
    }
    log.warning("bad record put aside", extra={"reason": reason, "partition": partition, "offset": offset})
    await app.producer.send_and_wait(REJECTED_TOPIC, None, value, None, None, headers)
