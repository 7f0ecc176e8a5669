"""Reading what a request brings, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument
from lensora.serving.model import Tensors

MAX_PIXELS = 50_000_000


def picture(tensors: Tensors, name: str, channels: int | None, *, multiple: int = 1) -> NDArray[np.uint8]:
    """A picture: (h, w, channels) uint8, or (h, w) where ``channels`` is None.

    Raises:
        InvalidArgument: it is missing, none, empty, too large, or a side is no multiple of ``multiple``.
    """
    found = tensors.get(name)
    expected = "(h, w)" if channels is None else f"(h, w, {channels})"
    if found is None or found.dtype != np.uint8 or found.ndim != (2 if channels is None else 3):
        raise InvalidArgument.of(name, f"{expected} uint8 expected", reason="BAD_TENSOR")
    height, width = found.shape[:2]
    if found.shape[2:] != (() if channels is None else (channels,)) or not 0 < height * width <= MAX_PIXELS:
        raise InvalidArgument.of(
            name, f"{expected} expected, 1 to {MAX_PIXELS} pixels, not {found.shape}", reason="BAD_TENSOR"
        )
    if height % multiple or width % multiple:
        raise InvalidArgument.of(
            name, f"sides that are multiples of {multiple}, not {found.shape[:2]}", reason="BAD_TENSOR"
        )
    return found


def text(tensors: Tensors, name: str, limit: int) -> str:
    """The only element of a BYTES tensor, as text of 1 to ``limit`` characters.

    Raises:
        InvalidArgument: it is not that.
    """
    found = tensors.get(name)
    try:
        said = "" if found is None or found.size != 1 else bytes(found.reshape(-1)[0]).decode()
    except UnicodeDecodeError:
        said = ""
    if not 0 < len(said) <= limit:
        raise InvalidArgument.of(name, f"one text of 1 to {limit} characters", reason="BAD_TENSOR")
    return said


def whole(parameters: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """A whole number among a request's parameters.

    Raises:
        InvalidArgument: it is none, or out of bounds.
    """
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidArgument.of(f"parameters.{name}", f"a whole number from {low} to {high}, not {str(value)[:40]}")
    return value


def real(parameters: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number among a request's parameters.

    Raises:
        InvalidArgument: it is none, or out of bounds.
    """
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidArgument.of(f"parameters.{name}", f"a number from {low:g} to {high:g}, not {str(value)[:40]}")
    return float(value)
