"""A fingerprint of all that a run posted, times counted from its start: the same seed, the same fingerprint. Pure."""

from __future__ import annotations

from hashlib import sha256

from msgspec.structs import replace

from simulator.fleet.fixes import encode_fix
from simulator.phones.phones import Sending


class Fingerprint:
    """SHA-256 of every ping in order: when it was due, and its bytes."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, sending: Sending, start_ms: int) -> None:
        fix = replace(sending.fix, fix_time_ms=sending.fix.fix_time_ms - start_ms)
        self._hash.update(b"%d %b\n" % (sending.send_at_ms - start_ms, encode_fix(fix)))

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
