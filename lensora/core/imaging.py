"""Colour and picture files: the few conversions that every stage shares.

Arrays are (height, width, channels), top row first. "sRGB" is 8-bit and gamma-encoded (IEC 61966-2-1);
"linear" is float32 with Rec.709 primaries.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument

MAX_FILE_BYTES = 20_000_000
"""The largest picture file that anybody may send."""

MAX_PIXELS = 50_000_000
"""The most pixels that any picture may decode to."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def srgb_to_linear(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode 8-bit sRGB to linear float32 in [0, 1], same shape."""
    return np.asarray(_SRGB_TO_LINEAR[picture])


def linear_to_srgb(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Encode linear values as 8-bit sRGB; clamps to [0, 1] and rounds to nearest; same shape."""
    clamped = np.clip(picture, 0.0, 1.0)
    encoded = np.where(clamped <= 0.0031308, clamped * 12.92, 1.055 * np.power(clamped, 1 / 2.4) - 0.055)
    return np.asarray(encoded * 255.0 + 0.5, dtype=np.uint8)


def encode_png(picture: NDArray[np.uint8], *, compression: int = 3) -> bytes:
    """PNG bytes of an (h, w), (h, w, 3) RGB or (h, w, 4) straight-alpha RGBA uint8 picture.

    The same array gives the same bytes; no metadata is written.
    """
    if picture.dtype != np.uint8:
        raise ValueError(f"uint8 expected, not {picture.dtype}")
    orders = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    stored = picture if picture.ndim == 2 else cv2.cvtColor(picture, orders[picture.shape[2]])
    done, data = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    if not done:
        raise ValueError(f"OpenCV could not encode {picture.shape}")
    return bytes(data)


def png_chunks_fit(data: bytes) -> bool:
    """Whether each chunk of a PNG, up to the last (ISO/IEC 15948, 5.3), ends within the file.

    OpenCV makes room for what a chunk says of its length before it looks whether so much is there: up to 4 GB.
    """
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at <= len(data)
    return False


def decode_png(data: bytes, field: str, *, channels: int) -> NDArray[np.uint8]:
    """Decode one of our own 8-bit PNGs, checking its size before any pixel is decoded.

    Args:
        data: the file.
        field: what to call it in an error.
        channels: 3 for RGB, 4 for straight-alpha RGBA; any other picture is refused.

    Returns:
        (h, w, channels) uint8.

    Raises:
        InvalidArgument: ``field`` is not such a PNG, or holds more than ``MAX_PIXELS``.
    """
    if len(data) < 33 or not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        raise InvalidArgument.of(field, "must be a PNG", reason="NOT_A_PNG")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if not (width and height and width * height <= MAX_PIXELS):
        raise InvalidArgument.of(field, f"{width} x {height} pixels; at most {MAX_PIXELS:,}", reason="IMAGE_TOO_LARGE")
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if png_chunks_fit(data) else None
    if stored is None or stored.dtype != np.uint8 or stored.shape != (height, width, channels):
        kind = {3: "RGB", 4: "RGBA"}[channels]
        raise InvalidArgument.of(field, f"must be an undamaged 8-bit {kind} PNG", reason="UNDECODABLE")
    code = cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(stored, code), dtype=np.uint8)


def _srgb_table() -> NDArray[np.float32]:
    encoded = np.arange(256, dtype=np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


_SRGB_TO_LINEAR = _srgb_table()
