"""A run that never was: what a recorder was told of a minute with a stall, a fault and a marker that went backwards."""

from __future__ import annotations

import math
from random import Random

from simulator.counts.findings import Findings, Kind
from simulator.counts.tally import Tally
from simulator.oracle.promises import SCREENS_JUDGED, Verdict
from simulator.results.machine import Machine
from simulator.results.recorder import Recorder
from simulator.results.twin import Document, Run, document

START_MS = 1_795_000_000_000
SECONDS = 60
STALL = range(40, 43)
BOUNDS_MS = (5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1_000.0, math.inf)
#: What a title may hold that a page must not believe.
TITLE = 'Rush hour <script>alert("1")</script> in "Manhattan"'
COMMAND = "ridestream simulate rush_hour --seed 7"


def a_recorder() -> Recorder:
    random, recorder = Random(7), Recorder(START_MS)
    recorder.fault(START_MS + 10_000, START_MS + 20_000, "tunnel: a fifth of the phones")
    for second in range(SECONDS):
        at_ms = START_MS + second * 1_000 + 500
        recorder.sent(20, at_ms)
        recorder.gauge("riders", 10, at_ms)
        recorder.gauge("cpu_cores/push", 0.25, at_ms)
        recorder.gauge("memory_mib/push", 90.0 + second, at_ms)
        if second in STALL:
            continue
        for _ in range(20):
            recorder.acked([random.lognormvariate(2, 0.4)], 0, at_ms)
            recorder.received(random.lognormvariate(3, 0.4) + (3_000 if second == STALL.stop else 0), at_ms)
            recorder.position_error(random.lognormvariate(2, 0.4), at_ms)
            recorder.staleness(random.lognormvariate(6, 0.4), at_ms)
        recorder.told(200, at_ms)
        recorder.growth("indexed", dict(zip(BOUNDS_MS, (0, 4, 15, 20, 20, 20, 20, 20), strict=True)), at_ms)
        recorder.growth("pushed", dict(zip(BOUNDS_MS, (0, 0, 4, 15, 20, 20, 20, 20), strict=True)), at_ms)
    recorder.builds["push"] = "0.1.0"
    recorder.finish(START_MS + SECONDS * 1_000)
    return recorder


def a_tally() -> Tally:
    tally = Tally()
    tally.sent, tally.accepted = 1_200, 1_195
    tally.rejected["mock_location"] = 5
    return tally


def findings() -> Findings:
    found = Findings()
    for number in range(3):
        found.note(
            Kind.BACKWARDS, START_MS + 12_345 + number, f"rider-{number}", "driver-0042", shown_ms=START_MS + 12_000
        )
    return found


def verdicts(found: Findings) -> list[Verdict]:
    broken = found.counts[Kind.BACKWARDS]
    return [
        Verdict("ghost", 0, 0, True),
        Verdict("backwards", 0, broken, broken == 0, found.first.get(Kind.BACKWARDS)),
        Verdict("latency_p99_ms", 500, 41.5, True),
        Verdict(SCREENS_JUDGED, 1, 60, True),
    ]


def a_report(found: Findings | None = None, interrupted: bool = False) -> Document:
    found = findings() if found is None else found
    return document(
        Run(TITLE, "rush_hour", 'title = "Rush hour"\nseed = 7\n', 7, COMMAND),
        a_recorder(),
        a_tally(),
        verdicts(found),
        {"backwards": found.some(Kind.BACKWARDS)},
        {"riders": 10, "updates": 11_400, "lost": []},
        {"requested": 4, "done": 3},
        Machine("Linux 6 x86_64", "A processor", 2, 4_096, 0.5, "CPython 3.11"),
        {"ridestream": "0.1.0"},
        interrupted,
    )
