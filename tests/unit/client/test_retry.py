"""What is tried again, when, and for how long."""

from __future__ import annotations

import pytest

from lensora.client.retry import Patience, patiently
from lensora.core.errors import Internal, LensoraError, ResourceExhausted, Unavailable


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


async def test_pauses_double_up_to_a_limit_and_end_in_time() -> None:
    clock = Clock()
    patience = Patience(60.0, clock, clock.sleep)
    error = Unavailable("down")
    with pytest.raises(Unavailable) as caught:
        while True:
            await patience.after(error)
    assert caught.value is error
    assert 50.0 <= clock.now <= 60.0
    for number, pause in enumerate(clock.pauses):
        longest = min(5.0, 0.25 * 2**number)
        assert longest / 2 <= pause <= longest


async def test_a_retry_after_is_kept_to() -> None:
    clock = Clock()
    patience = Patience(60.0, clock, clock.sleep)
    await patience.after(ResourceExhausted("wait", retry_after_s=20.0))
    assert clock.pauses == [20.0]
    with pytest.raises(ResourceExhausted):
        await patience.after(ResourceExhausted("wait", retry_after_s=50.0))


async def test_a_sign_of_life_gives_new_time() -> None:
    clock = Clock()
    patience = Patience(1.0, clock, clock.sleep)
    for _ in range(100):
        await patience.after(Unavailable("down"))
        patience.renew()
    assert clock.now > 10.0


@pytest.mark.parametrize("error", [Internal("a defect"), ResourceExhausted("too many bytes")])
async def test_what_would_not_help_is_raised(error: LensoraError) -> None:
    tries = 0

    async def call() -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(type(error)):
        await patiently(call, 60.0)
    assert tries == 1


async def test_no_patience_is_one_try() -> None:
    clock = Clock()
    with pytest.raises(Unavailable):
        await Patience(0.0, clock, clock.sleep).after(Unavailable("down"))
    assert clock.pauses == []
