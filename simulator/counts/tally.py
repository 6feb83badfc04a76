"""What became of every ping of a run: each is counted once, under its final verdict. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from simulator.counts.latency import Latencies

#: The reasons that docs/wire publishes for a rejected ping. Another one means that the wire changed under us.
KNOWN_REASONS = frozenset(
    {
        "malformed",
        "missing_driver_id",
        "driver_mismatch",
        "out_of_range",
        "null_island",
        "future_fix",
        "too_old",
        "low_accuracy",
        "mock_location",
    }
)


class Tally:
    """sent = accepted + rejected + failed + unacknowledged, at every moment."""

    def __init__(self) -> None:
        #: Pings handed to the emitter.
        self.sent = 0
        self.accepted = 0
        #: Pings that ingest judged and refused, by its reason code.
        self.rejected: Counter[str] = Counter()
        #: Pings that never got a verdict because their post was refused for good, by why.
        self.failed: Counter[str] = Counter()
        self.posts = 0
        #: Posts that were sent again, by why.
        self.retries: Counter[str] = Counter()
        #: From the moment a ping was due to the verdict on it: waiting and retries count, for drivers wait too.
        self.ack_ms = Latencies()

    @property
    def unacknowledged(self) -> int:
        """Pings that still wait for a verdict."""
        return self.sent - self.accepted - self.rejected.total() - self.failed.total()

    def judge(self, reasons: Sequence[str | None], waits_ms: Sequence[float]) -> None:
        """Count one answered post: None for an accepted ping, its reason for a rejected one; and how long each took."""
        if len(reasons) != len(waits_ms):
            raise ValueError(f"{len(reasons)} verdicts that took {len(waits_ms)} times")
        refused = [reason for reason in reasons if reason is not None]
        self.rejected.update(refused)
        self.accepted += len(reasons) - len(refused)
        self.ack_ms.add_all(waits_ms)

    @property
    def clean(self) -> bool:
        """Every ping has a verdict, and every rejection a reason that the wire publishes."""
        return not self.failed and self.unacknowledged == 0 and KNOWN_REASONS.issuperset(self.rejected)
