"""The report tells a person and a program the same: what was found, where it began, and how to see it again."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from simulator.counts.findings import Findings, Kind
from simulator.results.html import page
from simulator.results.machine import command_line, this_machine, versions
from simulator.results.plots import PlotsMissing, require
from simulator.results.recorder import Recorder
from simulator.results.screen import Glance, curve_of, glance, line, screen
from simulator.results.twin import FORMAT, Document, decode, encode
from tests.simulator.measured import (
    COMMAND,
    SECONDS,
    STALL,
    START_MS,
    a_recorder,
    a_report,
    a_tally,
    findings,
    verdicts,
)


@pytest.fixture(scope="module")
def report() -> Document:
    return a_report()


@pytest.fixture(scope="module")
def html(report: Document) -> str:
    return page(report)


def test_the_twin_reads_back_as_it_was_written(report: Document) -> None:
    again = decode(encode(report))
    assert again == report
    # The twin inside writes 3 for 3.0; what a person sees is the same.
    assert page(again).partition("<script")[0] == page(report).partition("<script")[0]


def test_a_program_finds_verdicts_figures_and_series_in_the_twin(report: Document) -> None:
    twin = json.loads(encode(report))
    assert (twin["format"], twin["result"]) == (FORMAT, "failed")
    assert {verdict["name"]: verdict["ok"] for verdict in twin["verdicts"]} == {
        "ghost": True, "backwards": False, "latency_p99_ms": True, "screens_judged": True,
    }  # fmt: skip
    (broken,) = (verdict for verdict in twin["verdicts"] if not verdict["ok"])
    assert broken["first"]["at_s"] == 12.345
    assert broken["first"]["evidence"] == {"shown_ms": START_MS + 12_000}
    assert len(broken["more"]) == 2
    assert twin["pings"]["sent"] == twin["pings"]["accepted"] + twin["pings"]["rejected"]
    received = twin["series"]["received"]["columns"]
    assert [received["p99"][second] for second in STALL] == [None] * 3
    assert received["p99"][STALL.stop] > 3_000
    assert {len(column) for each in twin["series"].values() for column in each["columns"].values()} == {
        len(twin["time_s"])
    }
    assert twin["faults"] == [{"from_s": 10, "until_s": 20, "words": "tunnel: a fifth of the phones"}]
    assert twin["summaries"]["indexed"]["precision"] == "buckets"


def test_a_run_passes_only_when_nothing_is_broken_and_nobody_stopped_it() -> None:
    clean = Findings()
    assert a_report(clean).result == "passed"
    assert a_report(clean, interrupted=True).result == "interrupted"
    assert a_report(interrupted=True).result == "failed"


def test_the_page_fetches_nothing_and_believes_no_markup_of_a_scenario(html: str) -> None:
    shown = html.partition('<script type="application/json"')[0]
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in shown
    assert re.findall(r"""(?:src|href|action)=["'](?!data:|#)""", shown) == []
    assert re.findall(r"url\((?!#)", shown) == []
    assert "default-src 'none'" in shown
    assert "@import" not in shown


def test_the_page_names_what_was_broken_with_its_evidence_and_how_to_repeat_it(html: str) -> None:
    assert "bounds broken: 1 of 4" in html
    assert "12.345 s into the run, rider-0, car driver-0042" in html
    assert f"12.000 s into the run ({START_MS + 12_000})" in html
    assert COMMAND in html
    assert "A processor" in html
    assert "tunnel: a fifth of the phones" in html


def test_a_place_and_a_reading_in_the_evidence_are_as_exact_as_on_the_terminal() -> None:
    found, start_ms = Findings(), START_MS + 12_345
    places = {"shown_at": (40.747935, -73.98918), "truly_at": (40.0, -73.989181)}
    found.note(Kind.BACKWARDS, start_ms, "rider-0", "driver-0042", **places, speed_mps=5.04, speed_mps_sent=5.01)
    shown = page(a_report(found))
    assert "<dt>shown_at</dt><dd>40.747935, -73.98918</dd>" in shown
    assert "<dt>truly_at</dt><dd>40, -73.989181</dd>" in shown
    assert "<dt>speed_mps</dt><dd>5.04</dd><dt>speed_mps_sent</dt><dd>5.01</dd>" in shown


def test_the_same_run_writes_the_same_page(report: Document, html: str) -> None:
    assert page(report) == html


def test_a_run_in_which_nothing_was_measured_still_has_a_page(report: Document) -> None:
    empty = msgspec.structs.replace(report, summaries={}, time_s=[0.0], series={}, elapsed_s=0.0, faults=[])
    assert "Failed" in page(empty)
    assert "<svg" not in page(empty)


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotsMissing, match=r"pip install 'ridestream\[report\]'"):
        require()


def test_a_token_or_a_password_is_no_part_of_the_command() -> None:
    command = command_line(
        ["simulate", "rush_hour", "--token", "abc.def", "--token=ghi", "--url=http://me:pw@[::1]:80", "--roads", "a b"]
    )
    assert not re.search("abc|def|ghi|me|pw@", command.removeprefix("ridestream simulate"))
    assert "'--url=http://[::1]:80'" in command
    assert "'a b'" in command


def test_neither_a_users_folder_nor_a_machines_name_is_part_of_the_command() -> None:
    files = ["--report", "~alice/x.html", "--record=/home/alice/x.csv", "--roads", "../alice/n.csv", "towns/e.csv"]
    addresses = ["--url", "https://alices-laptop:8443/in", "--reads-url=http://localhost:82"]
    command = command_line(["simulate", "/home/alice/mine.toml", *files, *addresses])
    assert command == (
        "ridestream simulate …/mine.toml --report …/x.html --record=…/x.csv --roads "
        "…/n.csv towns/e.csv --url https://…:8443/in --reads-url=http://localhost:82"
    )


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    assert this_machine().cores >= 1
    assert "ridestream" in versions()
    assert platform.node() not in {str(value) for value in msgspec.structs.astuple(this_machine())}


def at(second: float, recorder: Recorder | None = None) -> Glance:
    words = {"trips": "3 under way"}
    now_ms = START_MS + round(second * 1_000)
    return glance(recorder or a_recorder(), a_tally(), now_ms, "Rush hour", SECONDS, verdicts(findings()), words)


def on_a_terminal(seen: Glance) -> str:
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(screen(seen))
    return shown.get()


def test_a_log_line_says_how_fast_how_late_and_what_is_broken() -> None:
    told = line(at(15))
    assert "0:15 of 1:00" in told
    assert "sent 1,200 (20/s)" in told
    assert "FAULT tunnel" in told
    assert "BROKEN backwards 3" in told
    assert "trips 3 under way" in told
    assert "\n" not in told


def test_a_terminal_shows_hops_services_and_the_first_lie() -> None:
    shown = on_a_terminal(at(30))
    for words in ("received", "push 25%", "MiB", "10 at the map", "BROKEN backwards", "driver-0042"):
        assert words in shown
    assert "tunnel" not in shown


def test_before_anything_happened_there_is_something_to_show() -> None:
    nothing = replace(at(0, Recorder(START_MS)), verdicts=(), words={})
    assert "no lie" in line(nothing)
    assert "Rush hour" in on_a_terminal(nothing)


def test_a_curve_has_its_highest_bar_where_it_was_slowest_and_a_gap_where_nothing_is_known() -> None:
    assert curve_of([1.0, None, 8.0, 4.0]) == "▂ █▅"
    assert curve_of([]) == ""
    assert curve_of([0.0]) == "▁"
