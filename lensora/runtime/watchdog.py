"""Brings crashed models back: Triton neither restarts a model's process nor notices that it is gone.

Readiness stays true after a crash, so each loaded model is sent a canary, a request that its process answers without
running the network. One that fails because the process is gone has the model unloaded and loaded again; one that takes
long waits behind real work, and means nothing.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from opentelemetry import metrics

from lensora.core.errors import LensoraError
from lensora.runtime.triton import Client, ModelState

_PATIENCE = 3600.0
"""Seconds; a canary waits in line behind whatever the model is at."""

_MOST_SECONDS = 60.0
"""Between two tries to load a model that does not come back."""

_log = structlog.get_logger()
_recoveries = metrics.get_meter("lensora.runtime").create_counter(
    "lensora.triton.recovered", unit="{model}", description="Models loaded again after their process had crashed."
)


class Watchdog:
    """Watches the models of one server."""

    def __init__(self, client: Client, seconds: float) -> None:
        """``client`` must not try again by itself; ``seconds`` lie between two canaries of a model."""
        self._client, self._seconds = client, seconds
        self._canaries: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._crashed: dict[str, _Crash] = {}
        self.recovered = 0
        """Models that were loaded again so far."""

    async def watch(self) -> None:
        """Watch for ever; while the server itself is down there is nothing to see."""
        try:
            while True:
                await asyncio.sleep(self._seconds)
                try:
                    states = await self._client.states()
                except LensoraError:
                    continue
                await self._look(states)
        finally:
            for canary in self._canaries.values():
                canary.cancel()
            await asyncio.gather(*self._canaries.values(), return_exceptions=True)

    async def _look(self, states: list[ModelState]) -> None:
        for state in states:
            key = (state.name, state.version)
            if state.is_ready and state.name not in self._crashed and key not in self._canaries:
                self._canaries[key] = asyncio.create_task(self._canary(*key))
        for model in list(self._crashed):
            await self._recover(model)

    async def _canary(self, model: str, version: str) -> None:
        try:
            await self._client.canary(model, version, _PATIENCE)
        except LensoraError as error:
            if error.reason == "MODEL_CRASHED":
                _log.error("model crashed", model=model, version=version)
                self._crashed.setdefault(model, _Crash())
                await self._recover(model)
        finally:
            del self._canaries[model, version]

    async def _recover(self, model: str) -> None:
        """Unload and load; what fails is tried again later, ever more rarely."""
        crash = self._crashed.get(model)
        if crash is None or not crash.is_due():
            return
        crash.busy = True
        try:
            await self._client.unload(model)
            await self._client.load(model)
        except LensoraError as error:
            crash.postpone(self._seconds)
            _log.error("model not recovered", model=model, reason=error.reason, message=error.message)
        else:
            del self._crashed[model]
            self.recovered += 1
            _recoveries.add(1, {"model": model})
            _log.warning("model loaded again", model=model, seconds=round(time.monotonic() - crash.since, 2))


class _Crash:
    """One model that is down."""

    def __init__(self) -> None:
        self.since = self._next = time.monotonic()
        self._pause = 0.0
        self.busy = False

    def is_due(self) -> bool:
        return not self.busy and time.monotonic() >= self._next

    def postpone(self, seconds: float) -> None:
        self._pause = min(_MOST_SECONDS, max(seconds, 2 * self._pause))
        self._next, self.busy = time.monotonic() + self._pause, False
