"""A run does not go on when nobody judges it any more."""

from __future__ import annotations

import asyncio

import pytest

from simulator.staging.sides import beside, end


class Broken(Exception):
    pass


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise Broken


async def test_a_run_ends_at_once_with_the_sweep_that_fails() -> None:
    over = asyncio.Event()

    async def run() -> None:
        try:
            await for_ever()
        finally:
            over.set()

    sides = [asyncio.create_task(each()) for each in (for_ever, fails)]
    with pytest.raises(Broken):
        await beside(sides, run())
    assert over.is_set()
    with pytest.raises(Broken):
        await end(sides)


async def test_what_goes_on_beside_a_run_ends_with_it() -> None:
    sides = [asyncio.create_task(for_ever())]
    await beside(sides, asyncio.sleep(0))
    assert not sides[0].done()
    await end(sides)
    assert sides[0].cancelled()


async def test_a_run_that_fails_says_why() -> None:
    sides = [asyncio.create_task(for_ever())]
    with pytest.raises(Broken):
        await beside(sides, fails())
    await end(sides)
