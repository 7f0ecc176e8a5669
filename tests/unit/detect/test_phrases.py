"""What kind of thing free words are about."""

from __future__ import annotations

import pytest

from services.detect.core.labels import CATEGORIES
from services.detect.core.phrases import _KNOWN, category


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("vintage twin-lens reflex camera", "product"),
        ("a cup of coffee on a wooden table", "product"),
        ("red squirrel holding a nut", "animal"),
        ("woman in a blue dress", "person"),
        ("two golden retrievers", "animal"),
        ("Table with a vase", "furniture"),
        ("old steam locomotive", "vehicle"),
        ("slice of pizza", "food"),
        ("glimmering whatsit", "object"),
        ("", "object"),
        ("with a bag", "object"),
    ],
)
def test_head_noun_decides(phrase: str, kind: str) -> None:
    assert category(phrase) == kind


def test_every_category_is_one_of_the_contract() -> None:
    assert set(_KNOWN.values()) <= CATEGORIES
