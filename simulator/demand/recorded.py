"""A table of real requests: its columns, and the day that it is. No clock, no chance."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from simulator.roads.network import open_table

REQUESTS_FILE: Final = "nyc_requests.csv.gz"
COLUMNS: Final = ("time", "o_lat", "o_lon", "d_lat", "d_lon")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class RequestsError(ValueError):
    """Requests cannot be made or read; the message is one line and says what to do."""


class Recorded(NamedTuple):
    """One request: from where to where (degrees), and when: at most `within_s` after `at_s` of the day."""

    at_s: int
    within_s: int
    o_lat: float
    o_lon: float
    d_lat: float
    d_lon: float


def read_requests(file: str) -> list[Recorded]:
    """The requests of a path, or of `nyc`: the shipped ones. Raises RequestsError, OSError."""
    path = Path(__file__).parent / "nyc" / REQUESTS_FILE if file == "nyc" else Path(file)
    with open_table(path) as lines:
        try:
            return parse_requests(lines, path.name)
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, csv.Error):
            raise RequestsError(f"{path.name}: neither a CSV in UTF-8 nor a whole gzip of one") from None


def parse_requests(lines: Iterable[str], name: str) -> list[Recorded]:
    """Read a table with the columns `time` (HH:MM or HH:MM:SS), `o_lat`, `o_lon`, `d_lat`, `d_lon`."""
    rows = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise RequestsError(f"{name}: needs the columns {', '.join(COLUMNS)}; there is no {', '.join(missing)}")
    requests = [_recorded(row, name, number) for number, row in enumerate(rows, start=2)]
    if not requests:
        raise RequestsError(f"{name}: no requests")
    return requests


def _recorded(row: Mapping[str, str | None], name: str, number: int) -> Recorded:
    time = _TIME.fullmatch(row["time"] or "")
    if time is None:
        raise RequestsError(f"{name}: row {number}: time must be HH:MM or HH:MM:SS")
    places = []
    for column, limit in zip(COLUMNS[1:], (90, 180, 90, 180), strict=True):
        try:
            places.append(float(row[column] or ""))
        except ValueError:
            raise RequestsError(f"{name}: row {number}: {column} is not a number") from None
        if not -limit <= places[-1] <= limit:
            raise RequestsError(f"{name}: row {number}: {column} is out of range (±{limit})")
    at_s = int(time[1]) * 3_600 + int(time[2]) * 60 + int(time[3] or 0)
    return Recorded(at_s, 1 if time[3] else 60, *places)


def write_requests(rows: Iterable[tuple[str, float, float, float, float]]) -> str:
    """The same table as text: positions to 4 decimals, which is 11 m."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((time, *(f"{degrees:.4f}" for degrees in places)) for time, *places in rows)
    return text.getvalue()
