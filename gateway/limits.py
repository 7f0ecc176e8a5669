"""How fast an account may call: a token bucket each, in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lensora.core.errors import ResourceExhausted

REMAINING, RESET = "rate_limit_remaining", "rate_limit_reset_s"
"""Keys of the error's metadata: calls that may follow at once, and seconds until the whole burst may."""


class RateLimiter:
    """Token buckets (https://en.wikipedia.org/wiki/Token_bucket), one an account.

    Args:
        per_second: calls a second that an account may make for ever; 0 is no limit.
        burst: calls that it may make at once after a rest.
        clock: monotonic seconds.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_second, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}
        """Tokens, and when they were counted."""

    def take(self, account: str) -> None:
        """Count one call.

        Raises:
            ResourceExhausted: reason ``RATE_LIMITED``; ``retry_after_s`` says when the next one may come.
        """
        if not self._rate:
            return
        now = self._clock()
        tokens, counted = self._buckets.get(account, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - counted) * self._rate)
        granted = tokens >= 1.0
        self._buckets[account] = (tokens - granted, now)
        if not granted:
            raise ResourceExhausted(
                f"at most {self._rate:g} calls a second, or {self._burst} at once after a rest; wait a moment",
                reason="RATE_LIMITED",
                retry_after_s=(1.0 - tokens) / self._rate,
                metadata={REMAINING: "0", RESET: str(math.ceil((self._burst - tokens) / self._rate))},
            )
