"""Reading what Florence-2 writes."""

from __future__ import annotations

import math

import pytest

from lensora.serving.vocabulary import MAX_LABEL, Region, regions

WORDS = {1: "vintage", 2: " reflex", 3: " camera", 4: "cup", 5: "</s>"}
BINS = {1000 + place: place for place in range(1000)}


def written(*tokens: int, chances: list[float] | None = None) -> list[Region]:
    sure = [math.log(chance) for chance in chances] if chances else [0.0] * len(tokens)
    return regions(tokens, sure, BINS, lambda chosen: "".join(WORDS[token] for token in chosen if token != 5))


def test_words_and_boxes() -> None:
    (camera, cup) = written(1, 2, 3, 1100, 1200, 1300, 1400, 4, 1000, 1000, 1999, 1999, 5)
    assert camera.label == "vintage reflex camera" and cup.label == "cup"
    assert camera.box == pytest.approx((0.1005, 0.2005, 0.3005, 0.4005))
    assert cup.box == pytest.approx((0.0005, 0.0005, 0.9995, 0.9995))
    assert camera.score == cup.score == 1.0


def test_one_name_for_several_things() -> None:
    found = written(4, 1100, 1100, 1200, 1200, 1500, 1500, 1600, 1600)
    assert [region.label for region in found] == ["cup", "cup"]
    assert found[0].box != found[1].box


def test_score_is_the_geometric_mean_of_words_and_own_box() -> None:
    found = written(
        4, 1100, 1100, 1200, 1200, 1500, 1500, 1600, 1600, chances=[0.5, 1, 1, 1, 1, 0.25, 0.25, 0.25, 0.25]
    )
    assert found[0].score == pytest.approx(0.5 ** (1 / 5))
    assert found[1].score == pytest.approx((0.5 * 0.25**4) ** (1 / 5))


@pytest.mark.parametrize(
    "tokens",
    [
        (),
        (4,),
        (1100, 1100, 1200, 1200),  # nothing is said of it
        (4, 1100, 1100, 1200),  # a location too few
        (4, 1200, 1100, 1100, 1200),  # from right to left
        (4, 1100, 1100, 1100, 1200),  # no width
        (5, 1100, 1100, 1200, 1200),  # no words but the end
    ],
)
def test_what_is_no_region_is_left_out(tokens: tuple[int, ...]) -> None:
    assert written(*tokens) == []


def test_a_broken_box_does_not_spoil_the_next() -> None:
    assert [region.label for region in written(4, 1100, 1, 2, 3, 1100, 1100, 1200, 1200)] == ["vintage reflex camera"]


def test_labels_are_short() -> None:
    (region,) = regions([1, 1000, 1000, 1500, 1500], [0.0] * 5, BINS, lambda _: "very \n" * 100)
    assert len(region.label) <= MAX_LABEL and "\n" not in region.label
