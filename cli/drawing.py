"""Boxes and their labels, drawn on a picture to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lensora.core.geometry import Box

READABLE_SIDE = 960
"""A picture whose longest side is shorter, pixels, is enlarged to this, so that the letters have room."""

COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), (255, 255, 255),
)  # fmt: skip
"""8-bit sRGB, told apart by the colour-blind too: Okabe and Ito, Color Universal Design, 2008; white for black."""

_DARK = (20, 20, 20)

Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom; pixels, the last two not included."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What to draw of one object."""

    box: Box
    text: str


def marked(picture: NDArray[np.uint8], marks: Sequence[Mark]) -> NDArray[np.uint8]:
    """The picture with its marks; lines and letters grow with it, so that it reads the same at any size.

    Args:
        picture: (h, w, 3) 8-bit sRGB; not changed.
        marks: in the picture; each gets the next of ``COLOURS``, and the first is drawn on top.

    Returns:
        (h', w', 3) 8-bit sRGB of the same proportions; larger than ``picture`` where that is small.
    """
    height, width = picture.shape[:2]
    scale = max(1.0, READABLE_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(canvas)
    longest, shortest = max(canvas.size), min(canvas.size)
    font = ImageFont.load_default(max(14.0, min(longest / 32, shortest / 8)))
    coloured = [(mark, COLOURS[number % len(COLOURS)]) for number, mark in enumerate(marks)]
    for mark, colour in reversed(coloured):
        _frame(draw, mark.box.pixels(*canvas.size), colour, max(3, longest // 240))
    taken: list[Rectangle] = []
    for mark, colour in coloured:
        taken.append(_tag(draw, canvas.size, mark, colour, font, taken))
    return np.asarray(canvas)


def _frame(draw: ImageDraw.ImageDraw, box: Rectangle, colour: tuple[int, int, int], line: int) -> None:
    """A coloured rectangle with a dark seam on either side, which shows on any ground."""
    left, top, right, bottom = box
    seam = max(1, line // 3)
    for inset, shade, breadth in ((0, _DARK, line + 2 * seam), (seam, colour, line)):
        corners = (left + inset, top + inset, right - 1 - inset, bottom - 1 - inset)
        if corners[0] <= corners[2] and corners[1] <= corners[3]:  # a box of a few pixels has no inside
            draw.rectangle(corners, outline=shade, width=breadth)


def _tag(
    draw: ImageDraw.ImageDraw,
    canvas: tuple[int, int],
    mark: Mark,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    taken: Sequence[Rectangle],
) -> Rectangle:
    """The label on a ground of the frame's colour, where no other label stands if there is such a place."""
    _, _, wide, tall = (round(side) for side in draw.textbbox((0, 0), mark.text, font=font))
    pad = max(2, tall // 4)
    size = (wide + 2 * pad, tall + 2 * pad)
    places = list(_places(mark.box.pixels(*canvas), size, canvas))
    left, top, right, bottom = next(
        (place for place in places if not any(_meet(place, other) for other in taken)), places[0]
    )
    draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    luma = np.dot(colour, (0.2126, 0.7152, 0.0722))
    draw.text((left + pad, top + pad), mark.text, font=font, fill=_DARK if luma > 110 else (255, 255, 255))
    return left, top, right, bottom


def _places(box: Rectangle, size: tuple[int, int], canvas: tuple[int, int]) -> Iterator[Rectangle]:
    """Where a label of (width, height) may stand: at the box's corners, outside before inside, within the canvas."""
    left, top, right, bottom = box
    wide, tall = size
    for y in (top - tall, top, bottom, bottom - tall, (top + bottom - tall) // 2):
        for x in (left, right - wide):
            x_in, y_in = min(max(0, x), max(0, canvas[0] - wide)), min(max(0, y), max(0, canvas[1] - tall))
            yield x_in, y_in, x_in + wide, y_in + tall


def _meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
