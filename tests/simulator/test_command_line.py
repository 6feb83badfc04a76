"""`simulate` and `replay` as a user runs them, against an ingest that remembers: what is sent, said and returned."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from infra.clock import ReplayClock, parse_clock
from infra.identity import Verifier
from infra.local.engines import free_port
from simulator.__main__ import main
from tests.simulator.fake_ingest import accept, fake_ingest, verdicts

KEY = "a key for tests that is long enough to sign"
HEADER = "driver_id,ts_ms,lat,lng\n"
FIRST_MS = 1_490_072_402_000


class Ended(NamedTuple):
    code: int | None
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


async def start(*arguments: str | Path, **variables: str) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RIDESTREAM_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulator",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inherited | {"RIDESTREAM_JWT_KEY": KEY} | variables,
    )


async def end(process: asyncio.subprocess.Process) -> Ended:
    out, err = await asyncio.wait_for(process.communicate(), 180)
    return Ended(process.returncode, out.decode(), err.decode())


async def run(*arguments: str | Path, **variables: str) -> Ended:
    return await end(await start(*arguments, **variables))


async def until(condition: Any, within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def write_trace(path: Path, rows: int = 60, drivers: int = 6, step_ms: int = 1_000) -> Path:
    path.write_text(
        HEADER + "".join(f"d-{n % drivers},{FIRST_MS + n * step_ms},30.{n:06d},-97.7\n" for n in range(rows))
    )
    return path


async def test_a_fleet_posts_on_time_and_the_summary_adds_up(tmp_path: Path) -> None:
    async with fake_ingest() as ingest:
        began_ms = time.time_ns() // 1_000_000
        ended = await run(
            *("simulate", "--drivers", "30", "--duration-s", "2", "--interval-s", "0.5", "--url", ingest.url, "--json"),
            *("--record", tmp_path / "drive.csv.gz"),
        )
    assert (ended.code, ended.err) == (0, "")
    summary = ended.summary
    assert summary["result"] == "ok"
    assert summary["sent"] == summary["accepted"] == len(ingest.pings) == 30 * 4
    assert summary["rejected"] == summary["failed"] == summary["unacknowledged"] == 0
    assert summary["ack_latency_ms"]["count"] == 120
    assert 0 < summary["ack_latency_ms"]["p50"] <= summary["ack_latency_ms"]["p99"] <= summary["ack_latency_ms"]["max"]
    assert Counter(ping["driver_id"] for ping in ingest.pings) == {p["driver_id"]: 4 for p in ingest.pings}
    for _, token, pings in ingest.posts:
        principal = Verifier(KEY, "HS256", "ingest").verify(token, time.time())
        assert principal.scopes == {"fleet"}
        for ping in pings:
            assert began_ms - 100 <= ping["fix_time_ms"] <= time.time_ns() // 1_000_000
    # What was recorded is what was sent, and can be replayed.
    printed = await run("replay", tmp_path / "drive.csv.gz", "--print-clock")
    clock = parse_clock(printed.out.strip())
    assert isinstance(clock, ReplayClock)
    assert clock.event_end_ms == max(ping["fix_time_ms"] for ping in ingest.pings)


async def test_the_summary_for_a_person_names_the_reasons_and_the_latency() -> None:
    async with fake_ingest() as ingest:
        ingest.answer = lambda pings, _: verdicts(["too_old"] + [None] * (len(pings) - 1))
        ended = await run("simulate", "--drivers", "40", "--duration-s", "1", "--url", ingest.url)
    assert ended.code == 0
    assert "rejected " in ended.out
    assert f"too_old {len(ingest.posts)}" in ended.out
    assert "acknowledged in p50 " in ended.out
    assert ended.out.splitlines()[-1] == "OK: every ping has a verdict"


async def test_a_ping_without_a_verdict_or_with_an_unknown_reason_is_exit_code_1() -> None:
    async with fake_ingest() as ingest:
        ingest.answer = lambda pings, _: verdicts(["mood"] * len(pings))
        ended = await run("simulate", "--drivers", "5", "--duration-s", "0.5", "--url", ingest.url, "--json")
        assert (ended.code, ended.summary["result"]) == (1, "failed")
        ingest.answer = lambda pings, number: accept(pings) if number % 2 else web.Response(status=400)
        ended = await run("simulate", "--drivers", "5", "--duration-s", "1", "--url", ingest.url)
        assert ended.code == 1
        assert "could not be delivered" in ended.out
        ingest.answer = lambda _pings, _: web.Response(status=401)
        ended = await run("simulate", "--drivers", "5", "--url", ingest.url)
        assert ended.code == 1
        assert "ingest refused the token" in ended.out


async def test_ctrl_c_ends_with_the_summary_and_130() -> None:
    async with fake_ingest() as ingest:
        process = await start("simulate", "--drivers", "20", "--url", ingest.url)
        await until(lambda: len(ingest.pings) >= 20)
        process.send_signal(signal.SIGINT)
        ended = await end(process)
    assert ended.code == 130
    assert f"accepted        {len(ingest.pings):>9,}" in ended.out
    assert ended.out.splitlines()[-1] == "INTERRUPTED: every ping has a verdict"
    assert "Traceback" not in ended.err


async def test_sigterm_ends_in_order() -> None:
    async with fake_ingest() as ingest:
        process = await start("simulate", "--drivers", "20", "--url", ingest.url, "--json")
        await until(lambda: len(ingest.pings) >= 20)
        process.send_signal(signal.SIGTERM)
        ended = await end(process)
    assert (ended.code, ended.summary["result"]) == (0, "ok")


async def test_ctrl_c_while_ingest_is_away_does_not_wait_for_it_and_tells_what_is_unknown() -> None:
    async with fake_ingest() as ingest:
        ingest.answer = lambda _pings, _number: None
        process = await start("simulate", "--drivers", "20", "--url", ingest.url, "--json")
        await until(lambda: len(ingest.posts) >= 4)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(2.0)  # two that come before it looks are one to it
        process.send_signal(signal.SIGINT)
        ended = await end(process)
    assert ended.code == 130
    assert ended.summary["unacknowledged"] == ended.summary["sent"] > 0


async def test_a_replay_sends_each_fix_when_the_clock_reaches_it_and_never_before(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.csv")
    clocks: list[ReplayClock] = []
    early: list[int] = []

    def answer(pings: list[dict[str, Any]], _number: int) -> web.Response:
        now_ms = clocks[0].now_ms()
        early.extend(ping["fix_time_ms"] for ping in pings if ping["fix_time_ms"] > now_ms)
        return accept(pings)

    async with fake_ingest() as ingest:

        def start_clock() -> None:
            """However long the replay took to start: what it is told is still ahead of it."""
            clocks.append(ReplayClock(FIRST_MS, FIRST_MS + 59_000, 30.0, time.time_ns() // 1_000_000 + 200))
            ingest.clock, ingest.now_ms = str(clocks[0]), clocks[0].now_ms

        ingest.answer, ingest.on_asked = answer, start_clock
        ended = await run("replay", trace, "--speed", "30", "--url", ingest.url, "--json")
    assert ended.code == 0, ended
    assert ended.summary["accepted"] == 60
    assert early == []
    assert sorted(ping["fix_time_ms"] for ping in ingest.pings) == [FIRST_MS + n * 1_000 for n in range(60)]
    assert ended.summary["elapsed_s"] >= 59 / 30
    assert len(clocks) == 1


async def test_a_replay_waits_for_an_ingest_that_is_still_starting(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.csv", rows=3)
    port = str(free_port())
    waiting = await start("replay", trace, "--max", "--json", RIDESTREAM_INGEST_PORT=port)
    await asyncio.sleep(0.5)
    clock = ReplayClock(FIRST_MS + 2_000, FIRST_MS + 2_000, 1.0, 0)
    async with fake_ingest(str(clock), clock.now_ms, int(port)):
        ended = await end(waiting)
    assert (ended.code, ended.summary["accepted"]) == (0, 3)


async def test_a_trace_can_be_sent_shuffled_and_repeated_when_all_of_it_has_happened(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.csv", rows=500, drivers=5)
    printed = await run("replay", trace, "--print-clock", "--max")
    clock = parse_clock(printed.out.strip())
    assert isinstance(clock, ReplayClock)
    sequences = []
    for _ in range(2):
        async with fake_ingest(str(clock), clock.now_ms) as ingest:
            arguments = ("--max", "--shuffle", "3", "--repeat", "2", "--connections", "1", "--json")
            ended = await run("replay", trace, *arguments, "--url", ingest.url)
        assert (ended.code, ended.summary["sent"], ended.summary["accepted"]) == (0, 1_000, 1_000)
        sequences.append([ping["fix_time_ms"] for ping in ingest.pings])
    assert Counter(sequences[0]) == {FIRST_MS + n * 1_000: 2 for n in range(500)}
    assert sequences[0] == sequences[1] != sorted(sequences[0])


async def test_a_replay_refuses_a_clock_that_does_not_suit_with_the_setting_that_does(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.csv")
    async with fake_ingest() as ingest:
        ended = await run("replay", trace, "--speed", "600", "--url", ingest.url)
        assert (ended.code, ended.out, ingest.posts) == (2, "", [])
        said = ended.err.partition("RIDESTREAM_CLOCK=")
        assert said[0].startswith("ridestream replay: the system runs on the wall clock")
        clock = parse_clock(said[2].split()[0])
        assert isinstance(clock, ReplayClock)
        assert (clock.event_start_ms, clock.event_end_ms, clock.speed) == (FIRST_MS, FIRST_MS + 59_000, 600.0)
        ingest.clock = str(clock)
        ended = await run("replay", trace, "--speed", "60", "--url", ingest.url)
        assert ended.code == 2
        assert "runs at 600x, not at 60x" in ended.err


async def test_a_restamped_trace_happens_now_at_its_own_speed(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace.csv", rows=10, step_ms=100)
    async with fake_ingest() as ingest:
        began_ms = time.time_ns() // 1_000_000
        ended = await run("replay", trace, "--restamp", "--url", ingest.url, "--json")
        now_ms = time.time_ns() // 1_000_000
    assert (ended.code, ended.summary["accepted"]) == (0, 10)
    times_ms = sorted(ping["fix_time_ms"] for ping in ingest.pings)
    assert [at_ms - times_ms[0] for at_ms in times_ms] == [n * 100 for n in range(10)]
    assert began_ms <= times_ms[0] < times_ms[-1] <= now_ms


async def test_a_fleet_refuses_a_system_that_replays_and_restamping_too(tmp_path: Path) -> None:
    clock = ReplayClock(FIRST_MS, FIRST_MS + 1, 1.0, 0)
    async with fake_ingest(str(clock), clock.now_ms) as ingest:
        for arguments in (("simulate",), ("replay", write_trace(tmp_path / "trace.csv"), "--restamp")):
            ended = await run(*arguments, "--url", ingest.url)
            assert ended.code == 2
            assert "without RIDESTREAM_CLOCK" in ended.err
            assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "nowhere.csv"), "ridestream replay: nowhere.csv: No such file or directory"),
        (("replay", "bad.csv"), "ridestream replay: bad.csv: row 3: column lat is not a number"),
        (("replay", "binary.csv"), "ridestream replay: binary.csv: neither a CSV in UTF-8 nor a whole gzip of one"),
        (("replay", "cut.csv"), "ridestream replay: cut.csv: neither a CSV in UTF-8 nor a whole gzip of one"),
        (("replay", "good.csv", "--shuffle", "1"), "--shuffle needs --max"),
        (("replay", "good.csv", "--restamp", "--speed", "2"), "--restamp replays at the trace's own speed"),
        (("replay", "good.csv", "--column", "colour=red"), "--column takes FIELD=NAME"),
        (("replay", "good.csv", "--post-max", "1001"), "--post-max is at most 1000"),
        (("replay", "good.csv", "--url", "ingest:80"), "--url must start with http"),
        (("simulate", "--wait-s", "0.1", "--url", "http://127.0.0.1:1"), "no ingest answers at http://127.0.0.1:1"),
        (("simulate", "--interval-s", "0.01"), "--interval-s is at least 0.1"),
        (("simulate", "--dry-run"), "--dry-run needs --record, --duration-s and --start"),
        (("simulate", "--roads", "good.csv", "good.csv"), "good.csv: row 2: column id is missing or empty"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIDESTREAM_JWT_KEY", KEY)
    Path("good.csv").write_text(HEADER + "a,1,1,1\n")
    Path("bad.csv").write_text(HEADER + "a,1,1,1\na,2,north,1\n")
    Path("binary.csv").write_bytes(bytes(range(256)))
    Path("cut.csv").write_bytes(b"\x1f\x8b\x08\x00")
    assert main(list(arguments)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_a_missing_key_is_said_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RIDESTREAM_JWT_KEY", raising=False)
    assert main(["simulate"]) == 2
    assert "RIDESTREAM_JWT_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["simulate", "--drivers", "x"], "argument --drivers: must be a whole number, at least 1, not 'x'"),
        (["simulate", "--seed", "7.5"], "argument --seed: must be a whole number, at least 0, not '7.5'"),
        (
            ["simulate", "--duration-s", "long"],
            "argument --duration-s: must be a number of seconds, more than 0, not 'l",
        ),
        (
            ["replay", "x", "--speed", "fast"],
            "argument --speed: must be a number, more than 0 and at most 1e9, not 'fa",
        ),
    ],
)
def test_an_option_that_is_no_number_is_told_what_it_must_be(
    option: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(option)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["drive"], ["simulate", "--drivers", "0"], ["replay", "x", "--speed", "-1"]])
def test_options_that_make_no_sense_are_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_rehearsal_with_one_seed_records_the_same_bytes_each_time(tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.csv.gz" for n in range(3)]
    for seed, file in zip((5, 5, 6), files, strict=True):
        arguments = ["--drivers", "10", "--duration-s", "20", "--start", "2026-01-01T00:00:00Z", "--seed", str(seed)]
        assert main(["simulate", "--dry-run", "--record", str(file), *arguments]) == 0
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
