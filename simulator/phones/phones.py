"""Turn what phones read into what they post, and when, through the faults of a scenario. No I/O, no clock.

A report is first misread, then passed along the links in the order of the scenario, each of which acts at the moment
at which the fix comes by. Everything happens in order of time, so the sendings are the same however time is cut.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from simulator.fleet.fixes import Fix
from simulator.fleet.reports import Report
from simulator.phones.belief import Belief, refusal
from simulator.phones.fault import FOREVER, Draft, Fate, Fault, Link, Misreading, Reading
from simulator.phones.fault_links import DeadPhone

#: In `Phones.lost`: fixes that no phone may post (simulator/phones/belief.py says why).
WITHHELD: Final = "withheld"


class Sending(NamedTuple):
    """One ping that a phone posts."""

    #: Never before the fix was read.
    send_at_ms: int
    driver: int
    fix: Fix
    #: False: the position or the time is not the car's.
    honest: bool
    #: "shown" (accepted, and moves the marker), "kept" (accepted; late, a duplicate or not believable, and never moves
    #: a marker), or the reason code by which ingest rejects it.
    expect: str


class Phones:
    """All phones of a fleet. Every report until a moment must be `read` before what is `due` by then is asked for."""

    def __init__(self, faults: Sequence[Fault], start_ms: int) -> None:
        self._faults = list(faults)
        self._misreadings = [fault for fault in faults if isinstance(fault, Misreading)]
        self._links = [fault for fault in faults if isinstance(fault, Link)]
        self._deaths = [fault for fault in faults if isinstance(fault, DeadPhone)]
        self._watching = [(stage, link) for stage, link in enumerate(self._links) if link.watches]
        self._reports: deque[Report] = deque()
        self._read_until_ms, self._done_ms = start_ms, start_ms - 1
        #: (when, tie by order of making, the link it comes to, what; None wakes the link).
        self._ahead: list[tuple[int, int, int, Draft | None]] = []
        self._made = 0
        self._beliefs: dict[int, Belief] = {}
        self._posted: list[Sending] = []
        #: Reports of which no copy was ever posted, by the fault that swallowed the last one.
        self.lost: Counter[str] = Counter()
        #: Reports that were neither posted nor lost yet.
        self.waiting = 0

    def read(self, reports: Iterable[Report]) -> None:
        """Take in reports, in order of time. Raises ValueError when one is older than what was posted already."""
        for report in reports:
            read_ms = report.fix.fix_time_ms
            if read_ms < self._read_until_ms or read_ms <= self._done_ms:
                raise ValueError(
                    f"driver {report.driver} reports at {read_ms}, but phones were read until {self._read_until_ms} "
                    f"and post until {self._done_ms}: read all reports until a moment before asking what is due by it"
                )
            self._read_until_ms = read_ms
            self._reports.append(report)
            self.waiting += 1

    @property
    def next_due_ms(self) -> int | None:
        """When something may have to be posted; None when nothing is known of."""
        soonest = min(
            self._reports[0].fix.fix_time_ms if self._reports else FOREVER,
            self._ahead[0][0] if self._ahead else FOREVER,
        )
        return None if soonest == FOREVER else soonest

    def due(self, now_ms: int) -> list[Sending]:
        """Everything to be posted by `now_ms`, ordered by time, then driver, then as the phone posts it."""
        reports, ahead = self._reports, self._ahead
        while True:
            report_ms = reports[0].fix.fix_time_ms if reports else FOREVER
            if ahead and ahead[0][0] <= min(report_ms, now_ms):
                at_ms, _, stage, draft = heappop(ahead)
                if draft is None:
                    self._follow(self._links[stage].wake(at_ms), stage, at_ms)
                else:
                    self._pass_on(draft, stage, at_ms)
            elif report_ms <= now_ms:
                self._take(reports.popleft(), report_ms)
            else:
                break
        self._done_ms = max(self._done_ms, now_ms)
        posted, self._posted = self._posted, []
        posted.sort(key=lambda sending: (sending.send_at_ms, sending.driver))
        return posted

    def on_air(self, driver: int, at_ms: int) -> bool:
        """Whether the phone posts what riders may be shown. About moments for which `due` was asked already."""
        return not any(fault.silences(driver, at_ms) for fault in self._faults)

    def _dead(self, driver: int, at_ms: int) -> bool:
        return any(death.silences(driver, at_ms) for death in self._deaths)

    def _take(self, report: Report, at_ms: int) -> None:
        driver, fix = report.driver, report.fix
        for stage, link in self._watching:
            fate = link.see(report)
            if fate is not None:
                self._follow(fate, stage, at_ms)
        if self._deaths and self._dead(driver, at_ms):
            self._lose(Draft(Reading(driver), fix, honest=True), DeadPhone.kind)
            return
        for misreading in self._misreadings:
            fix = misreading.misread(driver, at_ms, fix)
        self._pass_on(Draft(Reading(driver), fix, honest=fix is report.fix), 0, at_ms)

    def _pass_on(self, draft: Draft, stage: int, at_ms: int) -> None:
        """Let the links from `stage` on have it, the first that does something to it decides."""
        for at_stage in range(stage, len(self._links)):
            fate = self._links[at_stage].meet(draft, at_ms)
            if fate is not None:
                self._follow(fate, at_stage, at_ms)
                return
        self._post(draft, at_ms)

    def _follow(self, fate: Fate, stage: int, at_ms: int) -> None:
        for draft in fate.lost:
            self._lose(draft, self._links[stage].kind)
        if fate.wake_ms is not None:
            self._later(fate.wake_ms, stage, None)
        for on_ms, draft in fate.on:
            if on_ms <= at_ms:
                self._pass_on(draft, stage + 1, at_ms)
            else:
                self._later(on_ms, stage + 1, draft)

    def _later(self, at_ms: int, stage: int, draft: Draft | None) -> None:
        heappush(self._ahead, (at_ms, self._made, stage, draft))
        self._made += 1

    def _lose(self, draft: Draft, why: str) -> None:
        reading = draft.reading
        reading.copies -= 1
        if reading.copies == 0 and not reading.posted:
            self.lost[why] += 1
            self.waiting -= 1

    def _post(self, draft: Draft, at_ms: int) -> None:
        reading, fix, honest = draft
        driver = reading.driver
        if self._deaths and self._dead(driver, at_ms):
            self._lose(draft, DeadPhone.kind)
            return
        expect = refusal(fix, at_ms)
        if expect is None:
            belief = self._beliefs.get(driver)
            if belief is None:
                belief = self._beliefs[driver] = Belief()
            expect = belief.weigh(fix, honest)
            if expect is None:
                self._lose(draft, WITHHELD)
                return
        reading.copies -= 1
        if not reading.posted:
            reading.posted = True
            self.waiting -= 1
        self._posted.append(Sending(at_ms, driver, fix, honest, expect))
