"""How a service runs its engine: in threads (here), or in one worker process (``worker``).

Both give the same three things: progress while it runs, an end within the deadline, and a stop on cancel.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from lensora.core import engines
from lensora.core.errors import Cancelled, DeadlineExceeded, Unavailable
from lensora.runtime import loops
from lensora.runtime.settings import ServiceSettings

Progress = Callable[[float, str], None]
"""Called in the event loop with (fraction, phase)."""


@dataclass(frozen=True, slots=True)
class EngineId:
    """Names the engine that a runner runs."""

    service: str
    name: str
    version: str

    @property
    def fingerprint(self) -> str:
        """``service/name@version``."""
        return f"{self.service}/{self.name}@{self.version}"


class Runner(Protocol):
    """Runs one engine for one service."""

    @property
    def engine(self) -> EngineId:
        """Which engine; known after ``start``."""

    async def start(self) -> None:
        """Load the engine; returns once it can run."""

    async def run(self, request: Any, progress: Progress, deadline: float | None) -> Any:
        """Run the engine.

        Args:
            request: the engine's request type.
            progress: called in the event loop.
            deadline: ``time.monotonic()`` value at which the result is no longer wanted.

        Raises:
            LensoraError: what the engine raised, or ``DeadlineExceeded``.
            asyncio.CancelledError: the awaiting task was cancelled; the engine is being stopped.
        """

    def check(self) -> None:
        """Raise ``LensoraError`` for what the engine cannot work without just now; may block for a second."""

    async def stop(self) -> None:
        """Free everything."""


class StopFlag:
    """The engine's context in the process that runs it: progress out, cancel and deadline in."""

    def __init__(self, report: Progress, deadline: float | None) -> None:
        self._report, self._deadline = report, deadline
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Make the next ``check`` raise ``Cancelled``; any thread may call."""
        self._stopped.set()

    def progress(self, fraction: float, phase: str = "") -> None:
        """See ``lensora.core.engines.Context``."""
        self.check()
        self._report(fraction, phase)

    def check(self) -> None:
        """See ``lensora.core.engines.Context``."""
        if self._stopped.is_set():
            raise Cancelled("the work was called off")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DeadlineExceeded("the stage ran out of time")


class ThreadRunner:
    """Runs a pure Python or well-behaved native engine in threads of this process."""

    def __init__(self, service: str, settings: ServiceSettings, package: str | None = None) -> None:
        self._service, self._settings = service, settings
        self._package = package or f"services.{service}.engines"
        self._pool: ThreadPoolExecutor | None = None
        self._engine: engines.Engine[Any, Any] | None = None

    @property
    def engine(self) -> EngineId:
        """See ``Runner``."""
        engine = self._loaded()
        return EngineId(self._service, engine.name, engine.version)

    async def start(self) -> None:
        """See ``Runner``."""
        loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(
            self._settings.max_concurrency, f"{self._service}-engine", initializer=loops.lend, initargs=(loop,)
        )
        self._engine = await loop.run_in_executor(
            self._pool, engines.load, self._package, self._settings.engine, self._settings
        )

    async def run(self, request: Any, progress: Progress, deadline: float | None) -> Any:
        """See ``Runner``."""
        loop = asyncio.get_running_loop()
        flag = StopFlag(lambda fraction, phase: _post(loop, progress, fraction, phase), deadline)
        try:
            return await loop.run_in_executor(self._pool, self._loaded().run, request, flag)
        except asyncio.CancelledError:
            flag.stop()
            raise

    def check(self) -> None:
        """See ``Runner``."""
        engine = self._loaded()
        if isinstance(engine, engines.Checked):
            engine.check()

    async def stop(self) -> None:
        """See ``Runner``."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _loaded(self) -> engines.Engine[Any, Any]:
        if self._engine is None:
            raise Unavailable("the engine is still loading", reason="ENGINE_LOADING")
        return self._engine


def _post(loop: asyncio.AbstractEventLoop, progress: Progress, fraction: float, phase: str) -> None:
    loop.call_soon_threadsafe(progress, fraction, phase)
