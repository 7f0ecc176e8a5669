"""What many ask for at once is made once, and a failure is not kept."""

from __future__ import annotations

import asyncio

import pytest

from gateway.edge.once import Once


async def test_many_get_one_and_a_failure_is_not_kept() -> None:
    once, calls = Once[int](), 0

    async def make() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls == 1:
            raise ConnectionError
        return calls

    told = await asyncio.gather(*(once.get("a", make) for _ in range(10)), return_exceptions=True)
    assert calls == 1
    assert all(isinstance(one, ConnectionError) for one in told)
    await asyncio.sleep(0.01)
    assert await asyncio.gather(*(once.get("a", make) for _ in range(10))) == [2] * 10
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await once.get("b", make)
    assert await once.get("a", make) == 2
