"""The bench's own rules: medians, gates, and which runs may be believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.clients import Poster, RiderSocket
from tests.bench.figures import BEGIN, END, Round, Row, write
from tests.bench.trip_load import _ms

SITTING = {"command": "c", "date": "d", "cores": 2, "kernel": "6", "loadavg_before": 0.0, "versions": {"python": "3"}}


def row(*rounds: Round, higher_is_better: bool = True) -> Row:
    return Row("5 (10)", "title", "unit", gate=2, moonshot=4, higher_is_better=higher_is_better, rounds=list(rounds))


def test_a_row_is_judged_by_the_median_of_its_ratios() -> None:
    judged = row(Round(10, 10, 0, 0), Round(90, 10, 0, 0), Round(30, 10, 0, 0))
    assert judged.ratio() == 3
    assert judged.reaches(judged.gate)
    assert not judged.reaches(judged.moonshot)
    assert not row(Round(30, 10, 0, 0), higher_is_better=False).reaches(2)


def test_a_run_whose_generator_was_the_bottleneck_is_invalid() -> None:
    assert row(Round(1, 1, 0.90, 0.5)).invalid_because() == []
    assert len(row(Round(1, 1, 0.91, 0.5), Round(1, 1, 0.1, 0.95)).invalid_because()) == 2
    assert row(Round(1, 1, 0.99, 0.99, generator_matters=False)).invalid_because() == []


def test_figures_are_written_between_the_markers_and_other_rows_are_kept(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    first = row(Round(30, 10, 0, 0)).as_json()
    write(tmp_path, [first], SITTING)
    write(tmp_path, [{**first, "id": "1"}], SITTING)
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.startswith(f"before\n{BEGIN}\n| #")
    assert page.endswith(f"{END}\nafter\n")
    assert "old" not in page
    assert [each["id"] for each in json.loads((tmp_path / "benchmarks.json").read_text())["rows"]] == ["1", "5 (10)"]


def test_a_page_without_markers_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("no markers")
    with pytest.raises(ValueError, match="has no"):
        write(tmp_path, [row(Round(1, 1, 0, 0)).as_json()], SITTING)
    assert (tmp_path / "benchmarks.md").read_text() == "no markers"


def test_a_ping_nobody_saw_makes_the_high_percentiles_unknown() -> None:
    assert _ms([0.001, 0.002, 0.003, float("inf")], 75) == 3.0
    assert _ms([0.001, 0.002, 0.003, float("inf")], 99) is None


class Wire:
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return False


@pytest.mark.parametrize("step", [1, 7, 60, 1000])
def test_answers_are_counted_however_they_are_cut(step: int) -> None:
    seen: list[int] = []
    poster = Poster(lambda _, status: seen.append(status))
    for status, body in ((202, b"{}"), (202, b"{}"), (503, b"{" + b" " * 50 + b"}")):
        data = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
        for at in range(0, len(data), step):
            poster.data_received(data[at : at + step])
    assert seen == [202, 202, 503]


@pytest.mark.parametrize("step", [1, 5, 100_000])
def test_frames_are_read_however_they_are_cut(step: int) -> None:
    messages: list[bytes] = []
    rider = RiderSocket("h", "/", {}, [b"hello"], lambda _, message: messages.append(message))
    wire = Wire()
    rider.connection_made(wire)  # type: ignore[arg-type]
    bodies = [b"", b"x" * 125, b"y" * 126, b"z" * 70_000]
    data = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    for body in bodies:
        size = len(body)
        head = (
            bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
        )
        data += b"\x81" + head + body + b"\x89\x01p"
    for at in range(0, len(data), step):
        rider.data_received(data[at : at + step])
    assert messages == bodies
    assert wire.sent[1:] == [b"\x81\x85\0\0\0\0hello"] + [b"\x8a\x81\0\0\0\0p"] * 4
