"""The report as data: all that the HTML shows, as one JSON document. Pure. docs/report.md is its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from simulator.counts.findings import Finding
from simulator.counts.tally import Tally
from simulator.oracle.promises import Verdict as Judged
from simulator.results.machine import Machine
from simulator.results.recorder import Recorder
from simulator.results.table import Series, Summary, series_of, summaries_of, times_of

#: Counts up when a member changes its meaning or goes; new members may come without.
FORMAT = "ridestream.report/1"

Result = Literal["passed", "failed", "interrupted"]


class Run(msgspec.Struct, frozen=True):
    """What was run. `command` must hold no token (simulator/results/machine.py)."""

    title: str
    scenario: str
    scenario_toml: str
    seed: int
    command: str


class Case(msgspec.Struct, frozen=True):
    """One thing that the oracle found. `at_s` counts from the start of the run."""

    kind: str
    at_s: float
    at_ms: int
    who: str
    driver_id: str
    evidence: dict[str, object]


class Verdict(msgspec.Struct, frozen=True):
    """What was found of one thing, and the most (or the least) that passes. `found` is null: nothing was measured."""

    name: str
    bound: float
    found: float | None
    ok: bool
    #: The first case, and some that came after it.
    first: Case | None = None
    more: list[Case] = []
    #: `bound` is the least that passes, not the most.
    at_least: bool = False


class Pings(msgspec.Struct, frozen=True):
    """sent = accepted + rejected + failed + unacknowledged."""

    sent: int
    accepted: int
    rejected: int
    rejected_by_reason: dict[str, int]
    failed: int
    failed_by_reason: dict[str, int]
    unacknowledged: int
    posts: int
    retries: int
    retries_by_reason: dict[str, int]


class Broken(msgspec.Struct, frozen=True):
    """Something that the scenario broke on purpose, in seconds from the start."""

    from_s: float
    until_s: float
    words: str


class Document(msgspec.Struct, frozen=True):
    format: str
    result: Result
    run: Run
    started_at: str
    start_ms: int
    elapsed_s: float
    machine: Machine
    versions: dict[str, str]
    services: dict[str, str]
    verdicts: list[Verdict]
    pings: Pings
    #: Plain facts of the riders and of the trips, by name.
    riders: dict[str, object]
    trips: dict[str, object]
    faults: list[Broken]
    summaries: dict[str, Summary]
    bin_s: float
    #: When each bin begins, in seconds from the start.
    time_s: list[float]
    series: dict[str, Series]

    @property
    def ends_at_s(self) -> float:
        """Where the time axis of every plot ends, in seconds from the start."""
        return max(self.elapsed_s, self.bin_s)


def document(
    run: Run,
    recorder: Recorder,
    tally: Tally,
    verdicts: Sequence[Judged],
    more: Mapping[str, Sequence[Finding]],
    riders: Mapping[str, object],
    trips: Mapping[str, object],
    machine: Machine,
    versions: Mapping[str, str],
    interrupted: bool = False,
) -> Document:
    """All of a run that has ended. `more` gives some findings by the name of the verdict they belong to."""
    start_ms = recorder.start_ms
    passed = all(verdict.ok for verdict in verdicts)
    return Document(
        format=FORMAT,
        # What a broken bound says stands, also when somebody stopped the run.
        result="failed" if not passed else "interrupted" if interrupted else "passed",
        run=run,
        started_at=datetime.fromtimestamp(start_ms / 1_000, UTC).isoformat(timespec="milliseconds"),
        start_ms=start_ms,
        elapsed_s=(recorder.last_ms - start_ms) / 1_000,
        machine=machine,
        versions=dict(versions),
        services=dict(sorted(recorder.builds.items())),
        verdicts=[_verdict(verdict, more.get(verdict.name, ()), start_ms) for verdict in verdicts],
        pings=_pings(tally),
        riders=dict(riders),
        trips=dict(trips),
        faults=[
            Broken((fault.from_ms - start_ms) / 1_000, (fault.until_ms - start_ms) / 1_000, fault.words)
            for fault in sorted(recorder.faults, key=lambda fault: (fault.from_ms, fault.until_ms))
        ],
        summaries=summaries_of(recorder),
        bin_s=recorder.ruler.bin_ms / 1_000,
        time_s=times_of(recorder),
        series=series_of(recorder),
    )


def encode(report: Document) -> bytes:
    """The JSON twin."""
    return msgspec.json.encode(report, enc_hook=_plain) + b"\n"


def decode(content: bytes) -> Document:
    """Read a twin back. Raises msgspec.DecodeError, which says where it is not one."""
    return msgspec.json.decode(content, type=Document)


def _plain(value: object) -> object:
    """Evidence may hold what the oracle computes with: numpy's numbers, enums, tuples of its own."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _verdict(judged: Judged, more: Sequence[Finding], start_ms: int) -> Verdict:
    first = None if judged.first is None else _case(judged.first, start_ms)
    cases = [_case(finding, start_ms) for finding in more]
    return Verdict(
        judged.name,
        float(judged.bound),
        None if judged.found is None else float(judged.found),
        judged.ok,
        first,
        [case for case in cases if case != first],
        at_least=judged.at_least,
    )


def _case(finding: Finding, start_ms: int) -> Case:
    return Case(
        str(finding.kind),
        (finding.at_ms - start_ms) / 1_000,
        finding.at_ms,
        finding.who,
        finding.driver_id,
        dict(finding.evidence),
    )


def _pings(tally: Tally) -> Pings:
    return Pings(
        tally.sent,
        tally.accepted,
        tally.rejected.total(),
        dict(sorted(tally.rejected.items())),
        tally.failed.total(),
        dict(sorted(tally.failed.items())),
        tally.unacknowledged,
        tally.posts,
        tally.retries.total(),
        dict(sorted(tally.retries.items())),
    )
