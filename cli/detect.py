"""``lensora detect``: what is in a photo, as a table and as a picture."""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from cli.drawing import Mark, marked
from cli.make import on_gateway, studio_at
from gateway.options import SessionOptions, validated
from lensora.client import SessionInfo
from lensora.core.engines import NullContext
from lensora.core.errors import FailedPrecondition
from lensora.core.imaging import encode_png
from lensora.core.photo import decode


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    session: SessionInfo
    width: int
    """Pixels of the upright photo."""
    height: int
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

    async def look(address: str) -> SessionInfo:
        async with studio_at(address, key) as studio:
            with console.status("looking at the photo"):
                return (await studio.init(photo, max_objects=options.max_objects)).info

    start = time.monotonic()
    session = await on_gateway(server, look, services=("detect",))
    seconds = time.monotonic() - start
    picture = decode(photo, NullContext(), "photo")  # normalised as the service does it
    _write(out, encode_png(marked(picture, marks(session))))
    return Found(session, picture.shape[1], picture.shape[0], out, seconds)


def _write(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}", reason="OUT_NOT_WRITABLE") from error


def marks(session: SessionInfo) -> list[Mark]:
    """One for each proposal but the whole picture."""
    return [
        Mark(found.bbox, f"{found.index}  {found.label}  {found.score:.2f}")
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
    for one in found.session.objects:
        scale = (found.width, found.height, found.width, found.height)
        box = ", ".join(str(round(side * by)) for side, by in zip(astuple(one.bbox), scale, strict=True))
        table.add_row(str(one.index), one.label, one.category, f"{one.score:.2f}", box)
    console.print(table)
    console.print(
        f"{found.width} x {found.height} pixels; drawn in {found.file.resolve()}", soft_wrap=True, highlight=False
    )


def as_json(found: Found) -> str:
    """One JSON object; boxes as the contract has them, normalised."""
    return json.dumps(
        {
            "photo": {"width": found.width, "height": found.height},
            "objects": [
                {
                    "index": one.index,
                    "label": one.label,
                    "category": one.category,
                    "bbox": [round(side, 4) for side in astuple(one.bbox)],
                    "score": round(one.score, 4),
                }
                for one in found.session.objects
            ],
            "seconds": round(found.seconds, 3),
            "file": str(found.file.resolve()),
        }
    )
