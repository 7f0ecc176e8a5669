"""Engines whose networks run in Triton: who is asked, what happens when nobody answers, and who made the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from numpy.typing import NDArray

from lensora.core.engines import Context, Engine, Made, NullContext
from lensora.core.errors import LensoraError, Unavailable
from lensora.runtime import loops
from lensora.runtime.settings import TritonSettings
from lensora.runtime.triton import Answer, Client, Tensors, share

NAME = "triton"
_REPORT_SECONDS = 5.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Share:
    """A model's part of a run."""

    phase: str
    first: float = 0.0
    """Fraction of the run done when the model begins, in [0, 1]."""

    last: float = 1.0
    """Fraction of the run done when it ends."""


class Remote:
    """A ``lensora.core.networks.Network`` that Triton runs; made in the thread of an engine."""

    def __init__(self, client: Client, settings: TritonSettings, model: str, takes: str, gives: str) -> None:
        """``takes`` and ``gives`` are the names of the model's tensors."""
        self._client, self._settings, self._loop = client, settings, loops.current()
        self.model, self._takes, self._gives = model, takes, gives
        self._wanted = settings.triton_versions.get(model) or ""
        self._latest = "latest"

    @property
    def version(self) -> str:
        """The version that most requests go to; left to the policy, the one that ``check`` saw last."""
        if isinstance(self._wanted, str):
            return self._wanted or self._latest
        return max(self._wanted, key=lambda version: self._wanted[version])  # type: ignore[index]

    def __call__(self, batch: NDArray[Any], context: Context) -> NDArray[Any]:
        """See ``Network``.

        Raises:
            LensoraError: as ``Client.infer``.
        """
        inputs = {self._takes: batch}
        version, seconds = self._choose(inputs, context), self._settings.triton_seconds
        asked = self._client.infer(self.model, inputs, [self._gives], version=version, seconds=seconds)
        return self._noted(loops.wait(self._loop, asked, context), context)[self._gives]

    def stream(self, inputs: Tensors, parameters: Mapping[str, Any], context: Context, share_of: Share) -> Tensors:
        """Ask a decoupled model, and pass on how far it has come.

        Args:
            inputs: its tensors.
            parameters: of the request.
            context: of the run; it hears of progress in the calling thread, and at least every few seconds.
            share_of: the phase to report, and the fractions of the run at which the model begins and ends.

        Raises:
            LensoraError: as ``Client.stream``.
        """
        told = _Told(context, share_of)
        version, seconds = self._choose(inputs, context), self._settings.triton_seconds
        asked = self._client.stream(self.model, inputs, parameters, told.hear, version=version, seconds=seconds)
        return self._noted(loops.wait(self._loop, asked, told), context)

    def _choose(self, inputs: Tensors, context: Context) -> str:
        """The version to ask: the one that has answered in this run before, or by the settings."""
        if isinstance(context, _Run) and self.model in context.chosen:
            return context.chosen[self.model]
        return self._wanted if isinstance(self._wanted, str) else share(self._wanted, inputs)

    def _noted(self, answer: Answer, context: Context) -> Tensors:
        if isinstance(context, _Run):
            context.chosen[self.model] = answer.version
        return answer.tensors

    def check(self) -> None:
        """Raise ``Unavailable`` if Triton does not have the model loaded, in all versions that may be asked for."""
        states = loops.wait(self._loop, self._client.states(), NullContext())
        ready = [state.version for state in states if state.name == self.model and state.is_ready]
        wanted = {self._wanted} - {""} if isinstance(self._wanted, str) else set(self._wanted)
        if not ready or not wanted <= set(ready):
            version = f", or not in version {', '.join(sorted(wanted))}" if wanted else ""
            raise Unavailable(f"Triton has not loaded the model {self.model}{version}", reason="MODEL_NOT_LOADED")
        self._latest = max(ready, key=int)


class Streaming(Protocol):
    """What an engine asks of a decoupled model: ``Remote.stream``."""

    def stream(self, inputs: Tensors, parameters: Mapping[str, Any], context: Context, share_of: Share) -> Tensors:
        """See ``Remote``."""


class Hosted:
    """An engine around another one's pipeline, whose networks are ``Remote``."""

    def __init__(
        self,
        pipeline: Engine[Any, Any],
        networks: tuple[Remote, ...],
        spare: Engine[Any, Any] | None,
        name: str = NAME,
    ) -> None:
        """``spare`` is the engine that stands in while Triton is down; None lets the run fail instead."""
        self._pipeline, self._networks, self._spare, self.name = pipeline, networks, spare, name

    @property
    def version(self) -> str:
        """The pipeline's, and that of each network: ``3-1.1.2``."""
        return self._version({network.model: network.version for network in self._networks})

    def run(self, request: Any, context: Context) -> Made[Any]:
        """Run the pipeline; the result names the versions that answered, or the engine that stood in.

        Raises:
            LensoraError: as the pipeline; ``Unavailable`` if Triton is down and nobody may stand in.
        """
        attempt = _Run(context)
        try:
            result = self._pipeline.run(request, attempt)
        except Unavailable as error:
            if self._spare is None:
                raise
            result = self._spare.run(request, context)
            return Made(result, self._spare.name, self._spare.version, instead_of=self.name, reason=error.reason)
        asked = {network.model: network.version for network in self._networks} | attempt.chosen
        return Made(result, self.name, self._version(asked))

    def check(self) -> None:
        """See ``lensora.core.engines.Checked``; an engine with a spare can always work."""
        try:
            for network in self._networks:
                network.check()
        except LensoraError:
            if self._spare is None:
                raise

    def _version(self, versions: dict[str, str]) -> str:
        return f"{self._pipeline.version}-{'.'.join(versions.values())}"


class _Told:
    """A run's context that also reports what the model says, from the engine's own thread.

    A service takes a run that reports nothing for half a minute for dead, and a busy Triton may let one wait longer.
    """

    def __init__(self, context: Context, share_of: Share) -> None:
        self._context, self._share = context, share_of
        self._heard, self._reported, self._at = 0.0, -1.0, 0.0

    def hear(self, fraction: float, _phase: str) -> None:
        """Called in the event loop, which must not report: the pipe of a worker process takes one writer."""
        self._heard = fraction

    def progress(self, fraction: float, phase: str = "") -> None:
        """See ``Context``."""
        self._context.progress(fraction, phase)

    def check(self) -> None:
        """See ``Context``."""
        heard, now = self._heard, time.monotonic()
        if heard > self._reported or now - self._at > _REPORT_SECONDS:
            self._reported, self._at = heard, now
            self.progress(self._share.first + heard * (self._share.last - self._share.first), self._share.phase)
        self._context.check()


class _Run:
    """A run's context, which also remembers who answered first, so that no run mixes two versions of a model."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.chosen: dict[str, str] = {}

    def progress(self, fraction: float, phase: str = "") -> None:
        """See ``Context``."""
        self._context.progress(fraction, phase)

    def check(self) -> None:
        """See ``Context``."""
        self._context.check()


def connect(settings: TritonSettings) -> Callable[[str, str, str], Remote]:
    """One client for all the networks of an engine.

    Returns:
        Makes a ``Remote`` of a model's name, the name of its input and the name of its output.
    """
    client = Client(settings.triton_address, settings.triton_retry_seconds)
    return lambda model, takes, gives: Remote(client, settings, model, takes, gives)
