"""MurmurHash2 (32 bit) as Kafka's default partitioner seeds it: which partition a key belongs to. Pure."""

from __future__ import annotations

import struct

#: From Austin Appleby's MurmurHash2, and the seed of org.apache.kafka.common.utils.Utils.murmur2. A test compares
#: with kafka-python's; taking that one would load its whole client into every process that knows a ping.
_M, _R, _SEED = 0x5BD1E995, 24, 0x9747B28C
_32_BITS = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The hash of `data`, unsigned."""
    words = len(data) // 4
    h = _SEED ^ len(data)
    for k in struct.unpack_from(f"<{words}I", data):
        k = k * _M & _32_BITS
        k = (k ^ k >> _R) * _M & _32_BITS
        h = h * _M & _32_BITS ^ k
    if rest := data[words * 4 :]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _32_BITS
    h = (h ^ h >> 13) * _M & _32_BITS
    return h ^ h >> 15
