"""A driver's pings go where Kafka's own default partitioner would put a record keyed by that driver."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner
from kafka.partitioner.default import murmur2 as kafkas_murmur2

from ingest.events import PINGS_TOPIC, partition_of
from ingest.partitioner import murmur2


@given(st.binary(max_size=80))
@example(b"")
@example(b"\xff\xff\xff\xff")
@example(b"\x80abc\xfe")
def test_the_hash_is_kafkas_for_any_key(key: bytes) -> None:
    assert murmur2(key) == kafkas_murmur2(key) & 0xFFFFFFFF


class _OneTopic:
    """What the partitioner asks of Kafka's metadata: a topic `t`, all of whose partitions have a leader."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {"t"}

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions

    available_partitions_for_topic = partitions_for_topic


class OneTopic:
    """What the partitioner asks of the cluster: one topic and its partitions, all of them available."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {PINGS_TOPIC}

    def partitions_for_topic(self, _: str) -> set[int]:
        return self._partitions

    available_partitions_for_topic = partitions_for_topic


@pytest.mark.parametrize("partitions", [1, 3, 8, 1024])
@given(driver_id=st.text(min_size=1, max_size=64))
def test_a_driver_is_in_the_partition_that_kafka_gives_its_key(partitions: int, driver_id: str) -> None:
    key = driver_id.encode()
    kafkas = DefaultPartitioner().partition(PINGS_TOPIC, driver_id, key, None, None, OneTopic(partitions))
    assert partition_of(driver_id, partitions) == kafkas
