"""Which zones the drivers of a partition are in, and the events of coming, staying and going, with hysteresis. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from ingest.events import OFFLINE, Ping
from ingest.trips import ZONE_DWELLED, ZONE_ENTERED, ZONE_EXITED
from stream.channels import cell_of
from stream.zones import Zones

#: How event ids name the types.
_VERBS: Final = {ZONE_ENTERED: "enter", ZONE_EXITED: "exit", ZONE_DWELLED: "dwell"}
#: Forgetting goes through all drivers, ~1 ms for 10,000: a few minutes later than they may be is soon enough.
FORGET_EVERY_MS: Final = 300_000
#: Before every fix.
_NEVER: Final = -(1 << 62)


class ZoneEvent(msgspec.Struct, frozen=True, gc=False):
    """A driver entered, left or stayed in a zone, as found at the fix of `fix_time_ms` (epoch ms). No position."""

    type: str
    zone_id: str
    kind: str
    driver_id: str
    fix_time_ms: int

    @property
    def verb(self) -> str:
        """`enter`, `exit` or `dwell`."""
        return _VERBS[self.type]

    @property
    def event_id(self) -> str:
        """One for each event there is: a zone's id holds no colon, and a driver has one fix at a time."""
        return f"{self.driver_id}:{self.verb}:{self.zone_id}:{self.fix_time_ms}"


class _ZoneRecord(msgspec.Struct, frozen=True):
    event_id: str
    type: str
    driver_id: str
    zone_id: str
    kind: str
    at_ms: int


_json = msgspec.json.Encoder()


def encode_zone_event(event: ZoneEvent, at_ms: int) -> bytes:
    """The value of a `zone.events` record, for a driver without a trip."""
    return _json.encode(
        _ZoneRecord(event.event_id, event.type, event.driver_id, event.zone_id, event.kind, at_ms),
    )


class _Stay(msgspec.Struct, array_like=True, gc=False):
    """A driver and a zone. `entered` is False while one fix alone says so, `leaving` True while one says it is out."""

    since_ms: int
    entered: bool = False
    leaving: bool = False
    dwelled: bool = False


class _Presence(msgspec.Struct, array_like=True):
    """A driver's zones, by id, and the fix time of the last change to them. It is saved as it is."""

    changed_ms: int
    stays: dict[str, _Stay]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Presence)


class ZoneTracker:
    """The drivers of one Kafka partition. Give it each driver's live fix whenever there is a new one."""

    def __init__(self, zones: Zones, now_within_ms: int) -> None:
        """A fix that is `now_within_ms` old when it is read says nothing about now."""
        self._zones, self._now_within_ms = zones, now_within_ms
        self._newest: dict[str, int] = {}
        #: Only of drivers who are in a zone, or may be.
        self._present: dict[str, _Presence] = {}
        self._changed: set[str] = set()
        self._forget_from_ms = _NEVER

    def observe(self, driver_id: str, live: Ping, now_ms: int) -> list[ZoneEvent]:
        """What the driver's live fix tells, read at `now_ms`: at most one event of each type and zone, in order.

        A fix not newer than the last one, or too old, changes nothing. OFFLINE leaves all zones at once: the driver's
        app says so itself, and once is enough.
        """
        fix_time_ms = live.fix_time_ms
        if fix_time_ms <= self._newest.get(driver_id, _NEVER) or now_ms - fix_time_ms >= self._now_within_ms:
            return []
        self._newest[driver_id] = fix_time_ms
        presence = self._present.get(driver_id)
        if live.vehicle_state == OFFLINE:
            return [] if presence is None else self._leave_all(driver_id, presence, fix_time_ms)
        at = self._zones.at(live.lat, live.lon, cell_of(live.lat, live.lon))
        if presence is not None:
            return self._follow(driver_id, presence, live, at)
        if at:
            self._present[driver_id] = _Presence(fix_time_ms, {zone_id: _Stay(fix_time_ms) for zone_id in at})
            self._changed.add(driver_id)
        return []

    def _follow(self, driver_id: str, presence: _Presence, live: Ping, at: tuple[str, ...]) -> list[ZoneEvent]:
        fix_time_ms, stays = live.fix_time_ms, presence.stays
        events: list[ZoneEvent] = []
        changed = False

        def found(type_: str) -> None:
            events.append(self._event(type_, zone_id, driver_id, fix_time_ms))

        for zone_id, stay in list(stays.items()):
            inside = zone_id in at
            if not stay.entered:
                changed = True
                if not inside:
                    del stays[zone_id]
                    continue
                stay.entered = True
                found(ZONE_ENTERED)
            elif not inside and not self._zones.within_margin(zone_id, live.lat, live.lon):
                changed = True
                if stay.leaving:
                    del stays[zone_id]
                    found(ZONE_EXITED)
                stay.leaving = True
                continue
            elif stay.leaving:
                stay.leaving, changed = False, True
            dwell_s = None if stay.dwelled else self._zones.zone(zone_id).dwell_s
            if dwell_s is not None and fix_time_ms - stay.since_ms >= dwell_s * 1000:
                stay.dwelled = changed = True
                found(ZONE_DWELLED)
        for zone_id in at:
            if zone_id not in stays:
                stays[zone_id] = _Stay(fix_time_ms)
                changed = True
        if changed:
            self._note(driver_id, presence, fix_time_ms)
        return events

    def _leave_all(self, driver_id: str, presence: _Presence, fix_time_ms: int) -> list[ZoneEvent]:
        left = [zone_id for zone_id, stay in presence.stays.items() if stay.entered]
        presence.stays.clear()
        self._note(driver_id, presence, fix_time_ms)
        return [self._event(ZONE_EXITED, zone_id, driver_id, fix_time_ms) for zone_id in left]

    def _event(self, type_: str, zone_id: str, driver_id: str, fix_time_ms: int) -> ZoneEvent:
        return ZoneEvent(type_, zone_id, self._zones.kinds[zone_id], driver_id, fix_time_ms)

    def _note(self, driver_id: str, presence: _Presence, fix_time_ms: int) -> None:
        self._changed.add(driver_id)
        presence.changed_ms = fix_time_ms
        if not presence.stays:
            del self._present[driver_id]

    # --- persistence -------------------------------------------------------------------------------------------

    def changed(self) -> set[str]:
        """The drivers for whom `save` may give something else than when this was asked last.

        A driver who stays where he is does not change with every fix: most are in some service area.
        """
        changed, self._changed = self._changed, set()
        return changed

    def save(self, driver_id: str) -> bytes | None:
        """What to give `restore` after a restart; None for a driver who is in no zone."""
        presence = self._present.get(driver_id)
        return None if presence is None else _encoder.encode(presence)

    def restore(self, driver_id: str, saved: bytes) -> None:
        """Take a driver over as `save` left it. Zones that the file no longer has are passed over, without an event.

        Raises msgspec.DecodeError.
        """
        presence = _decoder.decode(saved)
        self.forget(driver_id)
        self._newest[driver_id] = presence.changed_ms
        kept = {zone_id: stay for zone_id, stay in presence.stays.items() if zone_id in self._zones}
        if kept:
            self._present[driver_id] = _Presence(presence.changed_ms, kept)
        if len(kept) < len(presence.stays):
            self._changed.add(driver_id)
        else:
            self._changed.discard(driver_id)

    def forget(self, driver_id: str) -> None:
        """Know nothing of a driver any more; no event."""
        self._newest.pop(driver_id, None)
        if self._present.pop(driver_id, None) is not None:
            self._changed.add(driver_id)

    def rewrite(self) -> None:
        """What was saved is lost: everybody has changed."""
        self._changed.update(self._present)

    def forget_before(self, fix_time_ms: int) -> None:
        """Forget drivers whose last fix was before this. Looked for when the oldest may be, not at every call."""
        if fix_time_ms < self._forget_from_ms:
            return
        for driver_id in [one for one, newest_ms in self._newest.items() if newest_ms < fix_time_ms]:
            self.forget(driver_id)
        self._forget_from_ms = min(self._newest.values(), default=fix_time_ms) + FORGET_EVERY_MS
