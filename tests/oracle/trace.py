"""The recorded traces that nobody here wrote: where they are, and their rows, as they stand in the file."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PORTO = "porto_taxi_folded_day.csv.gz"
CAPMETRO = "capmetro_austin_2017-03-21.csv.gz"

_ROOT = Path(__file__).resolve().parents[2]


class Fix(NamedTuple):
    """One row: epoch milliseconds, WGS84 degrees."""

    driver_id: str
    fix_time_ms: int
    lat: float
    lon: float


def shared_data() -> Path:
    """The folder of real input. Skips the test where it is absent, or fails it if RIDESTREAM_REQUIRE_SHARED=1."""
    folder = Path(os.environ.get("RIDESTREAM_SHARED_DATA") or _ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        say = pytest.fail if os.environ.get("RIDESTREAM_REQUIRE_SHARED") == "1" else pytest.skip
        say("no recorded traces here: put them at ../shared/data or set RIDESTREAM_SHARED_DATA")
    return folder


def trace_path(name: str) -> Path:
    return shared_data() / "traces" / name


def read_trace(name: str) -> list[Fix]:
    """All rows of a trace, in the file's order, nothing cleaned."""
    with gzip.open(trace_path(name), "rt", newline="") as file:
        return [
            Fix(row["driver_id"], int(row["ts_ms"]), float(row["lat"]), float(row["lng"]))
            for row in csv.DictReader(file)
        ]


def expected_counts(name: str) -> dict[str, Any]:
    """What a correct ingest must count in this trace, as its collectors counted it."""
    counts: dict[str, Any] = json.loads((shared_data() / "traces" / "expected_counts.json").read_text())[name]
    return counts
