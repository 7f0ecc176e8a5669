"""The token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import REMAINING, RESET, RateLimiter
from lensora.core.errors import ResourceExhausted


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_the_next_call_is_told_when_to_come_back() -> None:
    clock = Clock()
    limiter = RateLimiter(2.0, 3, clock)
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(ResourceExhausted) as caught:
        limiter.take("a")
    assert caught.value.reason == "RATE_LIMITED"
    assert caught.value.retry_after_s == 0.5
    assert caught.value.metadata == {REMAINING: "0", RESET: "2"}
    clock.now += 0.5
    limiter.take("a")
    limiter.take("b")


def test_nought_is_no_limit() -> None:
    limiter = RateLimiter(0.0, 1)
    for _ in range(100):
        limiter.take("a")


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 5), max_size=200))
def test_no_more_than_the_burst_and_the_rate_ever_pass(rate: float, burst: int, pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(rate, burst, clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        try:
            limiter.take("a")
            passed += 1
        except ResourceExhausted as error:
            assert error.retry_after_s is not None
            assert 0 < error.retry_after_s <= 1 / rate
    assert passed <= burst + clock.now * rate + 1e-6
