"""`python -m tests.bench [1 2 3 3b 5 8] [--rounds N] [--seconds S] [--write]`: run the benchmarks and judge them."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import end_to_end, fanout, figures, ingest_rates, stream_rates
from tests.bench.figures import Row
from tests.bench.machine import cores, versions
from tests.bench.processes import BenchError

ALL = ("1", "2", "3", "3b", "5", "8")
DOCS = Path(__file__).resolve().parents[2] / "docs"
#: Above this somebody else uses the machine; the figures are then what they are, and the sitting says so.
QUIET_LOADAVG = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Ratios of ridestream to plain peers.")
    parser.add_argument("which", nargs="*", help=f"benchmarks to run: {' '.join(ALL)} (default all)")
    parser.add_argument("--rounds", type=int, default=3, help="A/B rounds of each (default 3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured window of each side (default 10)")
    parser.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.json and the table of benchmarks.md"
    )
    args = parser.parse_args()
    wanted = args.which or list(ALL)
    if unknown := [each for each in wanted if each not in ALL]:
        parser.error(f"no benchmark {unknown[0]}; there are {' '.join(ALL)}")
    # So that whoever ends the bench, ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server_core, load_core = cores()
    sitting = {
        "command": " ".join(["python -m tests.bench", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "loadavg_before": os.getloadavg()[0],
        "versions": versions(),
    }
    print(figures.sitting_text(sitting))
    print(f"server on core {server_core}; load generator and engines on core {load_core}; nproc {os.cpu_count()}")
    if os.getloadavg()[0] > QUIET_LOADAVG:
        print(f"note: the load average is {os.getloadavg()[0]:.2f}: somebody else uses this machine")
    rows: list[Row] = []
    failed = False
    for name, run in plan(wanted, args.rounds, args.seconds):
        started = time.monotonic()
        print(f"\nbenchmark {name} …", flush=True)
        try:
            found = run()
        except BenchError as error:
            print(f"benchmark {name} failed: {error}", file=sys.stderr)
            failed = True
            continue
        rows += found
        print(figures.table([row.as_json() for row in found]))
        for row in found:
            for text in row.notes:
                print(f"  {row.id}: {text}")
        print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
    return judge(rows, failed, sitting, args.write)


def plan(wanted: list[str], rounds: int, seconds: float) -> list[tuple[str, Callable[[], list[Row]]]]:
    """What to run, in order; benchmarks that share a sitting are one step."""
    steps: list[tuple[str, Callable[[], list[Row]]]] = []
    single, batched, loop, faust = ("1" in wanted, "2" in wanted, "3" in wanted, "3b" in wanted)
    if single or batched:
        steps.append(("1, 2", lambda: ingest_rates.run(rounds, seconds, single, batched)))
    if loop or faust:
        steps.append(("3, 3b", lambda: stream_rates.run(rounds, seconds, loop, faust)))
    if "5" in wanted:
        steps.append(("5", lambda: fanout.run(rounds, seconds)))
    if "8" in wanted:
        steps.append(("8", lambda: end_to_end.run(rounds, seconds)))
    return steps


def judge(rows: list[Row], failed: bool, sitting: dict[str, object], write: bool) -> int:
    """Print the table, write it if asked, and say by the exit code whether all is valid and every gate reached."""
    found = [row.as_json() for row in rows]
    print(f"\n{figures.table(found)}")
    invalid = [f"{row.id}, {reason}" for row in rows for reason in row.invalid_because()]
    missed = [row for row in rows if not row.reaches(row.gate)]
    for reason in invalid:
        print(f"INVALID {reason}", file=sys.stderr)
    for row in missed:
        print(f"MISSED  {row.id}: ratio {row.ratio():.2f}, gate {row.gate:g}", file=sys.stderr)
    if write:
        # A row that may not be believed is written too, and says so: silence would look like a figure not taken.
        figures.write(DOCS, found, sitting)
        print(f"wrote {DOCS / 'benchmarks.json'} and the figures of {DOCS / 'benchmarks.md'}")
    return 1 if failed or invalid or missed else 0


if __name__ == "__main__":
    sys.exit(main())
