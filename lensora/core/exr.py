"""Environments as OpenEXR, the one picture format here that holds linear light."""

from __future__ import annotations

import io

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument

MAX_HEIGHT = 1024
"""The tallest environment that is read, pixels; it is twice as wide."""


def encode_exr(picture: NDArray[np.float32]) -> bytes:
    """Half-float ZIP-compressed OpenEXR of an (h, w, 3) linear Rec.709 picture; the same array, the same bytes."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    half = np.clip(picture, 0.0, np.finfo(np.float16).max).astype(np.float16)
    stream = io.BytesIO()
    OpenEXR.File(header, {"RGB": half}).write(stream)
    return stream.getvalue()


def decode_exr(data: bytes, field: str) -> NDArray[np.float32]:
    """Decode one of our own environments, checking its size before any pixel is decoded.

    Returns:
        (h, 2h, 3) float32, linear, finite, not negative; h ≤ ``MAX_HEIGHT``.

    Raises:
        InvalidArgument: ``field`` is not such a picture.
    """
    try:
        parts = OpenEXR.File(io.BytesIO(data), header_only=True).parts
        header = parts[0].header
        if len(parts) != 1 or sorted(channel.name for channel in header["channels"]) != ["B", "G", "R"]:
            raise ValueError("other parts or channels, which would be unpacked too")
        corner, opposite = header["dataWindow"]
        width, height = (int(side) for side in np.asarray(opposite) - np.asarray(corner) + 1)
        if not 1 <= height <= MAX_HEIGHT or width != 2 * height:
            raise InvalidArgument.of(field, f"2h x h pixels with h at most {MAX_HEIGHT}, not {width} x {height}")
        pixels = OpenEXR.File(io.BytesIO(data)).channels()["RGB"].pixels
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InvalidArgument.of(field, "must be an undamaged OpenEXR with R, G and B", reason="UNDECODABLE") from error
    picture = np.asarray(pixels, dtype=np.float32)
    if picture.shape != (height, width, 3) or not np.isfinite(picture).all() or picture.min() < 0:
        raise InvalidArgument.of(field, "must hold finite radiances that are not negative")
    return picture
