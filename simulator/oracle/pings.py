"""Account for every ping: each that was sent has one verdict in the end, and that is the right one. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from simulator.counts.findings import Findings, Kind

if TYPE_CHECKING:
    from simulator.phones.phones import Sending

#: What a phone's sending may expect when ingest is to accept it (simulator/phones/phones.py); else the reason code.
ACCEPTED = frozenset({"shown", "kept"})


class _Open(NamedTuple):
    expect: str
    sent_ms: int


class PingOracle:
    """sent = accepted + rejected by reason + open, at every moment; nothing is open at the end."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.sent = self.accepted = 0
        self.rejected: Counter[str] = Counter()
        #: Of each driver and fix time the sendings without a verdict, oldest first: a phone may send a fix twice.
        self._open: dict[tuple[str, int], list[_Open]] = {}

    @property
    def open(self) -> int:
        """Pings without a verdict."""
        return self.sent - self.accepted - self.rejected.total()

    def posted(self, sending: Sending, at_ms: int) -> None:
        """The phone posts this ping at `at_ms`; the same ping posted anew, because no answer came, is not another."""
        self.sent += 1
        key = (sending.fix.driver_id, sending.fix.fix_time_ms)
        self._open.setdefault(key, []).append(_Open(sending.expect, at_ms))

    def judged(self, driver_id: str, fix_time_ms: int, reason: str | None, at_ms: int) -> None:
        """Ingest's verdict came: None when it accepted the ping, else why not."""
        key = (driver_id, fix_time_ms)
        waiting = self._open.get(key)
        evidence = {"fix_time_ms": fix_time_ms, "verdict": reason or "accepted"}
        if not waiting:
            why = "a verdict on a ping that was not sent, or had one"
            self._findings.note(Kind.PING_UNACCOUNTED, at_ms, "fleet", driver_id, why=why, **evidence)
            return
        # Copies of a fix may be in different posts, whose answers come in any order: take one that expected this.
        index = next((n for n, each in enumerate(waiting) if _fits(each.expect, reason)), 0)
        expect, sent_ms = waiting.pop(index)
        if not waiting:
            del self._open[key]
        if reason is None:
            self.accepted += 1
        else:
            self.rejected[reason] += 1
        if not _fits(expect, reason):
            why = "another verdict than the wire says"
            expected = "accepted" if expect in ACCEPTED else expect
            self._findings.note(
                Kind.PING_UNACCOUNTED,
                at_ms,
                "fleet",
                driver_id,
                why=why,
                expected=expected,
                sent_ms=sent_ms,
                **evidence,
            )

    def end(self, at_ms: int) -> None:
        """The run is over and every answer has been waited for: what is open now will never be accounted for."""
        for (driver_id, fix_time_ms), waiting in self._open.items():
            for expect, sent_ms in waiting:
                evidence = {"fix_time_ms": fix_time_ms, "sent_ms": sent_ms, "waited_ms": at_ms - sent_ms}
                why = "sent, and no verdict came"
                self._findings.note(
                    Kind.PING_UNACCOUNTED, at_ms, "fleet", driver_id, why=why, expected=expect, **evidence
                )


def _fits(expect: str, reason: str | None) -> bool:
    return expect in ACCEPTED if reason is None else expect == reason
