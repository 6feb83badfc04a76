"""Keep one kafka-python producer alive: connect when Kafka comes, rebuild it when it is stuck, say what is wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import ClassVar

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

log = logging.getLogger(__name__)

#: How often a missing Kafka is looked for, and a present one looked at.
LOOK_EVERY_S = 1.0
#: A broker that takes longer to say who it is, is not there yet; the next look comes soon.
BOOTSTRAP_TIMEOUT_MS = 3_000
#: A topic of which a broker that answers says nothing for so long is not there.
METADATA_WITHIN_S = 1.0
#: A frame is at most 900 kB (frames.MAX_FRAME_BYTES); frames of one partition that waited together share a batch.
BATCH_BYTES = 950_000
#: One request may carry a batch for each of several partitions. Brokers take 100 MiB (`socket.request.max.bytes`).
MAX_REQUEST_BYTES = 16_000_000
#: send() must not block the event loop: metadata is fetched beforehand, and where it is missing we do not wait.
MAX_BLOCK_MS = 1

#: Called once, on the client's own thread, with None when Kafka acknowledged, else with why not.
Done = Callable[[BaseException | None], None]


class KafkaLink:
    """Appends record values to the partitions of one topic: idempotent, acks=all.

    `trouble` is None when Kafka can be written to, else what is wrong, in words for an operator and a client.
    """

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, ack_timeout_s: float) -> None:
        """`partitions` is what the topic must have. A record that is not acknowledged in time fails by itself."""
        self._servers, self._topic, self._partitions = bootstrap_servers, topic, partitions
        # The client wants delivery >= request timeout; retries go on inside the delivery timeout.
        self._delivery_ms = max(1_000, int(ack_timeout_s * 1000))
        self._request_ms = max(500, self._delivery_ms * 4 // 5)
        self._producer: KafkaProducer | None = None
        self._broken = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self.trouble: str | None = f"Kafka at {bootstrap_servers} has not answered yet"

    def append(self, partition: int, value: bytes, done: Done, key: bytes | None = None) -> None:
        """Queue a record; never blocks. `flush` lets it go. Raises KafkaError when it cannot even be queued."""
        if self._producer is None:
            raise KafkaError(self.trouble or "not connected")
        _Client.appending = get_ident()
        try:
            future = self._producer.send(self._topic, value, key=key, partition=partition)
        except (ValueError, AssertionError) as error:  # the partition is unknown: the topic was recreated with fewer
            raise KafkaError(str(error)) from None
        finally:
            _Client.appending = None
        future.add_callback(_succeed, done)
        future.add_errback(done)

    def flush(self) -> None:
        """Let the client send what was appended."""
        if self._producer is not None:
            self._producer._sender.wakeup()

    def rebuild(self) -> None:
        """Give the client up, with what it holds, and make a new one: for when it does not recover by itself."""
        if self._producer is not None:
            log.warning("Kafka does not acknowledge; connecting anew")
            self.trouble = "Kafka does not acknowledge; connecting anew"
            self._abandon()
            self._broken.set()

    async def run(self) -> None:
        """Connect, and look after the connection until cancelled."""
        while True:
            trouble = await self._look()
            if trouble != self.trouble:
                ready = f"Kafka is ready for {self._topic}"
                log.log(logging.INFO if trouble is None else logging.WARNING, trouble or ready)
            self.trouble = trouble
            with suppress(TimeoutError):
                await asyncio.wait_for(self._broken.wait(), LOOK_EVERY_S)
            self._broken.clear()

    async def close(self, timeout_s: float) -> None:
        """Send what the client still holds, at most for `timeout_s`, then end it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):
                await asyncio.to_thread(producer.close, max(0.0, timeout_s))
            await asyncio.to_thread(_end, producer)
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)

    async def _look(self) -> str | None:
        """What is wrong, or None."""
        if not await self._anyone_listens():
            return f"no Kafka broker listens at {self._servers} (RIDESTREAM_KAFKA)"
        try:
            if self._producer is None:
                self._producer = await asyncio.to_thread(self._connect)
            partitions = await asyncio.to_thread(self._partitions_found, self._producer)
        except (KafkaError, OSError, ValueError) as error:
            if self._producer is not None:
                return f"Kafka at {self._servers} has no topic {self._topic}; create it with `ridestream topics`"
            return f"Kafka at {self._servers} does not answer: {type(error).__name__}"
        if len(partitions) != self._partitions:
            return (
                f"topic {self._topic} has {len(partitions)} partitions, not {self._partitions}; "
                "set RIDESTREAM_PARTITIONS to what it has, or recreate it"
            )
        return None

    def _partitions_found(self, producer: KafkaProducer) -> set[int]:
        # A client that is new asks for the topic now, and a distant broker's answer takes longer than MAX_BLOCK_MS.
        deadline_s = time.monotonic() + METADATA_WITHIN_S
        while True:
            try:
                found: set[int] = producer.partitions_for(self._topic)
                return found
            except KafkaTimeoutError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(METADATA_WITHIN_S / 20)

    async def _anyone_listens(self) -> bool:
        # The client keeps a dead broker's address and says nothing until a record fails; a connection attempt a
        # second tells at once, also while nobody sends pings.
        for server in self._servers.split(","):
            host, _, port = server.strip().rpartition(":")
            with suppress(OSError, ValueError, TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                writer.close()
                return True
        return False

    def _connect(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self._servers.split(","),
            client_id="ridestream-ingest",
            enable_idempotence=True,
            acks="all",
            # Our frames have lingered already.
            linger_ms=0,
            batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            max_block_ms=MAX_BLOCK_MS,
            request_timeout_ms=self._request_ms,
            delivery_timeout_ms=self._delivery_ms,
            reconnect_backoff_max_ms=1_000,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
            kafka_client=_client,
            # The client's own statistics cost a tenth of a produce request and nobody reads them.
            metrics_enabled=False,
        )

    def _abandon(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            task = asyncio.ensure_future(asyncio.to_thread(_end, producer))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _Client(KafkaNetClient):  # type: ignore[misc]
    """Is not woken by each record: a burst of frames is one wake-up and one request, not one and two or three each."""

    #: The thread that is appending a record at this moment.
    appending: ClassVar[int | None] = None

    def wakeup(self) -> None:
        if self.appending != get_ident():
            super().wakeup()


def _client(**configs: object) -> KafkaNetClient:
    # A topic made on first use would have the broker's default number of partitions. The producer's own option for
    # that gets lost on the way to the requests (3.0.12).
    client = _Client(**configs)
    client.cluster.config["allow_auto_create_topics"] = False
    return client


def _succeed(done: Done, _: object) -> None:
    done(None)


def _end(producer: KafkaProducer) -> None:
    # close(timeout) flushes first and gives up, thread and all, when that fails (3.0.12): end the thread ourselves.
    producer._sender.force_close()
    producer._sender.join(2.0)
    with suppress(KafkaError):
        producer.close(timeout=0)
