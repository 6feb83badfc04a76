"""A driver's pings go where Kafka's own default partitioner would put a record keyed by that driver."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner
from kafka.partitioner.default import murmur2 as kafkas_murmur2

from ingest.events import partition_of
from ingest.partitioner import murmur2


@given(st.binary(max_size=80))
@example(b"")
@example(b"\xff\xff\xff\xff")
@example(b"\x80abc\xfe")
def test_the_hash_is_kafkas_for_any_key(key: bytes) -> None:
    assert murmur2(key) == kafkas_murmur2(key) & 0xFFFFFFFF


@pytest.mark.parametrize("partitions", [1, 3, 8, 1024])
@given(driver_id=st.text(min_size=1, max_size=64))
def test_a_driver_is_in_the_partition_that_kafka_gives_its_key(partitions: int, driver_id: str) -> None:
    everywhere = list(range(partitions))
    assert partition_of(driver_id, partitions) == DefaultPartitioner()(driver_id.encode(), everywhere, everywhere)
