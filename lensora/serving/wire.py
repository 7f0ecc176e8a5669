"""How models and their client write what Triton has no field for: typed errors, canaries, progress.

An error crosses Triton as one line of text, ``[InvalidArgument/BAD_TENSOR] the sentence``: over a stream the status
code is lost, and the reason always is.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensora.core import errors
from lensora.core.errors import Internal, LensoraError

CANARY = "lensora_canary"
"""Request parameter: answer at once with empty tensors; proves that the model's process is alive."""

PARAMETERS, PROGRESS, PHASE = "parameters", "progress", "phase"
"""Tensors of decoupled models. In: JSON, BYTES [1]. Out, until the last response: FP32 [1] in [0, 1], BYTES [1]."""

_LIMIT = 400
_FLOATS = {"TYPE_FP16": "float16", "TYPE_FP32": "float32", "TYPE_FP64": "float64"}
_TEXT = re.compile(r"\[(\w{1,32})/(\w{1,64})\] (.*?)(?:\n\nAt:|\Z)", re.DOTALL)
"""What Triton adds to an error of loading, the lines of code, is left out."""


def error_text(error: LensoraError) -> str:
    """The line that stands for ``error``; ``read_error`` reads it."""
    kind = next(name for name in (cls.__name__ for cls in type(error).__mro__) if _kind(name))
    return f"[{kind}/{error.reason}] {error.message[:_LIMIT]}"


def read_error(text: str) -> LensoraError | None:
    """The error that a model of ours told of; None if the line is Triton's own."""
    found = _TEXT.search(text)
    kind = found and _kind(found[1])
    if not found or not kind:
        return None
    return kind(found[3][:_LIMIT], reason=found[2])


def _kind(name: str) -> type[LensoraError] | None:
    kind = getattr(errors, name, None)
    is_ours = isinstance(kind, type) and issubclass(kind, LensoraError) and kind is not LensoraError
    return kind if is_ours else None


def zeros(shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    """Zeros, or empty texts, of one of Triton's data types, e.g. ``TYPE_FP32``."""
    if kind == "TYPE_STRING":
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, _FLOATS.get(kind) or kind.removeprefix("TYPE_").lower())


def unexpected() -> Internal:
    """What a caller hears of a defect; the traceback stays in the server's log."""
    return Internal("the model failed unexpectedly; see the server's log", reason="MODEL_FAILED")
