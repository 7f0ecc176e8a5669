"""The two kinds of models: ``Batched``, light and many at a time, and ``Decoupled``, heavy and with progress.

A ``model.py`` names its class ``TritonPythonModel``, derives it from one of them, and implements ``load`` and ``infer``
or ``run``; ``finalize`` too, if it holds anything. What they raise reaches the caller as one sentence: a
``LensoraError`` as itself, anything else as ``Internal``, with the traceback in the server's log only.
"""

from __future__ import annotations

import json
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import Cancelled, InvalidArgument, LensoraError, Unavailable
from lensora.serving import wire
from lensora.serving.setup import Setup

Tensors = Mapping[str, NDArray[Any]]
"""By name. Text (BYTES) is an array of ``bytes`` objects."""


class _Model(ABC):
    """What Triton makes one of per instance."""

    setup: Setup

    def initialize(self, args: Mapping[str, str]) -> None:
        """Called by Triton once; what it raises is what the caller of "load" hears."""
        self.setup = Setup.read(args)
        try:
            self.load(self.setup)
        except LensoraError as error:
            raise _backend().TritonModelException(wire.error_text(error)) from None
        except Exception as error:
            _log(f"{self.setup.name}: cannot load")
            raise _backend().TritonModelException(wire.error_text(wire.unexpected())) from error

    @abstractmethod
    def load(self, setup: Setup) -> None:
        """Load the weights.

        Raises:
            LensoraError: in one line, what is missing and what to do about it.
        """

    def _error(self, error: Exception) -> Any:
        """The answer that stands for ``error``."""
        if not isinstance(error, LensoraError):
            _log(f"{self.setup.name}: failed")
            error = wire.unexpected()
        code = getattr(_backend().TritonError, _CODES.get(type(error), "INTERNAL"))
        return _backend().InferenceResponse(error=_backend().TritonError(wire.error_text(error), code))

    def _answer(self, tensors: Tensors) -> Any:
        made = [_backend().Tensor(name, np.ascontiguousarray(array)) for name, array in tensors.items()]
        return _backend().InferenceResponse(output_tensors=made)

    def _empty(self, batch: tuple[int, ...]) -> Tensors:
        """Outputs of the declared types and the smallest shapes, all zero."""
        return {
            name: wire.zeros((*batch, *(max(0, side) for side in shape)), kind)
            for name, (kind, shape) in self.setup.outputs.items()
        }


class Batched(_Model):
    """One call of the network for all the requests that Triton's dynamic batching has gathered."""

    @abstractmethod
    def infer(self, tensors: Tensors) -> Tensors:
        """Run the network.

        Args:
            tensors: the inputs, joined along their first axis.

        Returns:
            The outputs, with the same first axis.
        """

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Called by Triton; one response for each request, in their order."""
        answers: list[Any] = [None] * len(requests)
        waiting: list[tuple[int, Tensors]] = []
        wanted = [set(request.requested_output_names()) for request in requests]
        for index, request in enumerate(requests):
            if request.is_cancelled():
                answers[index] = self._error(Cancelled("the request was cancelled"))
                continue
            tensors = _inputs(request)
            if _is_canary(request):
                answers[index] = self._answer(self._empty((_size(tensors),)))
            else:
                waiting.append((index, tensors))
        for group in _alike(waiting):
            try:
                for (index, _), outputs in zip(group, self._together([tensors for _, tensors in group]), strict=True):
                    answers[index] = self._answer({name: outputs[name] for name in outputs if name in wanted[index]})
            except Exception as error:  # noqa: BLE001 - the border of a process: nothing may pass it but answers
                for index, _ in group:
                    answers[index] = self._error(error)
        return answers

    def _together(self, group: list[Tensors]) -> list[Tensors]:
        """Each one's outputs, of one run for all."""
        if len(group) == 1:  # the usual case by far, and without copies
            return [self.infer(group[0])]
        outputs = self.infer({name: np.concatenate([tensors[name] for tensors in group]) for name in group[0]})
        sizes = [_size(tensors) for tensors in group]
        return [
            {name: array[end - size : end] for name, array in outputs.items()}
            for size, end in zip(sizes, np.cumsum(sizes), strict=True)
        ]


Report = Callable[[float, str], None]
"""Called with the fraction done, in [0, 1], and the phase; raises ``Cancelled`` if nobody waits any more."""


class Decoupled(_Model):
    """One request at a time, with progress on the way; the last response carries the result."""

    @abstractmethod
    def run(self, tensors: Tensors, parameters: Mapping[str, Any], report: Report) -> Tensors:
        """Do the work.

        Args:
            tensors: the inputs but ``parameters``.
            parameters: what the JSON of that input says.
            report: call it between steps, at least every second or so.

        Returns:
            The outputs but ``progress`` and ``phase``.
        """

    def execute(self, requests: Sequence[Any]) -> None:
        """Called by Triton; answers through each request's own sender."""
        for request in requests:
            sender = request.get_response_sender()
            final = _backend().TRITONSERVER_RESPONSE_COMPLETE_FINAL
            try:
                sender.send(self._answer(self._one(request, sender)), flags=final)
            except Exception as error:  # noqa: BLE001 - the border of a process: nothing may pass it but answers
                sender.send(self._error(error), flags=final)

    def _one(self, request: Any, sender: Any) -> Tensors:
        if _is_canary(request):
            return {wire.PROGRESS: np.ones(1, np.float32), wire.PHASE: _text("canary")}
        tensors = dict(_inputs(request))

        def report(fraction: float, phase: str) -> None:
            if request.is_cancelled():
                raise Cancelled("the request was cancelled")
            news = {wire.PROGRESS: np.array([fraction], np.float32), wire.PHASE: _text(phase)}
            sender.send(self._answer(news))

        parameters = _parameters(tensors.pop(wire.PARAMETERS, None))
        report(0.0, "starting")
        return self.run(tensors, parameters, report)


_CODES: dict[type[LensoraError], str] = {
    InvalidArgument: "INVALID_ARG",
    Cancelled: "CANCELLED",
    Unavailable: "UNAVAILABLE",
}


def _backend() -> Any:
    """Triton's module, which exists only within the server."""
    import triton_python_backend_utils  # type: ignore[import-not-found]

    return triton_python_backend_utils


def _log(message: str) -> None:
    """Into the server's log, with the traceback of what is being handled."""
    print(f"{message}\n{traceback.format_exc()}", file=sys.stderr, flush=True)  # noqa: T201 - Triton's log is stderr


def _inputs(request: Any) -> Tensors:
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def _is_canary(request: Any) -> bool:
    return bool(json.loads(request.parameters() or "{}").get(wire.CANARY))


def _size(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))


def _alike(waiting: list[tuple[int, Tensors]]) -> list[list[tuple[int, Tensors]]]:
    """In groups whose tensors can be joined: those of the same shapes but for the batch."""
    groups: dict[tuple[Any, ...], list[tuple[int, Tensors]]] = {}
    for index, tensors in waiting:
        shape = tuple(sorted((name, array.shape[1:]) for name, array in tensors.items()))
        groups.setdefault(shape, []).append((index, tensors))
    return list(groups.values())


def _parameters(tensor: NDArray[Any] | None) -> Mapping[str, Any]:
    """The request's JSON object.

    Raises:
        InvalidArgument: it is none.
    """
    if tensor is None:
        return {}
    try:
        value = json.loads(tensor.reshape(-1)[0])
    except (ValueError, IndexError):
        value = None
    if not isinstance(value, dict):
        raise InvalidArgument.of(wire.PARAMETERS, "one JSON object in a BYTES tensor of one element")
    return value


def _text(text: str) -> NDArray[Any]:
    return np.array([text.encode()], dtype=object)
