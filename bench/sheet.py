"""What becomes of every photo, to be looked at: ``python -m bench.sheet [--out FOLDER] [PHOTO ...]``.

For each a picture ``NAME.png``: the photo, the boxes, the cut-out on a checkerboard, the still, and six frames of the
film a sixth of a turn apart; and ``sheet.png`` with all of them. A refusal is shown as its sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

from cli import detect, make, supervisor
from lensora.core.engines import NullContext
from lensora.core.errors import LensoraError
from lensora.core.imaging import encode_png
from lensora.core.photo import decode

PROMPT = "on a marble countertop with soft natural light"
FILM, FRAMES = (640, 360), 6
PHOTOS = Path(__file__).parents[1] / ".cache/photos"
"""What `make photos-all` fetches."""

WIDTH, TITLE, ROW = 1920, 56, 330
"""Pixels of one sheet: its width, and the heights of its title and of its first row of four."""

_GROUND, _INK = (246, 246, 244), (30, 30, 30)
_SQUARE = 12


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one photo."""

    title: str
    photo: NDArray[np.uint8]
    boxes: NDArray[np.uint8]
    made: make.Made | None
    refusal: str
    """Why nothing was made; else empty."""


async def results(photos: list[Path], folder: Path) -> list[Result]:
    """Every photo through one running system; its files stay in ``folder``."""
    async with supervisor.running(folder / "home") as system:
        await system.ready()
        return [await result(photo.stem, photo.read_bytes(), folder / photo.stem, system.address) for photo in photos]


async def result(name: str, data: bytes, folder: Path, address: str) -> Result:
    """One photo; what the gateway refuses is a result too."""
    quiet = Console(quiet=True)
    found = await detect.detect(data, 6, folder / "objects.png", address, "", quiet)
    pictures = (decode(data, NullContext()), np.asarray(Image.open(found.file)))
    label = found.session.objects[0].label
    order = make.order(data, PROMPT, "turntable", None, f"{FILM[0]}x{FILM[1]}", 1.0, 0, folder, address)
    try:
        made = await make.make(order, quiet)
    except LensoraError as error:
        return Result(f"{name}  ·  {label}  ·  {error.reason}", *pictures, None, error.message)
    mesh = made.mesh
    said = f"{made.mesh.verdict} ({mesh.thin_axis_ratio:.2f})  ·  {mesh.method}"
    return Result(f"{name}  ·  {label}  ·  {said}", *pictures, made, "")


def sheet(one: Result) -> Image.Image:
    """One photo's picture."""
    frame_size = (WIDTH // FRAMES, WIDTH // FRAMES * FILM[1] // FILM[0])
    page = Image.new("RGB", (WIDTH, TITLE + ROW + frame_size[1]), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((12, 10), one.title, font=ImageFont.load_default(30), fill=_INK)
    shown = [Image.fromarray(one.photo), Image.fromarray(one.boxes)]
    if one.made is None:
        words = textwrap.fill(one.refusal, 60)
        draw.multiline_text((WIDTH // 2 + 20, TITLE + 20), words, font=ImageFont.load_default(28), fill=_INK)
    else:
        shown += [on_checkerboard(one.made.files["cutout.png"]), Image.open(one.made.files["still.png"])]
        for number, frame in enumerate(frames(one.made.files["film.mp4"])):
            page.paste(frame.resize(frame_size, Image.Resampling.LANCZOS), (number * frame_size[0], TITLE + ROW))
    cell = WIDTH // 4
    for number, picture in enumerate(shown):
        fitting = fitted(picture, (cell - 8, ROW - 8))
        left, top = number * cell + (cell - fitting.width) // 2, TITLE + (ROW - fitting.height) // 2
        page.paste(fitting, (left, top))
    return page


def on_checkerboard(file: Path) -> Image.Image:
    """An RGBA picture over grey squares."""
    cutout = Image.open(file)
    rows, columns = np.indices((cutout.height, cutout.width)) // max(2, _SQUARE * max(cutout.size) // 480)
    squares = np.where((rows + columns) % 2, np.uint8(225), np.uint8(190))
    ground = Image.fromarray(squares).convert("RGBA")
    ground.alpha_composite(cutout)
    return ground.convert("RGB")


def frames(file: Path) -> Iterator[Image.Image]:
    """``FRAMES`` of the film's, evenly spread."""
    with av.open(str(file)) as film:
        pictures = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]
    yield from pictures[:: len(pictures) // FRAMES][:FRAMES]


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """As large as fits into ``size``."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def contact(sheets: list[Image.Image]) -> Image.Image:
    """All of them at half size, two a row."""
    width, height = sheets[0].width // 2, sheets[0].height // 2
    page = Image.new("RGB", (2 * width, (height + 12) * -(-len(sheets) // 2)), _GROUND)
    for number, one in enumerate(sheets):
        half = one.resize((width, height), Image.Resampling.LANCZOS)
        page.paste(half, (number % 2 * width, number // 2 * (height + 12)))
    return page


def main() -> None:
    """Parse, make, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/sheet"))
    arguments = parser.parse_args()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    photos = arguments.photos or sorted(PHOTOS.iterdir())
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sheets = [sheet(one) for one in asyncio.run(results(photos, Path(folder)))]
    for photo, page in zip(photos, sheets, strict=True):
        (arguments.out / f"{photo.stem}.png").write_bytes(encode_png(np.asarray(page)))
    (arguments.out / "sheet.png").write_bytes(encode_png(np.asarray(contact(sheets))))
    print(f"{len(sheets)} sheets in {arguments.out.resolve()}; all of them: sheet.png")


if __name__ == "__main__":
    main()
