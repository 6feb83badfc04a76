"""Anybody's CSV of vehicles can be read, and what cannot is said by row and column, never by position."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from random import Random

import pytest

from simulator.fleet.fixes import Fix
from simulator.fleet.fleet import Fleet
from simulator.roads.network import load_manhattan, open_table
from simulator.traces.trace import Recording, Trace, TraceError, read_trace, time_ms

#: 2017-03-21 05:00:02.500 UTC
AT_MS = 1_490_072_402_500


def read(text: str, columns: dict[str, str] | None = None, skip_bad_rows: bool = False) -> Trace:
    return read_trace(io.StringIO(text), columns, skip_bad_rows)


@pytest.mark.parametrize(
    "name", ["porto_taxi_folded_day.csv.gz", "capmetro_austin_2017-03-21.csv.gz", "goal_couriers_5s.csv.gz"]
)
def test_every_row_of_the_recorded_traces_is_read_as_it_stands(shared_data: Path, name: str) -> None:
    path = shared_data / "traces" / name
    expected = json.loads((path.parent / "expected_counts.json").read_text())[name]
    with open_table(path) as lines:
        trace = read_trace(lines)
    assert len(trace.fixes) == expected["rows"]
    assert len({fix.driver_id for fix in trace.fixes}) == expected["drivers"]
    assert (trace.first_ms, trace.last_ms) == (expected["ts_first"], expected["ts_last"])
    assert trace.out_of_order == trace.skipped == 0
    assert sum(fix.lat == 0 or fix.lon == 0 for fix in trace.fixes) == expected["lat_or_lng_exactly_zero"]
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    for fix, row in zip(trace.fixes, rows, strict=True):
        assert (fix.driver_id, fix.fix_time_ms, fix.lat, fix.lon) == (
            row["driver_id"],
            int(row["ts_ms"]),
            float(row["lat"]),
            float(row["lng"]),
        )
        assert fix.speed_mps == (float(row["speed_mps"]) if row.get("speed_mps") else None)


@pytest.mark.parametrize(
    "header",
    [
        "driver_id,fix_time_ms,lat,lon",
        "vehicle_id,timestamp,latitude,longitude",
        "\ufeffDevice_ID;Time;Latitude;lng",
        "device\tdatetime\tlat\tlong",
    ],
)
def test_columns_are_found_under_the_names_that_are_in_use(header: str) -> None:
    delimiter = max(",;\t", key=header.count)
    trace = read(header + "\n" + delimiter.join(["car-1", str(AT_MS), "30.25", "-97.75"]) + "\n")
    assert trace.fixes == [Fix(ping_id="row-2", driver_id="car-1", fix_time_ms=AT_MS, lat=30.25, lon=-97.75)]


def test_a_column_with_a_name_of_its_own_can_be_pointed_out() -> None:
    text = "taxi no,when,lat,lng\n7,2017-03-21T05:00:02.5Z,1,2\n"
    trace = read(text, {"driver_id": "Taxi No", "fix_time_ms": "when"})
    assert (trace.fixes[0].driver_id, trace.fixes[0].fix_time_ms) == ("7", AT_MS)
    with pytest.raises(TraceError, match="there is no column 'who' for driver_id; the file has: taxi no, when"):
        read(text, {"driver_id": "who", "fix_time_ms": "when"})


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (str(AT_MS), "ts_ms"),
        (str(AT_MS), "timestamp"),
        ("1490072402.5", "timestamp"),
        ("1490072402.5", "ts_s"),
        ("2017-03-21T05:00:02.500Z", "time"),
        ("2017-03-21T00:00:02.500-05:00", "time"),
        ("2017-03-21 05:00:02.500", "datetime"),
    ],
)
def test_times_are_read_in_every_form_that_is_in_use(text: str, column: str) -> None:
    assert time_ms(text, column) == AT_MS


def test_small_milliseconds_are_milliseconds_when_the_column_says_so() -> None:
    assert time_ms("5000", "ts_ms") == 5_000
    assert time_ms("5000", "ts") == 5_000_000


def test_what_a_phone_does_not_know_is_unknown() -> None:
    trace = read("id,ts_ms,lat,lng,speed_mps,heading,accuracy\na,1,2,3,-1,nan,\nb,2,2,3,4.5,90,12\n")
    assert [(fix.speed_mps, fix.heading_deg, fix.accuracy_m) for fix in trace.fixes] == [
        (None, None, None),
        (4.5, 90.0, 12.0),
    ]


def test_positions_are_not_judged_here() -> None:
    trace = read("id,ts_ms,lat,lng\na,1,0,0\na,2,91,181\n")
    assert [(fix.lat, fix.lon) for fix in trace.fixes] == [(0, 0), (91, 181)]


def test_rows_are_sorted_by_time_and_equal_times_keep_their_order() -> None:
    trace = read("id,ts_ms,lat,lng\nb,3,1,1\nz,1,1,1\na,1,1,1\nc,2,1,1\n")
    assert [fix.driver_id for fix in trace.fixes] == ["z", "a", "c", "b"]
    assert trace.out_of_order == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column for driver_id (one of driver_id, driver, vehicle_id,"),
        ("id,lat,lng\n", "no column for fix_time_ms (one of fix_time_ms, ts_ms,"),
        ("id,ts_ms,lat,lng\n", "no rows to replay"),
        ("id,ts_ms,lat,lng\na,1,30.123456,-97.123456\na,2,30.123456;,2\n", "row 3: column lat is not a number"),
        ("id,ts_ms,lat,lng\na,1,nan,-97.123456\n", "row 2: column lat is not a number"),
        ("id,ts_ms,lat,lng\na,1,30.123456\n", "row 2: column lng is empty"),
        ("id,ts_ms,lat,lng\n,1,30.123456,2\n", "row 2: column id is empty"),
        ("id,ts_ms,lat,lng\na,soon,30.123456,2\n", "row 2: column ts_ms is not a time (epoch s or ms, or ISO 8601)"),
        ("id,ts_ms,lat,lng\na,1e400,30.123456,2\n", "row 2: column ts_ms is not a time"),
        ("id,ts_ms,lat,lng,speed_mps\na,1,30.123456,2,fast\n", "row 2: column speed_mps is not a number"),
    ],
)
def test_what_cannot_be_read_is_named_by_row_and_column_without_a_position(text: str, message: str) -> None:
    with pytest.raises(TraceError) as refused:
        read(text)
    assert str(refused.value).startswith(message)
    assert "123456" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bad_rows_can_be_left_out_and_are_counted() -> None:
    trace = read("id,ts_ms,lat,lng\na,1,1,1\na,x,1,1\na,3,1,\n\na,4,1,1\n", skip_bad_rows=True)
    assert [fix.fix_time_ms for fix in trace.fixes] == [1, 4]
    assert trace.skipped == 2
    with pytest.raises(TraceError, match=r"no rows to replay \(1 could not be read\)"):
        read("id,ts_ms,lat,lng\na,x,1,1\n", skip_bad_rows=True)


def test_a_recording_of_ours_is_read_back_whole() -> None:
    fleet = Fleet(load_manhattan(), 5, Random(1), 1_000)
    fleet.begin(AT_MS)
    fixes = fleet.fixes_until(AT_MS + 10_000)
    file = io.StringIO()
    Recording(file).write(fixes)
    assert read(file.getvalue()).fixes == fixes
