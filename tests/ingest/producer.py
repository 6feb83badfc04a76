"""Stand-ins for Kafka: a producer that does as it is told, and a frame log that we acknowledge by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kafka.errors import KafkaError

from ingest.events import Ping, decode_frame
from ingest.producer import Acknowledged, Overloaded


class RecordingProducer:
    """Remembers what it took; acknowledges at once, refuses at once, or never says a word."""

    def __init__(self, acknowledges: bool | None = True, overloaded: bool = False, refuses: str | None = None) -> None:
        self.acknowledges, self.overloaded, self.refuses = acknowledges, overloaded, refuses
        self.pings: list[Ping] = []

    def refusal(self) -> str | None:
        return self.refuses

    def send(self, pings: Sequence[Ping], acknowledged: Acknowledged) -> None:
        if self.overloaded:
            raise Overloaded("too many pings wait for Kafka")
        self.pings.extend(pings)
        if self.acknowledges is not None:
            acknowledged(self.acknowledges)


class ManualFrameLog:
    """A FrameLog that holds each frame until the test acknowledges or fails it."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.frames: list[tuple[int, list[Ping]]] = []
        self.appended: list[Callable[[BaseException | None], None]] = []
        self.waiting: list[Callable[[BaseException | None], None]] = []
        self.rebuilt = 0

    def append(self, partition: int, value: bytes, done: Callable[[BaseException | None], None]) -> None:
        if self.trouble is not None:
            raise KafkaError(self.trouble)
        self.frames.append((partition, decode_frame(value)))
        self.appended.append(done)

    def flush(self) -> None:
        """As with Kafka's client: what is appended and not flushed goes nowhere."""
        self.waiting += self.appended
        self.appended = []

    def rebuild(self) -> None:
        self.rebuilt += 1
        self.finish(KafkaError("abandoned"))

    def finish(self, error: BaseException | None = None) -> None:
        """Acknowledge (or fail) everything that waits."""
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(error)
