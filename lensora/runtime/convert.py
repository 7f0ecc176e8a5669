"""Between protos and the value types of ``lensora.core``; a value that breaks a rule names its field."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lensora.core.errors import InvalidArgument
from lensora.core.geometry import Box
from lensora.type.v1 import geometry_pb2

Value = TypeVar("Value")

MIN_SIDE, MAX_SIDE = 256, 1920
"""Bounds of an output's width and height, pixels."""


def checked(field: str, make: Callable[[], Value]) -> Value:
    """Turn a value type's ``ValueError`` into an error that names the field."""
    try:
        return make()
    except ValueError as error:
        raise InvalidArgument.of(field, str(error)) from error


def box_from_proto(box: geometry_pb2.Box, field: str) -> Box:
    """Raise ``InvalidArgument`` for a box that is empty, turned over, or outside the picture."""
    return checked(field, lambda: Box(box.x1, box.y1, box.x2, box.y2))


def box_to_proto(box: Box) -> geometry_pb2.Box:
    """Same numbers."""
    return geometry_pb2.Box(x1=box.x1, y1=box.y1, x2=box.x2, y2=box.y2)


def size_from_proto(size: geometry_pb2.Size, field: str) -> tuple[int, int]:
    """``(width, height)``, both even and within bounds."""
    for name, value in (("width", size.width), ("height", size.height)):
        if value % 2 or not MIN_SIDE <= value <= MAX_SIDE:
            raise InvalidArgument.of(f"{field}.{name}", f"even, {MIN_SIDE} to {MAX_SIDE} pixels, not {value}")
    return size.width, size.height
