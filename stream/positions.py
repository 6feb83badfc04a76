"""Fold one driver's pings into one position, whatever order they arrive in. No I/O, no clock."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import radians
from typing import Protocol

import h3.api.basic_int as h3
import msgspec

from ingest.events import OFFLINE, Ping

#: How many newest fixes of a driver decide what is live. A false fix spoils its own leap and the leap back; four let a
#: driver with one false fix keep a vouched one before it, and cost ~350 B a driver.
KEPT_FIXES = 4
#: How many fix times a driver's memory holds, to tell a fix that is sent again from one that comes late: 20 minutes
#: at 5 s, in 1 KB. It is not persisted: after a restart an old repeat counts as backfill.
SEEN_FIXES = 256
#: Fix times are remembered modulo 2^32 ms: two of one driver 49.7 days apart would be taken for one.
_SEEN_MASK = 0xFFFF_FFFF
#: Metres of one degree along a meridian on h3's sphere (authalic radius).
METRES_PER_DEGREE = radians(1.0) * 6_371_007.180918475

#: What one ping was, as an index into VERDICTS: new position; late; already known; no car drives like that.
LIVE, BACKFILL, DUPLICATE, IMPOSSIBLE_JUMP = range(4)
VERDICTS = ("live", "backfill", "duplicate", "impossible_jump")

#: msgpack's one-byte heads of arrays of so many items.
_HEADS = [bytes([0x90 | count]) for count in range(KEPT_FIXES + 1)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Ping)
_fixes_decoder = msgspec.msgpack.Decoder(list[Ping])


class Fix(Protocol):
    """Where something was at a time: a ping, or a fix of a trip's track."""

    @property
    def fix_time_ms(self) -> int: ...
    @property
    def lat(self) -> float: ...
    @property
    def lon(self) -> float: ...
    @property
    def accuracy_m(self) -> float | None: ...


class DriverState:
    """One driver: `newest` is the newest fix there is, `live` the one that may be shown.

    The newest KEPT_FIXES fixes are kept packed, because almost no ping needs to look at more than the newest: a worker
    with 10,000 drivers spends its time on memory that is not in the processor's cache, and an unpacked fix is a dozen
    objects in a dozen places.
    """

    __slots__ = ("_cursor", "_packed", "_seen", "live", "newest")

    def __init__(self, fixes: Sequence[Ping], max_speed_mps: float) -> None:
        """`fixes` are distinct in time and in order: one to begin with, or what was kept of this driver before."""
        self._packed = [_encoder.encode(fix) for fix in fixes]
        self.newest = fixes[-1]
        self.live = live_of(fixes, max_speed_mps)
        self._seen = array("I", [fix.fix_time_ms & _SEEN_MASK for fix in fixes])
        self._cursor = 0

    @property
    def fixes(self) -> list[Ping]:
        """The newest fixes, at most KEPT_FIXES, oldest first."""
        return [_decoder.decode(packed) for packed in self._packed]

    def pack(self) -> bytes:
        """The fixes as they are persisted: a msgpack array of pings."""
        return b"".join((_HEADS[len(self._packed)], *self._packed))

    def fold(self, ping: Ping, max_speed_mps: float) -> int:
        """Take one ping in and return its verdict.

        The state afterwards is a function of the set of pings folded so far; order and repetition do not matter.
        The verdict is about this arrival, and so does depend on them.
        """
        newest = self.newest
        fix_time_ms = ping.fix_time_ms
        if fix_time_ms <= newest.fix_time_ms:
            return self._fold_late(ping, max_speed_mps)
        self._remember(fix_time_ms)
        packed = self._packed
        packed.append(_encoder.encode(ping))
        if len(packed) > KEPT_FIXES:
            del packed[0]
        self.newest = ping
        if is_possible(newest, ping, max_speed_mps):
            self.live = ping
            return LIVE
        self.live = live_of(self.fixes, max_speed_mps)
        return IMPOSSIBLE_JUMP

    def _fold_late(self, ping: Ping, max_speed_mps: float) -> int:
        fixes = self.fixes
        at = len(fixes) - 1
        while at >= 0 and fixes[at].fix_time_ms > ping.fix_time_ms:
            at -= 1
        if at >= 0 and fixes[at].fix_time_ms == ping.fix_time_ms:
            if precedence(ping) < precedence(fixes[at]):
                fixes[at] = ping
                self._keep(fixes, max_speed_mps)
            return DUPLICATE
        if ping.fix_time_ms & _SEEN_MASK in self._seen:
            return DUPLICATE
        self._remember(ping.fix_time_ms)
        possible = at < 0 or is_possible(fixes[at], ping, max_speed_mps)
        if at >= 0 or len(fixes) < KEPT_FIXES:
            fixes.insert(at + 1, ping)
            self._keep(fixes[-KEPT_FIXES:], max_speed_mps)
        return BACKFILL if possible else IMPOSSIBLE_JUMP

    def _keep(self, fixes: list[Ping], max_speed_mps: float) -> None:
        self._packed = [_encoder.encode(fix) for fix in fixes]
        self.newest, self.live = fixes[-1], live_of(fixes, max_speed_mps)

    def _remember(self, fix_time_ms: int) -> None:
        seen = self._seen
        if len(seen) < SEEN_FIXES:
            seen.append(fix_time_ms & _SEEN_MASK)
        else:
            seen[self._cursor] = fix_time_ms & _SEEN_MASK
            self._cursor = (self._cursor + 1) % SEEN_FIXES


def unpack_fixes(packed: bytes) -> list[Ping]:
    """What `DriverState.pack` packed. Raises msgspec.DecodeError."""
    return _fixes_decoder.decode(packed)


def live_of(fixes: Sequence[Ping], max_speed_mps: float) -> Ping:
    """The newest of the kept fixes that the one before it vouches for, else the oldest (see decision 0002)."""
    for at in range(len(fixes) - 1, 0, -1):
        if is_possible(fixes[at - 1], fixes[at], max_speed_mps):
            return fixes[at]
    return fixes[0]


def is_possible(before: Fix, after: Fix, max_speed_mps: float) -> bool:
    """Whether a car at `before` can be at `after`: the accuracy of both is granted, phones' clocks tick in seconds."""
    elapsed_s = (after.fix_time_ms - before.fix_time_ms) / 1000
    reach_m = max_speed_mps * (elapsed_s if elapsed_s > 1.0 else 1.0)
    # Along the meridian, then along the parallel, is never shorter than the great circle, and four times cheaper.
    if (abs(after.lat - before.lat) + abs(after.lon - before.lon)) * METRES_PER_DEGREE <= reach_m:
        return True
    reach_m += (before.accuracy_m or 0.0) + (after.accuracy_m or 0.0)
    return bool(h3.great_circle_distance((before.lat, before.lon), (after.lat, after.lon), unit="m") <= reach_m)


def precedence(ping: Ping) -> tuple[object, ...]:
    """Which of two pings with one fix time counts: the lesser. Any order would do; it must only not be arrival's.

    OFFLINE comes first, because apps report going offline with the last known fix: better hidden than a ghost.
    """
    return (
        ping.vehicle_state != OFFLINE,
        ping.lat,
        ping.lon,
        *(-1.0 if value is None else value for value in (ping.accuracy_m, ping.heading_deg, ping.speed_mps)),
        -1e9 if ping.altitude_m is None else ping.altitude_m,
        ping.vehicle_type,
        ping.vehicle_state,
        ping.received_at_ms,
        ping.ping_id,
    )
