"""Brings crashed models back: Triton neither restarts a model's process nor notices that it is gone.

Readiness stays true after a crash, so each loaded model is sent a canary, a request that its process answers without
running the network. One that fails because the process is gone has the model unloaded and loaded again; one that takes
long waits behind real work, and means nothing. Under load that takes a while, since Triton needs a second or two for
each batch that waits before it; so the processes themselves are looked at too, where they are on this machine.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from opentelemetry import metrics

from lensora.core.errors import LensoraError
from lensora.runtime.stubs import Stubs
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

    def __init__(self, client: Client, seconds: float, stubs: Stubs | None = None) -> None:
        """``client`` must not try again by itself; ``seconds`` lie between two canaries of a model."""
        self._client, self._seconds, self._stubs = client, seconds, stubs
        self._canaries: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._crashed: dict[str, _Crash] = {}
        self._ready: set[str] = set()
        self._loaded_at: dict[str, float] = {}
        """When each was last loaded again; monotonic seconds."""

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

    def loaded(self) -> set[str]:
        """The models that were loaded when the server last answered, those counted that had just crashed."""
        return self._ready | set(self._crashed)

    async def _look(self, states: list[ModelState]) -> None:
        self._ready = {state.name for state in states if state.is_ready}
        for state in states:
            key = (state.name, state.version)
            if state.is_ready and state.name not in self._crashed and key not in self._canaries:
                self._canaries[key] = asyncio.create_task(self._canary(*key))
        if self._stubs is not None:
            loaded = frozenset((state.name, state.version) for state in states if state.is_ready)
            for model in await asyncio.to_thread(self._stubs.crashed, (loaded, self.recovered)):
                self._note(model)
        for model in list(self._crashed):
            await self._recover(model)

    def _note(self, model: str) -> None:
        if model not in self._crashed:
            _log.error("model crashed", model=model)
            self._crashed[model] = _Crash()

    async def _canary(self, model: str, version: str) -> None:
        sent = time.monotonic()
        try:
            await self._client.canary(model, version, _PATIENCE)
        except LensoraError as error:
            # one that was sent before the model came back tells of the crash before
            if error.reason == "MODEL_CRASHED" and sent > self._loaded_at.get(model, 0.0):
                self._note(model)
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
            self._loaded_at[model] = time.monotonic()
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
