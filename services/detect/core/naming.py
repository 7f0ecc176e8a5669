"""Which word a subject gets: the classifier's, the detector's, or none.

The classifier knows a thousand things and is the more often right; the detector knows persons, which the classifier
lacks, and furniture, of which a crop shows mostly what lies on it. Elsewhere the detector's word needs the classifier
to lean the same way: alone it calls every animal it does not know a bird.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.detect.core.detector import Detection
from services.detect.core.labels import FAMILIES, IMAGENET, IMAGENET_CATEGORIES

MIN_CLASS = 0.5
"""Probability from which the classifier's word, or a family's, is said; see ``bench.detect``."""

MIN_OWN = 0.7
"""Confidence from which the detector's word for a person or furniture is said."""

MIN_DETECTION = 0.9
"""Confidence from which its other words are said, where the classifier agrees; see ``bench.detect``."""

MIN_AGREEMENT = 0.3
"""Probability that the classifier must see in the detector's category, or in its family where that is known."""

MAX_ANIMAL = 0.5
"""Probability of any animal from which a person is none: apes have arms and legs as well."""

UNNAMED = ("object", "object")
"""Label and category where a word would be a guess."""

_OF_CATEGORY = {
    category: np.array([other == category for other in IMAGENET_CATEGORIES]) for category in set(IMAGENET_CATEGORIES)
}
_OF_FAMILY = {word: np.isin(np.arange(len(IMAGENET)), sorted(members)) for word, members in FAMILIES}


def name(detection: Detection | None, probabilities: NDArray[np.float32]) -> tuple[str, str]:
    """Label and category of a subject.

    Args:
        detection: what the detector sees in its place.
        probabilities: (1000,) float32, what the classifier sees in its place.

    Returns:
        The label and its category, or ``UNNAMED``.
    """
    if detection is not None and _is_detectors_own(detection, probabilities):
        return detection.label, detection.category
    best = int(np.argmax(probabilities))
    if probabilities[best] >= MIN_CLASS:
        return IMAGENET[best], IMAGENET_CATEGORIES[best]
    for word, members in _OF_FAMILY.items():
        if members[best] and probabilities[members].sum() >= MIN_CLASS:
            return word, IMAGENET_CATEGORIES[best]
    if detection is not None and detection.score >= MIN_DETECTION:
        kin = _OF_FAMILY.get(detection.label, _OF_CATEGORY[detection.category])
        if probabilities[kin].sum() >= MIN_AGREEMENT:
            return detection.label, detection.category
    return UNNAMED


def _is_detectors_own(detection: Detection, probabilities: NDArray[np.float32]) -> bool:
    if detection.score < MIN_OWN:
        return False
    if detection.category == "person":
        return bool(probabilities[_OF_CATEGORY["animal"]].sum() < MAX_ANIMAL)
    return detection.category == "furniture"
