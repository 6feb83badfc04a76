"""Say what became of a run: as text for a person, as one JSON object for a program, and as an exit code. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.counts.tally import Tally

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
#: A run that was never later than this kept its schedule, as far as a person can tell.
WORTH_SAYING_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything known at the end of a run. `riders` is a crowd's summary; `denied` why ingest refused the token."""

    tally: Tally
    elapsed_s: float
    behind_ms: float
    interrupted: bool
    denied: str | None = None
    riders: Mapping[str, Any] | None = None

    @property
    def clean(self) -> bool:
        riders_clean = self.riders is None or not (self.riders["faults"] or self.riders["lost"])
        return self.tally.clean and self.denied is None and riders_clean

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        return OK if self.clean else FAILED


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The summary for a program; docs/simulator.md lists its members."""
    tally = outcome.tally
    document: dict[str, Any] = {
        "result": "interrupted" if outcome.interrupted else "ok" if outcome.clean else "failed",
        "elapsed_s": round(outcome.elapsed_s, 3),
        "sent": tally.sent,
        "accepted": tally.accepted,
        "rejected": tally.rejected.total(),
        "rejected_by_reason": dict(sorted(tally.rejected.items())),
        "failed": tally.failed.total(),
        "failed_by_reason": dict(sorted(tally.failed.items())),
        "unacknowledged": tally.unacknowledged,
        "posts": tally.posts,
        "retries": tally.retries.total(),
        "retries_by_reason": dict(sorted(tally.retries.items())),
        "ack_latency_ms": tally.ack_ms.summary(),
        "behind_schedule_ms": round(outcome.behind_ms, 1),
    }
    if outcome.riders is not None:
        document["riders"] = dict(outcome.riders)
    return document


def as_text(outcome: Outcome) -> str:
    """The summary for a person."""
    tally = outcome.tally
    rate = tally.sent / outcome.elapsed_s if outcome.elapsed_s > 0 else 0.0
    lines = [
        f"sent            {tally.sent:>9,}  in {outcome.elapsed_s:.1f} s ({rate:,.0f}/s), "
        f"{_count(tally.posts, 'post')}, {_count(tally.retries.total(), 'retry', 'retries')}{_by(tally.retries)}",
        f"accepted        {tally.accepted:>9,}",
        f"rejected        {tally.rejected.total():>9,}{_by(tally.rejected)}",
        f"failed          {tally.failed.total():>9,}{_by(tally.failed)}",
        f"unacknowledged  {tally.unacknowledged:>9,}",
        f"acknowledged in {_latencies(tally.ack_ms.summary())}",
    ]
    riders = outcome.riders
    if riders is not None:
        lines.append(f"moves at riders {_latencies(riders['latency_ms'])}")
        lines.append(
            f"riders          {riders['riders']:>9,}  {_count(riders['snapshots'], 'snapshot')}, "
            f"{_count(riders['updates'], 'update')}, {_count(riders['reconnects'], 'reconnection')}, "
            f"{_count(riders['faults'], 'broken promise')}"
        )
        lines += [f"  broken promise: {what}" for what in riders["faults_described"]]
        lines += [f"  lost a rider: {why}" for why in riders["lost"]]
    if outcome.behind_ms > WORTH_SAYING_MS:
        lines.append(f"behind schedule by up to {outcome.behind_ms / 1_000:.1f} s")
    return "\n".join([*lines, _verdict(outcome)])


def _verdict(outcome: Outcome) -> str:
    tally = outcome.tally
    if outcome.denied in ("http_401", "http_403"):
        return (
            "FAILED: ingest refused the token; it must be signed with the key ingest has (RIDESTREAM_JWT_KEY), "
            "for the audience `ingest`, with the scope `fleet`"
        )
    problems = []
    if tally.failed:
        problems.append(f"{_count(tally.failed.total(), 'ping')} could not be delivered")
    if tally.unacknowledged:
        problems.append(f"{_count(tally.unacknowledged, 'ping')} without a verdict")
    if not tally.failed and not tally.unacknowledged and not tally.clean:
        problems.append("rejections for a reason that the wire does not publish")
    if outcome.riders is not None and (outcome.riders["faults"] or outcome.riders["lost"]):
        problems.append("riders saw the stream's promises broken, or were turned away")
    if problems:
        return ("INTERRUPTED: " if outcome.interrupted else "FAILED: ") + "; ".join(problems)
    return ("INTERRUPTED: " if outcome.interrupted else "OK: ") + "every ping has a verdict"


def _by(reasons: Mapping[str, int]) -> str:
    return "  " + ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items())) if reasons else ""


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _latencies(summary: Mapping[str, Any]) -> str:
    if not summary["count"]:
        return "        -"
    return ", ".join(f"{name} {summary[name]:,.1f} ms" for name in ("p50", "p90", "p99", "max"))
