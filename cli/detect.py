"""``lensora detect``: what is in a photo, as a table and as a picture."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from cli.drawing import Mark, marked
from cli.make import on_gateway
from cli.studio import Studio
from gateway.options import SessionOptions, validated
from lensora.core.engines import NullContext
from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import Box
from lensora.core.imaging import encode_png
from lensora.core.photo import decode
from lensora.studio.v1 import studio_pb2


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    session: studio_pb2.Session
    file: Path
    """The normalised photo with the boxes drawn, PNG."""
    seconds: float
    """From the first word to the gateway to its answer; starting it included, where it had to be."""


async def detect(photo: bytes, max_objects: int, out: Path, server: str | None, key: str, console: Console) -> Found:
    """Ask the gateway at ``server``, or one of our own with nothing but detection behind it; draw what it says.

    Raises:
        InvalidArgument: ``max_objects`` is out of bounds, or the photo is none; nothing is written.
        LensoraError: what went wrong.
    """
    options = validated(SessionOptions, max_objects=max_objects)  # before anything is started

    async def look(address: str) -> studio_pb2.Session:
        studio = Studio(address, key)
        try:
            with console.status("looking at the photo"):
                return await studio.create_session(photo, options.max_objects)
        finally:
            await studio.close()

    start = time.monotonic()
    session = await on_gateway(server, look, services=("detect",))
    seconds = time.monotonic() - start
    picture = marked(decode(photo, NullContext(), "photo"), marks(session))  # normalised as the service does it
    _write(out, encode_png(picture))
    return Found(session, out, seconds)


def _write(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}", reason="OUT_NOT_WRITABLE") from error


def marks(session: studio_pb2.Session) -> list[Mark]:
    """One for each proposal but the whole picture."""
    return [
        Mark(
            Box(found.bbox.x1, found.bbox.y1, found.bbox.x2, found.bbox.y2),
            f"{found.index}  {found.label}  {found.score:.2f}",
        )
        for found in session.objects
        if found.category != "full_frame"
    ]


def print_table(found: Found, console: Console) -> None:
    """A row an object, best first; boxes in pixels of the upright photo."""
    table = Table(
        Column("object", justify="right"),
        "label",
        "category",
        Column("score", justify="right"),
        "x1, y1, x2, y2",
        box=None,
    )
    width, height = found.session.photo_width, found.session.photo_height
    for one in found.session.objects:
        corners = (one.bbox.x1 * width, one.bbox.y1 * height, one.bbox.x2 * width, one.bbox.y2 * height)
        box = ", ".join(str(round(corner)) for corner in corners)
        table.add_row(str(one.index), one.label, one.category, f"{one.score:.2f}", box)
    console.print(table)
    console.print(f"{width} x {height} pixels; drawn in {found.file.resolve()}", soft_wrap=True, highlight=False)


def as_json(found: Found) -> str:
    """One JSON object; boxes as the contract has them, normalised."""
    return json.dumps(
        {
            "photo": {"width": found.session.photo_width, "height": found.session.photo_height},
            "objects": [
                {
                    "index": one.index,
                    "label": one.label,
                    "category": one.category,
                    "bbox": [round(corner, 4) for corner in (one.bbox.x1, one.bbox.y1, one.bbox.x2, one.bbox.y2)],
                    "score": round(one.score, 4),
                }
                for one in found.session.objects
            ],
            "seconds": round(found.seconds, 3),
            "file": str(found.file.resolve()),
        }
    )
