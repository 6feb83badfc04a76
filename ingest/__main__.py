"""`python -m ingest` serves pings and trips; `python -m ingest topics` creates the topics."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
import uvloop
from prometheus_client import REGISTRY

from infra.clock import parse_clock
from infra.health import Health
from infra.identity import Verifier
from infra.kafka import KafkaUnreachable
from infra.redis import connect
from infra.settings import KafkaSettings, load
from infra.telemetry import announce_build, configure_logging
from ingest.app import build_app
from ingest.bodies import BodyReader
from ingest.events import PINGS_TOPIC, TRIP_EVENTS_TOPIC
from ingest.frames import Framer
from ingest.lane import PingsLane
from ingest.ledger import Ledger
from ingest.link import KafkaLink
from ingest.producer import FramingProducer
from ingest.rejections import RejectionLog
from ingest.routes import PingsRoute
from ingest.settings import IngestSettings
from ingest.tally import Tally
from ingest.topics import create_all
from ingest.trip_desk import TripDesk
from ingest.trip_producer import TripProducer
from ingest.trips_api import TripsApi

log = logging.getLogger("ingest")

#: A burst of connects must not overflow the listen queue: the rest would wait a second for a SYN retransmit.
BACKLOG = 4_096
#: Driver apps ping every 4 to 15 s: a connection outlives several pauses, and proxies' usual 60 s.
KEEP_ALIVE_S = 75
#: The Kafka client's thread gets the interpreter this soon after it wakes up, not Python's 5 ms later.
SWITCH_INTERVAL_S = 0.001
#: Container objects between two looks for garbage in cycles. With Python's 700 a look comes every few requests and
#: goes through all those that wait for Kafka: a fifth of the event loop's time. 50,000 is a few MB of garbage at most.
GC_ALLOCATIONS = 50_000
#: What uvicorn leaves of the drain time for the last acknowledgements.
LAST_ACKS_S = 1.0


class Server(uvicorn.Server):
    """uvicorn's, that ends with exit code 0 after a drained SIGTERM instead of raising the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(settings: IngestSettings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight within `drain_s`."""
    clock = parse_clock(settings.clock)
    verifier = Verifier(settings.jwt_key, settings.jwt_algorithm, "ingest")
    tally = Tally()
    link = KafkaLink(settings.kafka, PINGS_TOPIC, settings.partitions, settings.ack_timeout_s)
    framer = Framer(settings.frame_linger_ms / 1000, settings.frame_max_pings)
    producer = FramingProducer(
        link, framer, settings.partitions, settings.max_unacked_pings, settings.ack_timeout_s, tally
    )
    tally.unacked = lambda: producer.unacked
    REGISTRY.register(tally)
    announce_build("ingest")

    client = connect(settings.redis, settings.redis_timeout_s)
    rejections = RejectionLog(client, tally.lose_rejections)
    # A client of its own: a trip does not wait behind the pings of an outage, nor they for a stuck trip.
    trip_link = KafkaLink(settings.kafka, TRIP_EVENTS_TOPIC, settings.partitions, settings.ack_timeout_s)
    trip_producer = TripProducer(trip_link, settings.partitions, settings.ack_timeout_s)
    desk = TripDesk(Ledger(client, settings.partitions), trip_producer, clock)
    bodies = BodyReader(settings.body_timeout_s)
    trips = TripsApi(verifier, desk, bodies, tally, new_trip_id)
    pings = PingsRoute(verifier, producer, clock, settings, tally, bodies, rejections.note)
    server: Server

    def readiness() -> str | None:
        return "this process is draining" if server.should_exit else producer.refusal()

    app = build_app(pings, Health(readiness), trips.router(), clock, settings.clock)
    server = Server(
        uvicorn.Config(
            app,
            loop="none",
            http=partial(PingsLane, pings),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
        )
    )
    background = [asyncio.create_task(each) for each in (link.run(), trip_link.run(), rejections.run())]
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    host, port = listener.getsockname()[:2]
    log.info("listening", extra={"host": host, "port": port})
    await server.serve(sockets=[listener])

    ends_s = time.monotonic() + max(LAST_ACKS_S, settings.drain_s)
    await producer.close(ends_s - time.monotonic())
    for each in background:
        each.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    last_acks_s = min(LAST_ACKS_S, ends_s - time.monotonic())
    await asyncio.gather(link.close(last_acks_s), trip_link.close(last_acks_s), rejections.flush())
    await client.aclose()
    log.info("drained")


def new_trip_id() -> str:
    """For a trip that is ordered without an id: 96 random bits."""
    return f"t-{secrets.token_hex(12)}"


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 Kafka cannot be reached (topics), 2 misconfigured."""
    parser = argparse.ArgumentParser(prog="ridestream ingest", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=["serve", "topics"], default="serve")
    verb = parser.parse_args(arguments).verb
    try:
        return _topics() if verb == "topics" else _serve()
    except ValueError as error:
        return _fail(str(error), 2)
    except KafkaUnreachable as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130


def _topics() -> int:
    settings = load(KafkaSettings)
    created = create_all(settings)
    sys.stdout.write(f"created {', '.join(created)}\n" if created else "all topics exist\n")
    return 0


def _serve() -> int:
    settings = load(IngestSettings)
    configure_logging("ingest", settings.log_level)
    # The client reports every retry of every batch of an outage; `link` says what matters of it, once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    parse_clock(settings.clock)
    Verifier(settings.jwt_key, settings.jwt_algorithm, "ingest")
    connect(settings.redis, settings.redis_timeout_s)  # refuses an address that is none
    with _listen(settings.ingest_host, settings.ingest_port) as listener:
        uvloop.run(serve(settings, listener))
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ValueError(
            f"cannot listen on {host}:{port}: {error.strerror}; set RIDESTREAM_INGEST_HOST and RIDESTREAM_INGEST_PORT"
        ) from None


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"ridestream ingest: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
