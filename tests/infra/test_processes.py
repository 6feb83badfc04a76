"""Child processes: their last words, their end, and that they do not outlive us."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local.processes import MAX_WORDS, TAIL_BYTES, Process, ProcessFailed, last_words, stop_all
from infra.telemetry import JsonFormatter
from tests.infra.observing import eventually, runs

FOR_EVER = "import time; time.sleep(3600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"


def python(code: str, folder: Path, name: str = "child", grace_s: float = 10.0) -> Process:
    return Process(name, [sys.executable, "-c", code], folder / f"{name}.log", grace_s=grace_s)


def test_a_process_that_ends_before_it_is_ready_says_why(tmp_path: Path) -> None:
    child = python("import sys; print('starting'); sys.exit('no such city\\n\\n')", tmp_path).start()
    with pytest.raises(ProcessFailed) as failed:
        child.wait_until(lambda: False, 60)
    assert str(failed.value) == f"child exited with 1 before it was ready: no such city (log: {child.log})"


def test_the_last_words_of_a_json_log_are_its_event_and_reason_without_the_traceback(tmp_path: Path) -> None:
    record = logging.makeLogRecord({"msg": "the task\nended", "reason": "no broker", "levelname": "ERROR"})
    try:
        raise RuntimeError("deep inside " * 1_000)
    except RuntimeError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter("child").format(record)
    assert len(line) > 8_192
    child = python(f"print({line!r}); raise SystemExit(1)", tmp_path).start()
    with pytest.raises(ProcessFailed) as failed:
        child.wait_until(lambda: False, 60)
    words = "the task ended: no broker"
    assert str(failed.value) == f"child exited with 1 before it was ready: {words} (log: {child.log})"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ""),
        ("no such city", "no such city"),
        ("x" * MAX_WORDS, "x" * MAX_WORDS),
        ("x" * (MAX_WORDS + 1), "x" * (MAX_WORDS - 1) + "…"),
        (json.dumps({"event": "x" * 1_000, "exception": "Traceback"}), "x" * (MAX_WORDS - 1) + "…"),
        ('{"event":"ended","error":"E","exception":"Traceback"}', "ended: E"),
        ('{"event":"ended","reason":null,"exception":"Traceback"}', "ended"),
        ('{"level":"info"}', '{"level":"info"}'),
        ("[" * 100_000, "[" * (MAX_WORDS - 1) + "…"),
        ("7", "7"),
    ],
)
def test_last_words_are_short(line: str, words: str) -> None:
    assert last_words(line) == words


def test_a_last_line_whose_beginning_is_out_of_reach_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * (TAIL_BYTES + 1))
    assert Process("child", [], log).last_line() == ""


def test_a_process_that_is_never_ready_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with python(FOR_EVER, tmp_path) as child, pytest.raises(ProcessFailed, match=r"not ready within 0\.1 s"):
        child.wait_until(lambda: False, 0.1)
    assert child.returncode == -signal.SIGTERM


def test_a_program_that_does_not_exist_is_a_failed_process(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="cannot be started"):
        Process("child", ["/no/such/program"], tmp_path / "child.log").start()


def test_one_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    child = python(DEAF, tmp_path, grace_s=0.3).start()
    child.wait_until(lambda: child.last_line() == "deaf", 60)
    assert child.stop() == -signal.SIGKILL


def test_stopping_several_takes_as_long_as_the_slowest(tmp_path: Path) -> None:
    deaf = [python(DEAF, tmp_path, f"deaf-{number}", grace_s=3.0).start() for number in range(4)]
    for child in deaf:
        child.wait_until(lambda child=child: child.last_line() == "deaf", 60)  # type: ignore[misc]
    started_s = time.monotonic()
    stop_all(deaf)
    assert time.monotonic() - started_s < 9.0  # one grace, not four
    assert {child.returncode for child in deaf} == {-signal.SIGKILL}


def test_what_a_process_started_ends_with_it(tmp_path: Path) -> None:
    code = (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {FOR_EVER!r}]); "
        "print(child.pid, flush=True); child.wait()"
    )
    child = python(code, tmp_path).start()
    child.wait_until(lambda: child.last_line().isdigit(), 60)
    grandchild = int(child.last_line())
    child.stop()
    eventually(lambda: not runs(grandchild), "the grandchild to end")


def test_it_can_be_started_again_and_its_log_goes_on(tmp_path: Path) -> None:
    child = python("import os; print(os.getpid())", tmp_path)
    for _ in range(2):
        assert child.start().wait(60) == 0
    assert len(child.log.read_text().split()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children whose parent was killed")
def test_a_process_does_not_outlive_the_one_that_started_it_even_by_kill_9(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from infra.local.processes import Process; "
        f"p = Process('child', [sys.executable, '-c', {FOR_EVER!r}], pathlib.Path({str(tmp_path)!r}) / 'log').start(); "
        "print(p.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    eventually(lambda: not runs(int(killed.stdout)), "the child to end")


def test_a_child_gets_what_we_add_to_our_environment(tmp_path: Path) -> None:
    code = "import os; print(os.environ['RIDESTREAM_X'], os.environ['PATH'])"
    child = Process("child", [sys.executable, "-c", code], tmp_path / "log", {"RIDESTREAM_X": "y"}).start()
    assert child.wait(60) == 0
    assert child.last_line() == f"y {os.environ['PATH']}"
