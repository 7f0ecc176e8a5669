"""Boxes drawn on pictures of any size."""

from __future__ import annotations

import numpy as np
import pytest

from cli.drawing import COLOURS, READABLE_SIDE, Mark, marked
from lensora.core.geometry import Box

GREY = 128
MARKS = [Mark(Box(0.1, 0.2, 0.5, 0.8), "0  cup  0.93"), Mark(Box(0.4, 0.3, 0.9, 0.95), "1  object  0.51")]


def grey(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), GREY, np.uint8)


@pytest.mark.parametrize(("width", "height"), [(40, 30), (960, 720), (4096, 3000), (100, 1400)])
def test_every_box_is_framed_in_its_colour_where_it_is(width: int, height: int) -> None:
    drawn = marked(grey(width, height), MARKS)
    tall, wide = drawn.shape[:2]
    assert max(tall, wide) == max(READABLE_SIDE, width, height)
    assert wide / tall == pytest.approx(width / height, rel=0.02)
    line = 2 * max(3, max(tall, wide) // 240)
    first, second = ((drawn == colour).all(axis=2) for colour in COLOURS[:2])
    left, right = round(0.1 * wide), round(0.9 * wide)
    row = round(0.7 * tall)
    assert first[row, max(0, left - 1) : left + line].any(), "the first box's left side"
    assert second[row, right - line : right + 1].any(), "the second box's right side"
    assert not first[row, left + line : round(0.5 * wide) - line].any(), "only its frame"
    assert not second[row, right + 1 :].any(), "nothing outside"


def test_labels_stand_beside_each_other_even_for_one_box() -> None:
    box = Box(0.2, 0.3, 0.8, 0.7)
    drawn = marked(grey(960, 720), [Mark(box, "0  cup  0.93"), Mark(box, "1  cup  0.91")])
    sizes = [int((drawn == colour).all(axis=2).sum()) for colour in COLOURS[:2]]
    alone = [int((marked(grey(960, 720), [Mark(box, "0  cup  0.93")]) == COLOURS[0]).all(axis=2).sum())]
    assert sizes[0] == alone[0], "the first is drawn on top, whole"
    assert sizes[1] > 1500, "the second's label is to be seen, though its frame is under the first's"


def test_the_photo_shows_between_and_stays_as_it_was() -> None:
    photo = grey(1000, 500)
    drawn = marked(photo, MARKS)
    assert (photo == GREY).all()
    assert (drawn == GREY).all(axis=2).mean() > 0.8


@pytest.mark.parametrize("box", [Box(0, 0, 1, 1), Box(0.999, 0.999, 1, 1), Box(0, 0, 1e-6, 1e-6)])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (2000, 3)])
def test_the_smallest_and_the_largest_box_can_be_drawn(box: Box, width: int, height: int) -> None:
    assert marked(grey(width, height), [Mark(box, "0  entirely unpronounceable name  1.00")]).dtype == np.uint8
