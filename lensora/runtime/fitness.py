"""Whether a service can do its work just now: its blob folder takes results, and the models it opened are whole.

What is wrong is looked for again and again, for as long as the service runs. While something is, health checks answer
NOT_SERVING, and calls are refused with the reason instead of failing half way; a call looks again first, so that it
goes through as soon as the trouble is mended.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable

import structlog

from lensora.core.errors import LensoraError, Unavailable

_log = structlog.get_logger()


class Fitness:
    """What one service knows of its own state."""

    def __init__(self, check: Callable[[], None], tell: Callable[[bool], Awaitable[None]], seconds: float) -> None:
        """``check`` blocks, and raises what is wrong; ``tell`` is awaited with whether all is well, on each change.

        ``seconds`` lie between two looks.
        """
        self._check, self._tell, self._seconds = check, tell, seconds
        self._trouble: LensoraError | None = None
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """Check now, and tell if the answer is another than last time."""
        async with self._turn:
            before, self._trouble = self._trouble, await asyncio.to_thread(self._found)
            if (before is None) == (self._trouble is None):
                return
            if self._trouble is None:
                _log.info("fit again")
            else:
                _log.error("unfit", reason=self._trouble.reason, message=self._trouble.message)
            await self._tell(self._trouble is None)

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()

    async def require(self) -> None:
        """Raise what was wrong when last looked, if it still is."""
        if self._trouble is not None:
            await self.look()
        if self._trouble is not None:
            raise copy.copy(self._trouble)  # one that was raised already carries another call's traceback

    def _found(self) -> LensoraError | None:
        try:
            self._check()
        except LensoraError as error:
            return error
        except OSError as error:  # a file that went away while it was read, or a disk that fails
            return Unavailable(f"the service cannot check itself: {error}", reason="UNFIT")
        return None
