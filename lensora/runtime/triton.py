"""Triton's client: every model behind it is asked through this one class.

It gives what the rest of the system is used to: a deadline, a cancel that reaches the model, progress of models that
report it, a new try for what will be back in a moment, and our own errors:

===================================  ====================================================================
what happened                        what is raised
===================================  ====================================================================
a model of ours raised an error      the same one, with its reason (``lensora.serving.wire``)
nobody there, or still starting      ``Unavailable``, ``TRITON_DOWN``
the model's process crashed          ``Unavailable``, ``MODEL_CRASHED``; the watchdog loads it again
no such model or version loaded      ``Unavailable``, ``MODEL_NOT_LOADED``
it takes or gives other tensors      ``Internal``, ``MODEL_MISMATCH``
out of time, or called off           ``DeadlineExceeded``, ``Cancelled``
anything else                        ``Internal``, ``TRITON_FAILED``; its words go to the log only
===================================  ====================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray
from opentelemetry import metrics
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from lensora.core.errors import Cancelled, DeadlineExceeded, Internal, LensoraError, Unavailable
from lensora.serving import wire

Value = TypeVar("Value")
Tensors = Mapping[str, NDArray[Any]]
Progress = Callable[[float, str], None]
"""Called in the event loop with (fraction, phase)."""

_OPTIONS = (
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024 * 1024),
    # a server that was restarted is found again quickly
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_SHORT_SECONDS = 2.0
"""For questions that need no model."""

_LOAD_SECONDS = 600.0
"""Tens of gigabytes of weights from a disk."""

_log = structlog.get_logger()
_retries = metrics.get_meter("lensora.runtime").create_counter(
    "lensora.triton.retry", unit="{try}", description="Inferences tried again, by model and the reason."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said."""

    tensors: Tensors
    """The outputs by name; text is an array of ``bytes`` objects."""

    version: str
    """Of the model that said it."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One version of a model in the server's repository."""

    name: str
    version: str
    """Empty for a model that was never loaded."""

    is_ready: bool
    why: str
    """Why it is not ready, as far as the server knows."""


def share(weights: Mapping[str, int], tensors: Tensors) -> str:
    """The version that answers this request: by weight, and the same for the same tensors.

    Args:
        weights: of each version; only their ratios count.
        tensors: the request's inputs.
    """
    digest = 0
    for name in sorted(tensors):
        digest = zlib.crc32(np.ascontiguousarray(tensors[name]).tobytes(), digest)
    # CRC-32 is linear, so alike inputs would come in rows: spread it (Knuth's multiplicative hash)
    place = (digest * 2654435761 % 2**32) / 2**32 * sum(weights.values())
    ends = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(ends, place, side="right"))]


class Client:
    """One connection to one Triton; to be used within one event loop, which the first call decides."""

    def __init__(self, address: str, retry_seconds: float = 10.0) -> None:
        """``address`` is ``host:port`` of Triton's gRPC; what is down is asked again for ``retry_seconds``."""
        self._address, self._retry_seconds = address, retry_seconds
        self._channel: InferenceServerClient | None = None

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] = (), *, version: str = "", seconds: float = 30.0
    ) -> Answer:
        """Ask a model that answers once.

        Args:
            model: its name.
            inputs: its tensors; the first axis is the batch, where the model has one.
            outputs: the tensors wanted; all of them by default.
            version: which one; empty leaves it to the model's ``version_policy``.
            seconds: until ``DeadlineExceeded``, retries included.
        """
        request = _Request(model, version, _inputs(inputs), [InferRequestedOutput(name) for name in outputs], {})
        return await self._again(lambda left: self._once(request, left), model, seconds)

    async def stream(
        self,
        model: str,
        inputs: Tensors,
        parameters: Mapping[str, Any],
        progress: Progress,
        *,
        version: str = "",
        seconds: float = 600.0,
    ) -> Answer:
        """Ask a decoupled model, which tells how far it has come; a cancel reaches it between its steps.

        Args:
            model: its name.
            inputs: its tensors.
            parameters: sent as JSON in the input ``parameters``.
            progress: called in the event loop; what it raises ends the call.
            version: as for ``infer``.
            seconds: as for ``infer``.
        """
        text = np.array([json.dumps(parameters).encode()], dtype=object)
        request = _Request(model, version, _inputs({**inputs, wire.PARAMETERS: text}), [], {})
        return await self._again(lambda left: self._streamed(request, progress, left), model, seconds)

    async def canary(self, model: str, version: str = "", seconds: float = 30.0) -> None:
        """Prove that the model's own process is alive: it answers empty tensors, and the network is not run.

        Raises:
            Unavailable: it is not; ``MODEL_CRASHED`` if it was.
        """
        with _told(model, self._address):
            client = self._open()
            described = await client.get_model_config(model, version, client_timeout=_SHORT_SECONDS)
            config = described.config
            request = _Request(model, version, _blank(config), [], {wire.CANARY: True})
            if config.model_transaction_policy.decoupled:
                await self._streamed(request, lambda _, __: None, seconds)
            else:
                await self._once(request, seconds)

    async def states(self) -> list[ModelState]:
        """Every model of the repository and how it is."""
        with _told("the repository", self._address):
            index = await self._open().get_model_repository_index(client_timeout=_SHORT_SECONDS)
            return [ModelState(one.name, one.version, one.state == "READY", one.reason) for one in index.models]

    async def is_ready(self, model: str, version: str = "") -> bool:
        """Whether the server has it loaded; it does not notice that a model's process has crashed."""
        with _told(model, self._address):
            return bool(await self._open().is_model_ready(model, version, client_timeout=_SHORT_SECONDS))

    async def load(self, model: str) -> None:
        """Load a model of the repository.

        Raises:
            LensoraError: what the model says is missing, or ``Internal`` with reason ``TRITON_FAILED``.
        """
        with _told(model, self._address):
            await self._open().load_model(model, client_timeout=_LOAD_SECONDS)

    async def unload(self, model: str) -> None:
        """Let the model finish what it has, and unload it; its memory is free again once ``states`` says so."""
        with _told(model, self._address):
            await self._open().unload_model(model, client_timeout=_SHORT_SECONDS)

    async def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _open(self) -> InferenceServerClient:
        if self._channel is None:  # not before there is a loop
            self._channel = InferenceServerClient(self._address, channel_args=_OPTIONS)
        return self._channel

    async def _again(self, once: Callable[[float], Awaitable[Value]], model: str, seconds: float) -> Value:
        """Try until it works, for as long as what fails may be back in a moment."""
        now = asyncio.get_running_loop().time
        deadline, give_up, pause = now() + seconds, now() + self._retry_seconds, _FIRST_PAUSE
        while True:
            try:
                return await once(deadline - now())
            except Unavailable as error:
                if now() + pause > min(deadline, give_up):
                    raise
                _retries.add(1, {"model": model, "reason": error.reason})
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _once(self, request: _Request, seconds: float) -> Answer:
        with _told(request.model, self._address):
            result = await self._open().infer(
                request.model,
                request.inputs,
                request.version,
                request.outputs or None,
                timeout=int(seconds * 1e6),
                client_timeout=seconds,
                parameters=request.parameters,
            )
            return _answer(result)

    async def _streamed(self, request: _Request, progress: Progress, seconds: float) -> Answer:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {
                "model_name": request.model,
                "model_version": request.version,
                "inputs": request.inputs,
                "timeout": int(seconds * 1e6),
                "parameters": request.parameters,
            }

        last: Answer | None = None
        failure: InferenceServerException | None = None
        with _told(request.model, self._address):
            responses = self._open().stream_infer(requests(), stream_timeout=seconds)
            try:
                async for result, error in responses:
                    if error is not None:
                        # the stream ends by itself; cut off just now, it would keep its model from ever being unloaded
                        failure = failure or error
                        continue
                    last = _answer(result)
                    if wire.PROGRESS in last.tensors:
                        _report(last.tensors, progress)
            finally:
                responses.cancel()
            if failure is not None:
                raise failure
        if last is None:
            raise Internal(f"the model {request.model} ended without an answer", reason="MODEL_MISMATCH")
        return last


@dataclass(frozen=True, slots=True)
class _Request:
    model: str
    version: str
    inputs: list[InferInput]
    outputs: list[InferRequestedOutput]
    parameters: dict[str, Any]


def _inputs(tensors: Tensors) -> list[InferInput]:
    made = []
    for name, array in tensors.items():
        tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def _blank(config: Any) -> list[InferInput]:
    """The smallest inputs that the server lets through to the model."""
    batch = [1] if config.max_batch_size > 0 else []
    made = {}
    for one in config.input:
        shape = batch + [max(1, side) for side in one.dims]
        kind = config.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number[one.data_type].name
        made[one.name] = wire.zeros(tuple(shape), kind)
    return _inputs(made)


def _answer(result: InferResult) -> Answer:
    response = result.get_response()
    return Answer({one.name: result.as_numpy(one.name) for one in response.outputs}, response.model_version)


def _report(tensors: Tensors, progress: Progress) -> None:
    phase = tensors.get(wire.PHASE)
    word = bytes(phase.reshape(-1)[0]).decode(errors="replace") if phase is not None and phase.size else ""
    progress(float(np.clip(tensors[wire.PROGRESS].reshape(-1)[0], 0.0, 1.0)), word)


@contextlib.contextmanager
def _told(model: str, address: str) -> Iterator[None]:
    """Turn what Triton and gRPC raise into our errors."""
    try:
        yield
    except InferenceServerException as error:
        raise _error(str(error.status() or ""), str(error.message()), model, address) from None
    except grpc.aio.AioRpcError as error:  # streams let it through
        raise _error(str(error.code()), error.details() or "", model, address) from None


def _error(status: str, words: str, model: str, address: str) -> LensoraError:
    status = status.removeprefix("StatusCode.")
    ours = wire.read_error(words)
    if ours is not None:
        return ours
    if "not healthy" in words and "tub process" in words:
        return Unavailable(f"the model {model} crashed and is being loaded again", reason="MODEL_CRASHED")
    if status == "NOT_FOUND" or "unknown model" in words:
        return Unavailable(
            f"Triton at {address} has not loaded the model {model}, or not that version", reason="MODEL_NOT_LOADED"
        )
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"the model {model} took too long")
    if status == "CANCELLED":
        return Cancelled("the request was cancelled")
    if status == "UNAVAILABLE":
        return Unavailable(f"Triton at {address} does not answer", reason="TRITON_DOWN")
    _log.warning("triton", model=model, status=status, said=words[:1000])
    if status == "INVALID_ARGUMENT" or (not status and "input" in words):
        return Internal(
            f"the model {model} takes other tensors than it was sent: is its repository of this release?",
            reason="MODEL_MISMATCH",
        )
    return Internal(f"the model {model} failed; see the log of Triton", reason="TRITON_FAILED")
