"""The pictures inside a GLB: PNG or JPEG, sized before a pixel of them is decoded."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import InvalidArgument
from lensora.core.imaging import png_chunks_fit

MAX_SIDE = 4096
"""Pixels along either side of a texture, as stored."""

MAX_TOTAL_PIXELS = 48_000_000
"""Pixels of all textures of one mesh together, as stored."""

KEPT_SIDE = 2048
"""Larger textures are reduced to this: a film is at most 1920 pixels wide, and the subject is a part of it."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that start a frame and hold its size (ITU-T T.81, table B.1)."""


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNG or JPEG file claims, read from its header alone.

    Raises:
        InvalidArgument: field ``glb``, reason ``IMAGE_TYPE``: neither PNG nor JPEG, or no size in it.
    """
    if data.startswith(_PNG_SIGNATURE) and data[12:16] == b"IHDR" and len(data) >= 33:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"\xff\xd8"):
        at = 2
        while at + 9 <= len(data) and data[at] == 0xFF:
            marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
            if marker in _JPEG_FRAMES:
                return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            at += 2 + length if marker != 0xFF else 1
    raise InvalidArgument.of("glb", "its textures must be whole PNG or JPEG pictures", reason="IMAGE_TYPE")


def decode_texture(data: bytes) -> NDArray[np.uint8]:
    """Decode one picture, reduced to ``KEPT_SIDE``.

    Returns:
        (h, w, 3) uint8 in R, G, B order, top row first, values as stored; alpha and EXIF orientation are ignored, as
        glTF asks for opaque materials.

    Raises:
        InvalidArgument: field ``glb``; reason ``IMAGE_TYPE``, ``IMAGE_TOO_LARGE`` or ``IMAGE_UNDECODABLE``.
    """
    width, height = picture_size(data)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        message = f"a texture of {width} x {height} pixels; at most {MAX_SIDE} a side"
        raise InvalidArgument.of("glb", message, reason="IMAGE_TOO_LARGE")
    sound = not data.startswith(_PNG_SIGNATURE) or png_chunks_fit(data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if sound else None
    if picture is None:
        raise InvalidArgument.of("glb", "one of its textures is damaged", reason="IMAGE_UNDECODABLE")
    if max(picture.shape[:2]) > KEPT_SIDE:
        scale = KEPT_SIDE / max(picture.shape[:2])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
