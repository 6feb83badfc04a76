"""Read fixes from a CSV of somebody's vehicles, whatever it calls its columns, and write them in ours. Pure.

A message names the column and the row (the header is row 1), never what stands there: it may be a position.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from simulator.fleet.fixes import Fix

#: What each field of a fix is called in the wild, best first. Compared in lower case.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "driver_id": ("driver_id", "driver", "vehicle_id", "vehicle", "device_id", "device", "taxi_id", "courier_id", "id"),
    "fix_time_ms": (
        *("fix_time_ms", "ts_ms", "timestamp_ms", "time_ms", "fix_time", "timestamp", "time", "ts", "datetime"),
        *("recorded_at", "ts_s"),
    ),
    "lat": ("lat", "latitude", "lat_deg"),
    "lon": ("lon", "lng", "long", "longitude", "lon_deg"),
    "speed_mps": ("speed_mps",),
    "heading_deg": ("heading_deg", "heading", "bearing_deg", "bearing", "course_deg"),
    "accuracy_m": ("accuracy_m", "accuracy", "horizontal_accuracy"),
    "vehicle_type": ("vehicle_type",),
    "ping_id": ("ping_id",),
    "is_mock": ("is_mock", "mock"),
}
REQUIRED: Final = ("driver_id", "fix_time_ms", "lat", "lon")
#: A bare number below this is epoch seconds (until the year 5138), else milliseconds (since 1973).
_SECONDS_BELOW: Final = 1e11
#: Columns that a recording of our own has.
RECORDED: Final = (*REQUIRED, "accuracy_m", "heading_deg", "speed_mps", "vehicle_type", "ping_id", "is_mock")
#: The numbers that a phone may leave out.
MEASURED: Final = ("accuracy_m", "heading_deg", "speed_mps")
#: What says yes in a column of yes and no.
TRUE: Final = frozenset({"true", "1", "yes"})


class TraceError(ValueError):
    """A trace cannot be read; the message is one line for the person who has the file."""


class Trace:
    """The fixes of a file, in order of time; equal times keep the file's order."""

    def __init__(self, fixes: list[Fix], out_of_order: int, skipped: int) -> None:
        self.fixes = fixes
        #: Rows that stood after a later one in the file.
        self.out_of_order = out_of_order
        #: Rows that could not be read.
        self.skipped = skipped

    @property
    def first_ms(self) -> int:
        return self.fixes[0].fix_time_ms

    @property
    def last_ms(self) -> int:
        return self.fixes[-1].fix_time_ms


def read_trace(lines: Iterable[str], columns: Mapping[str, str] | None = None, skip_bad_rows: bool = False) -> Trace:
    """Read a CSV with a header; comma, semicolon or tab. Raises TraceError.

    `columns` says what the file calls a field (`{"driver_id": "TAXI_NO"}`) where ALIASES do not know. Values are not
    judged: a position out of range is a fix all the same, for ingest to refuse. About 300 bytes of memory a row.
    """
    rows = iter(lines)
    header_line = next(rows, "").lstrip("\ufeff")
    delimiter = max(",;\t", key=header_line.count)
    header = [name.strip().lower() for name in next(csv.reader([header_line], delimiter=delimiter), [])]
    where = _locate(header, columns or {})
    names: dict[str, str] = {}
    fixes: list[Fix] = []
    out_of_order = skipped = 0
    for number, row in enumerate(csv.reader(rows, delimiter=delimiter), start=2):
        if not row:
            continue
        try:
            fix = _fix(row, where, names, number)
        except TraceError:
            if not skip_bad_rows:
                raise
            skipped += 1
            continue
        out_of_order += bool(fixes) and fix.fix_time_ms < fixes[-1].fix_time_ms
        fixes.append(fix)
    if not fixes:
        raise TraceError(f"no rows to replay ({skipped} could not be read)" if skipped else "no rows to replay")
    fixes.sort(key=lambda fix: fix.fix_time_ms)
    return Trace(fixes, out_of_order, skipped)


def _locate(header: list[str], columns: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """For each field that the file has: the index and the name of its column."""
    where: dict[str, tuple[int, str]] = {}
    for field, aliases in ALIASES.items():
        chosen = columns.get(field)
        for name in (chosen.strip().lower(),) if chosen else aliases:
            if name in header:
                where[field] = header.index(name), name
                break
        else:
            if chosen:
                raise TraceError(f"there is no column {chosen!r} for {field}; the file has: {', '.join(header)}")
    missing = [field for field in REQUIRED if field not in where]
    if missing:
        raise TraceError(
            "; ".join(f"no column for {field} (one of {', '.join(ALIASES[field])})" for field in missing)
            + f". The file has: {', '.join(header)}. Name one with --column {missing[0]}=NAME"
        )
    return where


def _fix(row: list[str], where: Mapping[str, tuple[int, str]], names: dict[str, str], number: int) -> Fix:
    def read(field: str, parse: Callable[[str], float | int | None], what: str) -> float | int | None:
        index, name = where[field]
        text = row[index].strip() if index < len(row) else ""
        if not text and field not in REQUIRED:
            return None
        try:
            return parse(text)
        except (ValueError, OverflowError):
            raise TraceError(f"row {number}: column {name} is {'not ' + what if text else 'empty'}") from None

    def text_of(field: str) -> str:
        index = where[field][0] if field in where else len(row)
        return row[index].strip() if index < len(row) else ""

    driver_id = text_of("driver_id")
    if not driver_id:
        raise TraceError(f"row {number}: column {where['driver_id'][1]} is empty")
    time_name = where["fix_time_ms"][1]
    fix_time_ms = read("fix_time_ms", lambda text: time_ms(text, time_name), "a time (epoch s or ms, or ISO 8601)")
    lat, lon = read("lat", _finite, "a number"), read("lon", _finite, "a number")
    assert fix_time_ms is not None
    assert lat is not None
    assert lon is not None
    known = {field: read(field, _known, "a number") for field in MEASURED if field in where}
    return Fix(
        # One string object a driver, not one a row.
        driver_id=names.setdefault(driver_id, driver_id),
        fix_time_ms=int(fix_time_ms),
        lat=lat,
        lon=lon,
        ping_id=text_of("ping_id") or f"row-{number}",
        vehicle_type=text_of("vehicle_type"),
        speed_mps=known.get("speed_mps"),
        heading_deg=known.get("heading_deg"),
        accuracy_m=known.get("accuracy_m"),
        is_mock=text_of("is_mock").lower() in TRUE,
    )


def time_ms(text: str, column: str = "timestamp") -> int:
    """Epoch milliseconds from epoch seconds or milliseconds (by size, or by the column's name) or ISO 8601.

    ISO 8601 without an offset is taken as UTC. Raises ValueError.
    """
    try:
        value = _finite(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
    if column.endswith("_ms") or (abs(value) >= _SECONDS_BELOW and not column.endswith("_s")):
        return round(value)
    return round(value * 1_000)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _known(text: str) -> float | None:
    """Phones say -1, or not-a-number, for what they do not know."""
    value = float(text)
    return value if math.isfinite(value) and value >= 0 else None


class Recording:
    """Writes fixes as a CSV that `read_trace` reads back."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(RECORDED)

    def write(self, fixes: Iterable[Fix]) -> None:
        self._writer.writerows(self._rows(fixes))

    @staticmethod
    def _rows(fixes: Iterable[Fix]) -> Iterator[list[object]]:
        for fix in fixes:
            values = (getattr(fix, field) for field in RECORDED)
            yield ["" if value is None or value is False else value for value in values]
