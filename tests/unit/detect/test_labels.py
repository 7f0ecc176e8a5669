"""The tables are complete and say what they should."""

from __future__ import annotations

import pytest

from services.detect.core.labels import CATEGORIES, COCO, COCO_CATEGORIES, FAMILIES, IMAGENET, IMAGENET_CATEGORIES


def test_every_class_has_a_plain_word_and_a_category() -> None:
    assert len(IMAGENET) == len(IMAGENET_CATEGORIES) == 1000
    assert len(COCO) == 80 and COCO.keys() == COCO_CATEGORIES.keys()
    for label in (*IMAGENET, *COCO.values()):
        assert label == label.strip() and 1 < len(label) <= 30 and "_" not in label
    assert {*IMAGENET_CATEGORIES, *COCO_CATEGORIES.values()} == CATEGORIES


@pytest.mark.parametrize(
    ("number", "label", "category"),
    [
        (0, "tench fish", "animal"),
        (285, "Egyptian cat", "animal"),
        (397, "pufferfish", "animal"),
        (404, "airliner", "vehicle"),
        (504, "coffee mug", "product"),
        (532, "dining table", "furniture"),
        (663, "monastery", "scene"),
        (759, "reflex camera", "product"),
        (923, "plate", "product"),
        (924, "guacamole", "food"),
        (967, "espresso", "food"),
        (968, "cup", "product"),
        (980, "volcano", "scene"),
        (983, "scuba diver", "person"),
        (985, "daisy", "plant"),
        (998, "corn cob", "food"),
        (999, "toilet paper", "product"),
    ],
)
def test_known_classes_stand_at_their_numbers(number: int, label: str, category: str) -> None:
    assert (IMAGENET[number], IMAGENET_CATEGORIES[number]) == (label, category)


@pytest.mark.parametrize(
    ("number", "label", "category"),
    [
        (1, "person", "person"),
        (3, "car", "vehicle"),
        (17, "cat", "animal"),
        (47, "cup", "product"),
        (59, "pizza", "food"),
        (64, "potted plant", "plant"),
        (67, "dining table", "furniture"),
        (90, "toothbrush", "product"),
    ],
)
def test_known_coco_classes(number: int, label: str, category: str) -> None:
    assert (COCO[number], COCO_CATEGORIES[number]) == (label, category)


def test_families_do_not_overlap_nor_mix_categories() -> None:
    members = [number for _, family in FAMILIES for number in family]
    assert len(members) == len(set(members))
    for _, family in FAMILIES:
        assert len({IMAGENET_CATEGORIES[number] for number in family}) == 1
