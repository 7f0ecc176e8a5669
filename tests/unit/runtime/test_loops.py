"""Engines' threads and the coroutines that they wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lensora.core.engines import NullContext
from lensora.core.errors import Cancelled, NotFound
from lensora.runtime import loops


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_without_a_service_there_is_a_loop_of_our_own_and_only_one() -> None:
    loop = loops.current()
    assert loops.wait(loop, double(21), NullContext()) == 42
    assert loops.current() is loop and loop.is_running()


async def test_a_thread_uses_the_loop_that_it_was_lent() -> None:
    loop = asyncio.get_running_loop()

    def work() -> tuple[bool, int]:
        loops.lend(loop)
        return loops.current() is loop, loops.wait(loops.current(), double(4), NullContext())

    assert await asyncio.to_thread(work) == (True, 8)


def test_an_error_comes_through() -> None:
    async def fail() -> None:
        raise NotFound("no")

    with pytest.raises(NotFound):
        loops.wait(loops.current(), fail(), NullContext())


def test_what_is_no_longer_wanted_is_cancelled() -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    class Gone(NullContext):
        def check(self) -> None:
            raise Cancelled("gone")

    with pytest.raises(Cancelled):
        loops.wait(loops.current(), forever(), Gone())
    assert ended.wait(10)
