"""Trying again what is safe to try again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lensora.core.errors import LensoraError, ResourceExhausted, Unavailable

Value = TypeVar("Value")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


class Patience:
    """Pauses between tries: they double, a random part is left out, and a Retry-After is kept to.

    Args:
        seconds: how long to go on after the first failure since the last sign of life; 0 is one try.
        clock: monotonic seconds.
        sleep: awaits so many seconds.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._seconds, self._clock, self._sleep = seconds, clock, sleep
        self.renew()

    def renew(self) -> None:
        """There was a sign of life."""
        self._pause = _FIRST_PAUSE
        self._ends: float | None = None

    async def after(self, error: LensoraError) -> None:
        """Pause, or raise the error if another try is of no use or too late."""
        if not worth_another_try(error):
            raise error
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all come back at once
        pause = max(pause, error.retry_after_s or 0.0)
        if self._ends is None:
            self._ends = self._clock() + self._seconds
        if self._clock() + pause > self._ends:
            raise error
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        await self._sleep(pause)


def worth_another_try(error: LensoraError) -> bool:
    """Whether the same call may work in a moment: a part is down, or a limit says when to come back."""
    return isinstance(error, Unavailable) or (isinstance(error, ResourceExhausted) and error.retry_after_s is not None)


async def patiently(call: Callable[[], Awaitable[Value]], seconds: float) -> Value:
    """What the call returns at the first try that works; the call must be harmless to repeat."""
    patience = Patience(seconds)
    while True:
        try:
            return await call()
        except LensoraError as error:
            await patience.after(error)
