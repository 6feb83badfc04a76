"""Why a driver is shown to riders, or is not: its fixes, judged as stream judges them, and one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import h3.api.basic_int as h3
import msgspec

from ingest.events import OFFLINE, Ping
from push.settings import PushSettings
from stream.channels import Car, cell_of, region_of
from stream.freshness import Freshness, freshness_of
from stream.positions import is_possible, live_of

#: States beside those of freshness: the driver's app says so; nothing is known.
OFFLINE_STATE: Final = "offline"
UNKNOWN: Final = "unknown"
#: What a kept fix is: the one that is shown, one that a newer or better one has replaced, one that no car can reach.
LIVE, SUPERSEDED, IMPOSSIBLE_JUMP = "live", "superseded", "impossible_jump"


class Rejection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ping that ingest did not accept. `received_at_ms` is wall time, and `age_ms` how long ago that was."""

    reason: str
    received_at_ms: int
    age_ms: int
    fix_time_ms: int | None = None


class JudgedFix(msgspec.Struct, frozen=True, omit_defaults=True):
    """An accepted fix that is kept, and what became of it.

    `implied_speed_mps` is what a car would have driven from the kept fix before it; left out for the oldest.
    """

    verdict: str
    fix_time_ms: int
    age_ms: int
    lat: float
    lon: float
    cell: str
    region: str
    received_at_ms: int
    vehicle_state: str
    ping_id: str = ""
    implied_speed_mps: float | None = None
    accuracy_m: float | None = None
    heading_deg: float | None = None
    speed_mps: float | None = None
    altitude_m: float | None = None
    vehicle_type: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """The answer of GET /v1/drivers/{id}. `fixes` and `rejections` are newest first; `fix` is the one that counts."""

    driver_id: str
    server_time_ms: int
    state: str
    shown: bool
    explanation: str
    partition: int
    fix: JudgedFix | None
    fixes: list[JudgedFix]
    rejections: list[Rejection]


def explain(
    driver_id: str,
    partition: int,
    fixes: Sequence[Ping],
    indexed: Car | None,
    rejections: Sequence[Rejection],
    now_ms: int,
    settings: PushSettings,
) -> Explanation:
    """`fixes` are those of the driver's record, oldest first; `indexed` is what riders' maps are made from.

    `now_ms` is event time, as the fixes are.
    """
    live = live_of(fixes, settings.max_speed_mps) if fixes else None
    judged = _judge(fixes, live, now_ms, settings.max_speed_mps)
    state = _state(live, now_ms, settings)
    shown = state in (Freshness.LIVE, Freshness.STALE) and indexed is not None
    sentence = _because(state, shown, live, now_ms, settings)
    if fixes and fixes[-1] is not live:
        sentence += _unbelieved(judged[-1], settings)
    if rejections and (not fixes or rejections[0].received_at_ms > fixes[-1].received_at_ms):
        sentence += (
            f"; {'since then' if fixes else 'what came'} was rejected, the last as {rejections[0].reason} "
            f"{_span(rejections[0].age_ms)} ago"
        )
    return Explanation(
        driver_id,
        now_ms,
        state,
        shown,
        sentence + ".",
        partition,
        next((fix for fix in judged if fix.verdict == LIVE), None),
        judged[::-1],
        list(rejections),
    )


def _judge(fixes: Sequence[Ping], live: Ping | None, now_ms: int, max_speed_mps: float) -> list[JudgedFix]:
    judged = []
    before: Ping | None = None
    for fix in fixes:
        verdict = LIVE if fix is live else SUPERSEDED
        speed_mps: float | None = None
        if before is not None:
            metres = h3.great_circle_distance((before.lat, before.lon), (fix.lat, fix.lon), unit="m")
            speed_mps = round(metres / max(1.0, (fix.fix_time_ms - before.fix_time_ms) / 1_000), 1)
            if not is_possible(before, fix, max_speed_mps):
                verdict = IMPOSSIBLE_JUMP
        judged.append(_judged(fix, verdict, speed_mps, now_ms))
        before = fix
    return judged


def _judged(fix: Ping, verdict: str, speed_mps: float | None, now_ms: int) -> JudgedFix:
    cell = cell_of(fix.lat, fix.lon)
    same: dict[str, Any] = {
        name: getattr(fix, name)
        for name in ("accuracy_m", "heading_deg", "speed_mps", "altitude_m", "vehicle_type", "ping_id")
    }
    return JudgedFix(
        verdict,
        fix.fix_time_ms,
        max(0, now_ms - fix.fix_time_ms),
        fix.lat,
        fix.lon,
        f"{cell:x}",
        f"{region_of(cell):x}",
        fix.received_at_ms,
        fix.vehicle_state,
        implied_speed_mps=speed_mps,
        **same,
    )


def _state(live: Ping | None, now_ms: int, settings: PushSettings) -> str:
    if live is None:
        return UNKNOWN
    if live.vehicle_state == OFFLINE:
        return OFFLINE_STATE
    return freshness_of(live.fix_time_ms, now_ms, settings)


def _because(state: str, shown: bool, live: Ping | None, now_ms: int, settings: PushSettings) -> str:
    if live is None:
        return (
            "Not shown: no ping of this driver was accepted within RIDESTREAM_FORGET_AFTER_MS, or none has been "
            "folded yet"
        )
    age = _span(now_ms - live.fix_time_ms)
    if state == OFFLINE_STATE:
        return f"Not shown: its newest believable fix, {age} old, says OFFLINE"
    if state == Freshness.GONE:
        return (
            f"Not shown: its newest believable fix is {age} old, and a car is gone after "
            f"{_span(settings.gone_after_ms)} (RIDESTREAM_GONE_AFTER_MS)"
        )
    if not shown:
        return (
            f"Not shown, although its newest believable fix is only {age} old: the index does not hold it; if that "
            "lasts, see whether a stream worker runs"
        )
    if state == Freshness.STALE:
        return (
            f"Shown as stale: its newest believable fix is {age} old, which is not live after "
            f"{_span(settings.stale_after_ms)} (RIDESTREAM_STALE_AFTER_MS)"
        )
    return f"Shown as live: its newest believable fix is {age} old"


def _unbelieved(newest: JudgedFix, settings: PushSettings) -> str:
    return (
        f"; a newer fix, {_span(newest.age_ms)} old, is not believed until another confirms it, because it implies "
        f"{newest.implied_speed_mps:g} m/s and no car drives {settings.max_speed_mps:g} (RIDESTREAM_MAX_SPEED_MPS)"
    )


def _span(milliseconds: int) -> str:
    """A duration as people say it."""
    seconds = max(0, milliseconds) / 1_000
    for unit, length_s, until_s in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < until_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
