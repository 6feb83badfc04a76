"""One connection, many tasks: everyone gets their own replies, whatever happens to the others or to Redis."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import hiredis
import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from infra.local.engines import Engines
from infra.redis import connect
from stream.pipe import Pipe


def echoes(*texts: str) -> Iterator[bytes]:
    return (hiredis.pack_command(("ECHO", text)) for text in texts)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=20), length=st.sampled_from([1, 50, 20_000]))
async def test_everyone_gets_their_own_replies(client: redis.asyncio.Redis, sizes: list[int], length: int) -> None:
    pipe = Pipe(client)

    async def ask(task: int, size: int) -> None:
        texts = [f"{task}/{number}".ljust(length, ".") for number in range(size)]
        assert await pipe.exchange(echoes(*texts), size) == [text.encode() for text in texts]

    before = len(await client.client_list())
    await asyncio.gather(*(ask(task, size) for task, size in enumerate(sizes)))
    assert len(await client.client_list()) == before + 1


async def test_an_error_is_a_reply_among_the_others(client: redis.asyncio.Redis) -> None:
    bad = [hiredis.pack_command(("HGET", "too few")), *echoes("after")]
    replies = await Pipe(client).exchange(iter(bad), 2)
    assert isinstance(replies[0], ResponseError)
    assert replies[1] == b"after"


async def test_a_command_that_cannot_be_made_leaves_nobody_with_the_replies_of_another(
    client: redis.asyncio.Redis,
) -> None:
    pipe = Pipe(client)

    def broken() -> Iterator[bytes]:
        yield hiredis.pack_command(("ECHO", "x" * 200_000))
        raise ValueError("no such argument")

    with pytest.raises(ValueError, match="no such argument"):
        await pipe.exchange(broken(), 2)
    assert await pipe.exchange(echoes("mine"), 1) == [b"mine"]


async def test_who_is_cancelled_leaves_their_replies_to_nobody(client: redis.asyncio.Redis) -> None:
    pipe = Pipe(client)
    asked = asyncio.create_task(pipe.exchange(echoes(*"abc"), 3))
    await pipe.exchange(echoes("first"), 1)
    late = asyncio.create_task(pipe.exchange(echoes(*"def"), 3))
    await asyncio.sleep(0)
    late.cancel()
    assert await pipe.exchange(echoes("mine"), 1) == [b"mine"]
    assert await asked == [b"a", b"b", b"c"]


async def test_a_connection_that_is_cut_is_an_error_for_those_who_wait_and_no_longer(
    client: redis.asyncio.Redis,
) -> None:
    pipe = Pipe(client)
    await pipe.exchange(echoes("open"), 1)
    number = next(each["id"] for each in await client.client_list() if each["cmd"] == "echo")
    await client.client_pause(500, all=True)
    waiting = [asyncio.create_task(pipe.exchange(echoes("lost"), 1)) for _ in range(3)]
    await client.client_kill_filter(_id=number)
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, RedisError)
    assert await pipe.exchange(echoes("back"), 1) == [b"back"]


@pytest.fixture
async def impatient(engines: Engines) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of a Redis of the test's own, which waits 2 s for it."""
    async with connect(f"redis://{engines.redis.address}/0", timeout_s=2.0) as client:
        yield client


async def test_a_redis_that_hangs_is_given_up_and_asked_again(engines: Engines, impatient: redis.asyncio.Redis) -> None:
    pipe = Pipe(impatient)
    await pipe.exchange(echoes("open"), 1)
    pid = engines.redis.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisTimeoutError):
            await pipe.exchange(echoes("too late"), 1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await pipe.exchange(echoes("mine"), 1) == [b"mine"]
