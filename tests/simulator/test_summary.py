"""What a run ends with: the words of its verdict, and a report that a second Ctrl-C does not cost."""

from __future__ import annotations

import os
import signal
from typing import Any, cast

import pytest

from simulator.counts.findings import Findings
from simulator.scenario_command import undisturbed
from simulator.staging.play import Played
from simulator.staging.summary import summary
from tests.simulator.measured import a_recorder, a_tally, findings, verdicts

TRIPS: dict[str, object] = {"requested": 20, "done": 10, "judged": 20}


def played(found: Findings, interrupted: bool = False, trips: dict[str, object] = TRIPS) -> Played:
    nobody = cast(Any, None)
    return Played(nobody, verdicts(found), a_recorder(), a_tally(), "f" * 64, interrupted, None, 0.0, {}, trips)


def test_a_run_that_kept_all_says_so_with_its_figures() -> None:
    told = summary(played(Findings())).splitlines()
    assert told[0].endswith("pings, fingerprint ffffffffffffffff")
    assert told[3] == "trips                   10  of 20 requests, 20 judged"
    assert told[-1] == "OK: all 4 promises were kept"


def test_a_run_that_was_stopped_does_not_claim_what_was_not_judged() -> None:
    stopped = "STOPPED before its end: no promise was broken until then"
    assert summary(played(Findings(), interrupted=True)).splitlines()[-1] == (
        f"{stopped}; of trips only what their riders saw meanwhile was judged"
    )
    assert summary(played(Findings(), interrupted=True, trips={})).splitlines()[-1] == stopped
    broken = summary(played(findings(), interrupted=True)).splitlines()
    assert broken[-1] == "FAILED: 1 of 4 promises were broken"
    assert broken[-2].startswith("BROKEN backwards: 3, at most 0; ")


def test_a_second_ctrl_c_does_not_cost_the_report_and_a_later_one_counts_again() -> None:
    with undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
