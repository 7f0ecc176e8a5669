"""The category of a thing that is told of in free words, such as "vintage twin-lens reflex camera on a shelf"."""

from __future__ import annotations

import re
from collections import Counter

from services.detect.core.labels import COCO, COCO_CATEGORIES, IMAGENET, IMAGENET_CATEGORIES

PEOPLE = frozenset(
    {"person", "people", "man", "woman", "men", "women", "boy", "girl", "child", "children", "baby", "face"}
)

UNKNOWN = "object"

_BREAK = re.compile(r"\b(?:with|in|on|at|from|under|over|near|behind|beside|that|which|and|holding|wearing)\b|[,;:.(]")


def category(phrase: str) -> str:
    """What kind of thing the phrase is about: that of its head noun, the last word known before "on", "with" and so on.

    A "slice of pizza" is what it is of, since nobody knows what a slice is; a "cup of coffee" is a cup. ``object``
    where no word is known. Words are known from the classes of ImageNet and COCO, each by its own last word.
    """
    head = _BREAK.split(phrase.lower(), maxsplit=1)[0]
    kinds = (_of_noun(part) for part in re.split(r"\bof\b", head))
    return next((kind for kind in kinds if kind is not None), UNKNOWN)


def _of_noun(words: str) -> str | None:
    for word in reversed(re.findall(r"[a-z]+", words)):
        for form in (word, word.removesuffix("s"), word.removesuffix("es")):
            if form in PEOPLE:
                return "person"
            if form in _KNOWN:
                return _KNOWN[form]
    return None


def _known() -> dict[str, str]:
    votes: dict[str, Counter[str]] = {}
    labels = [*zip(IMAGENET, IMAGENET_CATEGORIES, strict=True), *((COCO[key], COCO_CATEGORIES[key]) for key in COCO)]
    for label, kind in labels:
        votes.setdefault(label.lower().split()[-1], Counter())[kind] += 1
    return {word: counted.most_common(1)[0][0] for word, counted in votes.items()}


_KNOWN = _known()
