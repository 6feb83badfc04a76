"""What of the installed Faust we rely on for offsets, and the fault in it that we stay clear of (its issue 606)."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from faust.transport.consumer import Consumer
from faust.types import TP
from intervaltree import IntervalTree

from stream.app import build_app
from stream.settings import StreamSettings
from stream.transport import Consumer as OurConsumer
from stream.transport import ConsumerThread, Transport

PARTITION = TP("driver.pings", 0)


def offset_to_commit(acked: list[int], committed: int | None) -> int | None:
    """What Faust would commit after these acks, in this order."""
    consumer: Any = SimpleNamespace(
        _acked=defaultdict(list, {PARTITION: list(acked)}),
        _acked_index=defaultdict(set, {PARTITION: set(acked)}),
        _gap=defaultdict(IntervalTree),
        _committed_offset={PARTITION: committed},
    )
    return Consumer._new_offset(consumer, PARTITION)


def test_acks_in_order_never_commit_past_a_frame_that_is_not_written() -> None:
    for written in range(1, 50):
        assert offset_to_commit(list(range(100, 100 + written)), committed=100) == 100 + written
    assert offset_to_commit([], committed=100) is None


def test_acks_out_of_order_would_commit_past_an_unwritten_frame() -> None:
    """If this fails, Faust was mended, and `Consumer.perform_seek` may trust Kafka's offsets again."""
    assert offset_to_commit([101], committed=100) == 102


def test_the_app_reads_one_record_at_a_time_in_order_and_opens_no_port() -> None:
    handler: Any = SimpleNamespace(assign=None)
    app = build_app(StreamSettings(), handler, SimpleNamespace(), SimpleNamespace())
    assert {name.rpartition(".")[2]: agent.concurrency for name, agent in app.agents.items()} == {"fold": 1, "join": 1}
    assert not app.conf.web_enabled
    assert not app.conf.topic_allow_declare
    assert app.conf.processing_guarantee.value == "at_least_once"
    assert app.conf.stream_wait_empty
    assert app.conf.broker_session_timeout == 10.0


def test_the_fetch_wait_is_ours_and_not_fausts() -> None:
    handler: Any = SimpleNamespace(assign=None)
    app = build_app(StreamSettings(fetch_max_wait_ms=7), handler, SimpleNamespace(), SimpleNamespace())
    assert isinstance(app.transport, Transport)
    assert app.transport.fetch_max_wait_ms == 7
    assert app.transport.Consumer is OurConsumer
    assert ConsumerThread._create_worker_consumer is not ConsumerThread.__mro__[1]._create_worker_consumer
