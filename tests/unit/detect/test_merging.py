"""Both sources as one list: drawn saliency, made-up detections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lensora.core.geometry import FULL_FRAME, Box
from services.detect.core.detector import Detection
from services.detect.core.proposals import propose

SIZE = 320


def standing_out(*boxes: Box) -> NDArray[np.float32]:
    saliency = np.zeros((SIZE, SIZE), np.float32)
    for box in boxes:
        left, top, right, bottom = box.pixels(SIZE, SIZE)
        saliency[top:bottom, left:right] = 0.95
    return saliency


def seen(box: Box, score: float = 0.9, label: str = "cup", category: str = "product") -> Detection:
    return Detection(label, category, box, score)


SUBJECT = Box(0.25, 0.25, 0.75, 0.75)


def test_a_detection_of_the_same_thing_lends_its_word_not_its_box() -> None:
    (found,) = propose(standing_out(SUBJECT), [seen(Box(0.2, 0.2, 0.8, 0.7)), seen(Box(0.2, 0.2, 0.8, 0.72), 0.6)], 6)
    assert found.box.iou(SUBJECT) > 0.98
    assert found.detection is not None and found.detection.score == 0.9 and found.score >= 0.9


def test_neighbours_in_one_blob_are_told_apart() -> None:
    left, right, touch = Box(0.1, 0.3, 0.48, 0.7), Box(0.52, 0.3, 0.9, 0.7), Box(0.45, 0.45, 0.55, 0.55)
    found = propose(standing_out(left, right, touch), [seen(left), seen(right, 0.8)], 6)
    assert {left, right} <= {subject.box for subject in found}


def test_what_nobody_knows_is_still_a_subject() -> None:
    (found,) = propose(standing_out(SUBJECT), [], 6)
    assert found.detection is None and found.box.iou(SUBJECT) > 0.98


def test_what_does_not_stand_out_comes_last_and_only_if_sure() -> None:
    aside = Box(0.8, 0.8, 0.95, 0.95)
    found = propose(standing_out(SUBJECT), [seen(aside, 0.99), seen(Box(0.0, 0.0, 0.2, 0.2), 0.45)], 6)
    assert [subject.box == aside for subject in found] == [False, True]
    assert found[1].score < 0.5


def test_two_words_for_one_place_are_one_subject() -> None:
    place = Box(0.1, 0.1, 0.5, 0.5)
    (found,) = propose(standing_out(), [seen(place, 0.9), seen(Box(0.1, 0.1, 0.52, 0.5), 0.8, "bowl")], 6)
    assert found.detection is not None and found.detection.label == "cup"


def test_what_stands_out_in_a_known_thing_is_part_of_it_but_not_on_a_table() -> None:
    part, around = Box(0.4, 0.4, 0.6, 0.6), Box(0.1, 0.1, 0.9, 0.9)
    (bird,) = propose(standing_out(part), [seen(around, 0.9, "bird", "animal")], 6)
    assert bird.box == around
    found = propose(standing_out(part), [seen(around, 0.9, "dining table", "furniture")], 6)
    assert len(found) == 2 and found[0].detection is None


def test_the_table_that_fills_the_picture_is_the_full_frame() -> None:
    assert propose(standing_out(), [seen(FULL_FRAME, 0.99, "dining table", "furniture")], 6) == ()


def test_no_more_than_wanted_best_first() -> None:
    boxes = [Box(x, y, x + 0.15, y + 0.15) for x in (0.05, 0.4, 0.75) for y in (0.05, 0.4, 0.75)]
    found = propose(standing_out(*boxes[:5]), [seen(box) for box in boxes[3:]], 4)
    scores = [subject.score for subject in found]
    assert len(found) == 4 and scores == sorted(scores, reverse=True)
