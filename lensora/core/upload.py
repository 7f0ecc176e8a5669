"""What an upload claims to be, read from its first bytes before anything is decoded.

Everything here is bounded by the upload's own length: no pixel is decoded and no buffer of the picture's size is
made. The sizes come from our own reading of the headers, because opening a WebP in a decoder already allocates its
canvas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lensora.core.errors import InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES, MAX_PIXELS

Kind = Literal["JPEG", "PNG", "WebP"]

MIN_SIDE = 32
"""Pixels; a picture with a shorter side shows too little to cut out."""

MAX_SIDE = 4096
"""Pixels; the longest side of the normalised photo."""

MAX_SCANS = 128
"""Scans in a JPEG. Encoders write about 10; a few bytes of scan cost a pass over the whole picture each."""

ACCEPTED = "JPEG, PNG and WebP are accepted"

_TEXT = rb"(\xef\xbb\xbf)?\s*(<[!?][^>]*>\s*)*"
"""A byte order mark, declarations and comments; written so that it matches in one way only, else it takes for ever."""

_DOCUMENTS = (
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(_TEXT + rb"<svg", re.IGNORECASE), "an SVG drawing"),
    (re.compile(_TEXT + rb"<(html|head|body|script|meta|title)|\s*<!DOCTYPE html", re.IGNORECASE), "an HTML page"),
    (re.compile(_TEXT + rb"<[?!a-z]", re.IGNORECASE), "a text document"),
)
"""Files that other programs would open in the picture's place if they could find them in it."""

_FOREIGN = (
    (re.compile(rb"GIF8"), "a GIF"),
    (re.compile(rb"II\*\0|MM\0\*"), "a TIFF or camera raw file"),
    (re.compile(rb"BM"), "a BMP"),
    (re.compile(rb"....ftyp(heic|heix|hevc|mif1|msf1)", re.DOTALL), "a HEIC photo"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "an AVIF"),
    (re.compile(rb"....ftyp", re.DOTALL), "a film"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "a JPEG XL"),
    *_DOCUMENTS,
)

_SNIFFED = 1024
"""Bytes in which a file says what it is; PDF readers look so far too."""

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_ZIP_END = b"PK\x05\x06"

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers: those that carry the picture's size (ITU-T T.81, table B.1)."""

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""A marker that ends entropy-coded data; restarts and stuffed zeros do not."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is worth decoding."""

    kind: Kind
    width: int
    """Pixels as stored, before any EXIF rotation."""

    height: int


def too_large(field: str, size: int) -> InvalidArgument:
    """The error for a file of ``size`` bytes."""
    megabytes = f"{size / 1e6:.1f} MB; at most {MAX_FILE_BYTES // 10**6} MB"
    return InvalidArgument.of(field, f"the file has {megabytes} are accepted", reason="IMAGE_TOO_LARGE")


def undecodable(field: str, kind: Kind) -> InvalidArgument:
    """The error for a file that begins as ``kind`` but cannot be read to its end."""
    description = f"the {kind} file is damaged or cut short, please send the whole file or save it anew"
    return InvalidArgument.of(field, description, reason="IMAGE_UNDECODABLE")


def inspect(data: bytes, field: str = "image") -> Upload:
    """Check all that the first bytes can tell.

    Args:
        data: the file's bytes, of which nothing has been checked.
        field: what to call it in an error.

    Raises:
        InvalidArgument: ``field``, reason ``IMAGE_EMPTY``, ``IMAGE_TOO_LARGE`` (bytes), ``IMAGE_WRONG_TYPE``,
            ``IMAGE_UNDECODABLE`` (a header without a size, or a JPEG of endless scans), ``IMAGE_TOO_MANY_PIXELS``,
            ``IMAGE_TOO_SMALL`` or ``IMAGE_POLYGLOT`` (another kind of file as well).
    """
    if not data:
        raise InvalidArgument.of(field, f"the file is empty; {ACCEPTED}", reason="IMAGE_EMPTY")
    if len(data) > MAX_FILE_BYTES:
        raise too_large(field, len(data))
    kind = _sniff(data, field)
    sizes = {"JPEG": _jpeg_size, "PNG": _png_size, "WebP": _webp_size}[kind](data)
    if sizes is None or 0 in sizes:
        raise undecodable(field, kind)
    width, height = sizes
    if width * height > MAX_PIXELS:
        raise InvalidArgument.of(
            field,
            f"the picture has {width} x {height} = {width * height / 1e6:.0f} million pixels; "
            f"at most {MAX_PIXELS // 1_000_000} million are accepted",
            reason="IMAGE_TOO_MANY_PIXELS",
        )
    _check_sides(width, height, field)
    _check_single(data, kind, field)
    return Upload(kind, width, height)


def normalised_size(width: int, height: int) -> tuple[int, int]:
    """``(width, height)`` with the longest side brought down to ``MAX_SIDE``; smaller pictures stay as they are."""
    scale = min(1.0, MAX_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _check_sides(width: int, height: int, field: str) -> None:
    """Refuse what is too small, or would be once its long side is brought down."""
    if min(normalised_size(width, height)) < MIN_SIDE:
        raise InvalidArgument.of(
            field,
            f"no subject can be found in {width} x {height} pixels; each side needs at least {MIN_SIDE}, and the long "
            f"side at most {MAX_SIDE // MIN_SIDE} times the short one",
            reason="IMAGE_TOO_SMALL",
        )


def _sniff(data: bytes, field: str) -> Kind:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    looks = _looks_like(data[:_SNIFFED], _FOREIGN) or "no picture that we know"
    raise InvalidArgument.of(field, f"the file looks like {looks}; {ACCEPTED}", reason="IMAGE_WRONG_TYPE")


def _looks_like(start: bytes, kinds: tuple[tuple[re.Pattern[bytes], str], ...]) -> str | None:
    return next((name for pattern, name in kinds if pattern.match(start)), None)


def _check_single(data: bytes, kind: Kind, field: str) -> None:
    """Refuse a picture that another program would take for a document.

    What cameras and phones append to their JPEGs, further pictures and short films, is no document.
    """
    after = data[_end(data, kind) :]
    also = _looks_like(after[:_SNIFFED], _DOCUMENTS)
    if b"%PDF-" in data[:_SNIFFED]:
        also = "a PDF"
    elif _is_zip(data):
        also = "a ZIP archive"
    if also is not None:
        description = f"the file is a {kind} and {also} at once; please send the picture alone. {ACCEPTED}"
        raise InvalidArgument.of(field, description, reason="IMAGE_POLYGLOT")


def _end(data: bytes, kind: Kind) -> int:
    """Where the picture ends, as far as its own structure tells."""
    if kind == "PNG":
        at = data.find(_PNG_END)
        return len(data) if at < 0 else at + len(_PNG_END)
    if kind == "WebP":
        return 8 + int.from_bytes(data[4:8], "little")
    return _walk_jpeg(data)[1]


def _is_zip(data: bytes) -> bool:
    """Whether the file ends as archives do: an end record, with a comment to the last byte (APPNOTE 4.3.16)."""
    at = data.rfind(_ZIP_END, max(0, len(data) - 22 - 0xFFFF))
    return at >= 0 and at + 22 + int.from_bytes(data[at + 20 : at + 22], "little") == len(data)


def _png_size(data: bytes) -> tuple[int, int] | None:
    """IHDR must come first (PNG, third edition, 5.6)."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """From the first chunk: extended, lossless or lossy (RFC 9649, sections 2.5 to 2.7)."""
    chunk = data[12:16]
    if len(data) < 30:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    return _walk_jpeg(data)[0]


def _walk_jpeg(data: bytes) -> tuple[tuple[int, int] | None, int]:
    """Size, and where the picture ends; walks all markers, so that the scans are counted too."""
    at, scans, size = 2, 0, None
    while marker := _JPEG_MARKER.search(data, at):
        code, at = marker[1][0], marker.end()
        if code == 0xD9:
            return size, at
        if at + 2 > len(data):
            break
        length = int.from_bytes(data[at : at + 2], "big")
        if code in _JPEG_SIZES and size is None:
            size = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 3 : at + 5], "big")
        scans += code == 0xDA
        if scans > MAX_SCANS:
            return None, len(data)
        at += max(length, 2)
    return size, len(data)
