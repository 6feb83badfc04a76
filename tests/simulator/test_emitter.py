"""Whatever ingest answers, every ping is counted once, none is lost, and a driver's fixes keep their order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from aiohttp import web

from simulator.counts.tally import Tally
from simulator.fleet.fixes import Fix
from simulator.posting.emitter import Denied, Emitter
from tests.simulator.fake_ingest import FakeIngest, accept, fake_ingest, verdicts


def fixes(drivers: int, each: int) -> list[Fix]:
    return [
        Fix(ping_id=f"{driver}-{n}", driver_id=f"d-{driver}", fix_time_ms=n, lat=1.0, lon=2.0)
        for n in range(each)
        for driver in range(drivers)
    ]


async def emit(
    ingest: FakeIngest, sent: list[Fix], within_s: float = 20.0, lanes: int = 4, post_max: int = 50
) -> Tally:
    tally = Tally()
    async with Emitter(ingest.url, lambda: "a-token", Random(1), tally, lanes, post_max) as emitter:
        emitter.offer(sent)
        await emitter.finish(within_s)
    return tally


async def test_every_ping_arrives_once_in_its_drivers_order() -> None:
    async with fake_ingest() as ingest:
        ingest.delay_s = 0.005
        tally = await emit(ingest, sent := fixes(30, 20))
    assert (tally.sent, tally.accepted, tally.unacknowledged, tally.ack_ms.count) == (600, 600, 0, 600)
    assert tally.clean
    for driver in range(30):
        assert [p["fix_time_ms"] for p in ingest.pings if p["driver_id"] == f"d-{driver}"] == list(range(20))
    assert len(ingest.pings) == len(sent)
    assert ingest.most_at_once <= 4
    assert max(len(pings) for _, _, pings in ingest.posts) == 50
    assert {token for _, token, _ in ingest.posts} == {"a-token"}


async def test_fixes_that_fall_due_while_a_post_is_out_share_the_next_one() -> None:
    async with fake_ingest() as ingest:
        ingest.delay_s = 1.0
        tally = Tally()
        async with Emitter(ingest.url, lambda: "t", Random(1), tally, lanes=1) as emitter:
            for fix in fixes(1, 40):
                emitter.offer([fix])
                await asyncio.sleep(0)
            await emitter.finish(60)
    assert tally.accepted == 40
    assert len(ingest.posts) <= 3


async def test_rejected_pings_are_counted_by_reason() -> None:
    reasons = [None, "null_island", None, "future_fix", "null_island"]
    async with fake_ingest() as ingest:
        ingest.answer = lambda pings, _: verdicts([reasons[ping["fix_time_ms"]] for ping in pings])
        tally = await emit(ingest, fixes(10, 5))
    assert tally.accepted == 20
    assert tally.rejected == {"null_island": 20, "future_fix": 10}
    assert tally.clean
    tally.rejected["because"] += 1
    tally.sent += 1
    assert not tally.clean, "a reason that the wire does not publish"


def flaky(bad: Callable[[], web.Response | None], every: int) -> Callable[[list[dict[str, Any]], int], Any]:
    """Answer well only every so often, and badly before: a restart, an overload, a cable."""
    return lambda pings, number: accept(pings) if number % every == 0 else bad()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda: web.Response(status=503, headers={"Retry-After": "0.01"}), "http_503"),
        (lambda: web.Response(status=429, headers={"Retry-After": "0"}), "http_429"),
        (lambda: web.Response(status=502, text="<html>gateway</html>"), "http_502"),
        (lambda: None, "connection"),
    ],
)
async def test_what_was_not_taken_is_sent_again_until_it_is(bad: Callable[[], web.Response | None], why: str) -> None:
    async with fake_ingest() as ingest:
        ingest.answer = flaky(bad, every=2)
        tally = await emit(ingest, sent := fixes(8, 25), post_max=20)
    assert (tally.sent, tally.accepted, tally.unacknowledged) == (len(sent), len(sent), 0)
    assert tally.failed == {}
    assert tally.retries.keys() == {why}
    assert tally.retries[why] == tally.posts - tally.posts // 2
    assert {p["ping_id"] for p in ingest.pings} == {fix.ping_id for fix in sent}
    for driver in range(8):
        first_seen = dict.fromkeys(p["fix_time_ms"] for p in ingest.pings if p["driver_id"] == f"d-{driver}")
        assert list(first_seen) == list(range(25)), "a retry overtook a later fix"


async def test_an_ingest_that_dies_and_comes_back_gets_everything() -> None:
    async with fake_ingest() as ingest:
        ingest.answer = lambda pings, number: None if number < 6 else accept(pings)
        tally = await emit(ingest, fixes(4, 10))
    assert (tally.accepted, tally.unacknowledged) == (40, 0)
    assert tally.retries["connection"] == 5


async def test_nobody_listens_and_nothing_is_called_delivered() -> None:
    async with fake_ingest() as ingest:
        pass
    tally = await emit(ingest, fixes(4, 10), within_s=2.0)
    assert (tally.sent, tally.accepted, tally.unacknowledged) == (40, 0, 40)
    assert tally.retries["connection"] >= 4
    assert not tally.clean


async def test_a_post_that_is_too_large_is_halved() -> None:
    def small_only(pings: list[dict[str, Any]], _number: int) -> web.Response:
        return accept(pings) if len(pings) <= 3 else web.Response(status=413)

    async with fake_ingest() as ingest:
        ingest.answer = small_only
        tally = await emit(ingest, fixes(2, 40))
        assert (tally.accepted, tally.unacknowledged) == (80, 0)
        ingest.answer = lambda _pings, _number: web.Response(status=413)
        tally = await emit(ingest, fixes(2, 2))
    assert tally.failed == {"http_413": 4}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: web.Response(status=400), "http_400"),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "http_302"),
        (lambda: web.Response(status=202, text="thanks"), "answer_unreadable"),
        (lambda: verdicts([]), "answer_incomplete"),
        (lambda: web.json_response({"results": [{"status": "perhaps"}] * 6}, status=202), "answer_unknown_status"),
        (lambda: web.json_response({"results": [{"status": "rejected"}] * 6}, status=202), "answer_unknown_status"),
    ],
)
async def test_an_answer_without_verdicts_fails_its_pings_aloud(answer: Callable[[], web.Response], why: str) -> None:
    async with fake_ingest() as ingest:
        ingest.answer = lambda _pings, _number: answer()
        tally = await emit(ingest, fixes(1, 6))
    assert tally.failed == Counter({why: 6})
    assert tally.unacknowledged == 0
    assert not tally.clean


async def test_a_refused_token_ends_the_run_at_once() -> None:
    async with fake_ingest() as ingest:
        ingest.answer = lambda _pings, _number: web.Response(status=401)
        with pytest.raises(Denied, match="http_401"):
            await emit(ingest, fixes(50, 50))
    assert len(ingest.posts) <= 4


async def test_the_schedule_waits_when_far_too_much_is_unanswered() -> None:
    async with fake_ingest() as ingest:
        ingest.delay_s = 0.02
        async with Emitter(ingest.url, lambda: "t", Random(1), Tally(), lanes=1, post_max=10) as emitter:
            emitter.offer(fixes(1, 100))
            await emitter.room(most_waiting=31)
            assert emitter.tally.unacknowledged == 30
            await emitter.finish(60)
    assert emitter.tally.accepted == 100


async def test_who_fails_on_hearing_a_verdict_fails_the_run_and_does_not_hang_it() -> None:
    def hear(*_: object) -> None:
        raise RuntimeError("cannot be judged")

    async with fake_ingest() as ingest, Emitter(ingest.url, lambda: "t", Random(1), Tally(), hear=hear) as emitter:
        emitter.offer(fixes(1, 1))
        with pytest.raises(RuntimeError, match="cannot be judged"):
            await emitter.finish(60)


async def test_each_ping_is_heard_with_its_verdict_and_its_time_since_it_was_due() -> None:
    heard: list[tuple[str, str | None, bool]] = []

    async with fake_ingest() as ingest:
        due_s = asyncio.get_running_loop().time()
        async with Emitter(
            ingest.url,
            lambda: "t",
            Random(1),
            Tally(),
            hear=lambda verdicts: heard.extend((fix.ping_id, reason, ms >= 5_000) for fix, reason, ms in verdicts),
        ) as emitter:
            for fix, late_s in zip(fixes(2, 1), (0.0, 5.0), strict=True):
                emitter.offer_due(fix, due_s - late_s)
            await emitter.finish(60)
    assert sorted(heard) == [("0-0", None, False), ("1-0", None, True)]
