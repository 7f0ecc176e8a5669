"""One hostile upload to one normalised photo: upright, 8-bit sRGB, opaque, no metadata.

Pillow's format classes are called directly, not through ``Image.open``: no other format can be reached, and its
process-wide limits and switches are neither relied on nor changed.
"""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from lensora.core import upload
from lensora.core.engines import Context

NEUTRAL = (128, 128, 128)
"""8-bit sRGB behind transparent pixels: as far from white subjects as from black ones."""

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""A longer colour profile is ignored; those of cameras and presses have 0.5 KB to 2 MB."""

_CLASSES: dict[upload.Kind, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
}
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error)
"""What Pillow raises for damaged files; SyntaxError is its word for a broken header."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
"""EXIF orientation to (swap rows and columns, then flip as ``cv2.flip`` numbers it); JEITA CP-3451, 4.6.4."""


def decode(data: bytes, context: Context, field: str = "image") -> NDArray[np.uint8]:
    """Decode and normalise an upload.

    Transparent pictures are composited on ``NEUTRAL``; of animations the first frame is taken; colours are brought
    to sRGB from the embedded ICC profile (relative colorimetric, black point compensation), and taken for sRGB where
    there is none or it is unusable; a longest side over ``MAX_SIDE`` is brought down to it (Lanczos).

    Args:
        data: the file's bytes, of which nothing has been checked.
        context: told nothing, but asked before each costly step.
        field: what to call it in an error.

    Returns:
        (h, w, 3) uint8, 8-bit sRGB, upright.

    Raises:
        InvalidArgument: ``field``; the reasons of ``upload.inspect``.
    """
    header = upload.inspect(data, field)
    context.check()
    try:
        picture = _CLASSES[header.kind](io.BytesIO(data))
        if picture.size != (header.width, header.height):
            raise upload.undecodable(field, header.kind)
        size = upload.normalised_size(*picture.size)
        picture.draft("RGB", size)  # JPEGs of twice the size or more decode straight to a half, quarter or eighth
        picture.load()
        orientation = _orientation(picture)
    except _DAMAGE as error:
        raise upload.undecodable(field, header.kind) from error
    context.check()
    profile = picture.info.get("icc_profile")
    colours, alpha = _plain(picture)
    if colours.size != size:
        colours = colours.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        alpha = alpha and alpha.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        context.check()
    colours = _to_srgb(colours, profile)
    context.check()
    if alpha is not None:
        colours = Image.composite(colours, Image.new("RGB", colours.size, NEUTRAL), alpha)
    return _upright(np.asarray(colours), orientation)


def _orientation(picture: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where the tag is missing or nonsense."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        return 1  # the pixels are whole: a mangled EXIF block alone is no reason to refuse the photo
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _plain(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours as mode L, RGB or CMYK, and alpha as L if anything is transparent; both 8-bit."""
    if picture.mode.startswith("I"):  # 16-bit grey
        deep = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((deep * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8)), None
    if picture.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        alpha = picture.getchannel("A")
        return picture.convert("RGB"), None if alpha.getextrema() == (255, 255) else alpha
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture, None
    return picture.convert("L" if picture.mode == "1" else "RGB"), None


def _to_srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB; a profile that is broken, oversized or of another colour model is ignored, as browsers do."""
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return colours.convert("RGB")
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            colours.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if colours.mode == "RGB" and _changes_nothing(transform):
            return colours
        return ImageCms.applyTransform(colours, transform) or colours.convert("RGB")
    except (ImageCms.PyCMSError, *_DAMAGE):
        return colours.convert("RGB")


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a lattice of colours moves by at most one level: most profiles say sRGB, and a pass over all costs."""
    levels = np.linspace(0, 255, 17).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(17, -1, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(lattice), transform))
    return bool(np.abs(moved.astype(np.int16) - lattice).max() <= 1)


def _upright(photo: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror by EXIF orientation; the result is contiguous and writable."""
    swap, flip = _UPRIGHT.get(orientation, (False, None))
    if swap:
        photo = np.asarray(cv2.transpose(photo), dtype=np.uint8)
    if flip is not None:
        photo = np.asarray(cv2.flip(photo, flip), dtype=np.uint8)
    return photo if swap or flip is not None else photo.copy()
