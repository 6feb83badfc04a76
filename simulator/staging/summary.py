"""Say to a person what came of a scenario that was played. No clock, no I/O."""

from __future__ import annotations

from simulator.staging.play import Played


def summary(played: Played) -> str:
    """A line for what was sent and for each figure, one for each broken promise, and the verdict."""
    tally, trips = played.tally, played.trips
    lines = [
        f"sent          {tally.sent:>12,}  pings, fingerprint {played.fingerprint[:16]}",
        f"accepted      {tally.accepted:>12,}",
        f"rejected      {tally.rejected.total():>12,}",
    ]
    if trips:
        lines.append(
            f"trips         {trips['done']:>12,}  of {trips['requested']:,} requests, {trips['judged']} judged"
        )
    if played.denied is not None:
        lines.append(f"STOPPED: ingest refused: {played.denied}")
    broken = [verdict for verdict in played.verdicts if not verdict.ok]
    lines += [
        f"{verdict.name:<22} {verdict.found:,.1f}  (at most {verdict.bound:,g})"
        for verdict in played.verdicts
        if verdict.ok and verdict.found is not None and isinstance(verdict.bound, float)
    ]
    lines += [verdict.words(played.recorder.start_ms) for verdict in broken]
    kept = len(played.verdicts) - len(broken)
    if broken or played.denied is not None:
        lines.append(f"FAILED: {len(broken)} of {len(played.verdicts)} promises were broken")
    elif played.interrupted:
        of_trips = "; of trips only what their riders saw meanwhile was judged" if trips else ""
        lines.append(f"STOPPED before its end: no promise was broken until then{of_trips}")
    else:
        lines.append(f"OK: all {kept} promises were kept")
    return "\n".join(lines)
