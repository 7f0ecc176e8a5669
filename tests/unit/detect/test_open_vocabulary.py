"""From regions in free words to proposals."""

from __future__ import annotations

from typing import Any

import numpy as np

from lensora.core.engines import NullContext
from lensora.core.imaging import encode_png
from services.detect.core.proposals import WHOLE
from services.detect.engine import DetectRequest, Proposal
from services.detect.engines.open_vocabulary import SIDE, SPARE, OpenVocabulary

THING, SAME_THING, OTHER = (0.1, 0.1, 0.5, 0.5), (0.11, 0.1, 0.5, 0.5), (0.6, 0.2, 0.9, 0.7)


class Words:
    """Says what it is told to."""

    def __init__(self, *said: tuple[tuple[float, float, float, float], float, str]) -> None:
        self.said = said
        self.asked: dict[str, Any] = {}
        self.shape: tuple[int, ...] = ()

    def stream(self, inputs: Any, parameters: Any, context: Any, share_of: Any) -> dict[str, Any]:
        context.progress(share_of.last, share_of.phase)
        self.asked, self.shape = dict(parameters), inputs["photo"].shape
        return {
            "boxes": np.array([box for box, _, _ in self.said], np.float32).reshape(-1, 4),
            "scores": np.array([score for _, score, _ in self.said], np.float32),
            "labels": np.array([label.encode() for _, _, label in self.said], object),
        }


def propose(words: Words, most: int = 6, size: tuple[int, int] = (60, 80)) -> list[Proposal]:
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    *found, whole = OpenVocabulary(words).run(DetectRequest(encode_png(picture), most), NullContext()).proposals
    assert whole == WHOLE
    return found


def test_labels_and_categories() -> None:
    camera, cup = propose(Words((THING, 0.9, "vintage reflex camera"), (OTHER, 0.4, "glimmering whatsit")))
    assert (camera.label, camera.category, camera.score) == ("vintage reflex camera", "product", 0.9)
    assert (cup.label, cup.category) == ("glimmering whatsit", "object")


def test_one_of_those_about_the_same_thing() -> None:
    assert [
        one.label for one in propose(Words((THING, 0.9, "camera"), (SAME_THING, 0.8, "box"), (OTHER, 0.7, "cup")))
    ] == [
        "camera",
        "cup",
    ]


def test_the_whole_picture_and_crumbs_are_no_subjects() -> None:
    assert propose(Words(((0.0, 0.0, 1.0, 1.0), 0.9, "a desk"), ((0.5, 0.5, 0.501, 0.501), 0.9, "dust"))) == []


def test_no_more_than_wanted_but_more_are_asked_for() -> None:
    words = Words(*(((place / 10, 0.1, place / 10 + 0.08, 0.4), 0.5, "cup") for place in range(9)))
    assert len(propose(words, most=3)) == 3
    assert words.asked == {"limit": 3 * SPARE}


def test_large_photos_travel_small() -> None:
    words = Words()
    propose(words, size=(1500, 3000))
    assert words.shape == (SIDE // 2, SIDE, 3)


def test_what_cannot_be_a_box_is_left_out() -> None:
    assert propose(Words(((0.5, 0.5, 0.4, 0.9), 0.9, "cup"), ((1.2, 0.1, 1.5, 0.5), 0.9, "cup"))) == []
