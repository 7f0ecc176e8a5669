"""Which word is said, on made-up certainties."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.geometry import FULL_FRAME
from services.detect.core.detector import Detection
from services.detect.core.labels import IMAGENET
from services.detect.core.naming import UNNAMED, name


def certainties(**classes: float) -> NDArray[np.float32]:
    values = np.zeros(1000, np.float32)
    for label, value in classes.items():
        values[IMAGENET.index(label.replace("_", " "))] = value
    return values


def seen(label: str, category: str, score: float) -> Detection:
    return Detection(label, category, FULL_FRAME, score)


def test_a_sure_classifier_goes_before_the_detector() -> None:
    assert name(seen("kite", "product", 0.99), certainties(**{"hot-air_balloon": 0.96})) == (
        "hot-air balloon",
        "vehicle",
    )


def test_persons_and_furniture_are_the_detectors_own() -> None:
    assert name(seen("person", "person", 0.9), certainties(gas_mask=0.8)) == ("person", "person")
    assert name(seen("dining table", "furniture", 0.9), certainties(espresso=0.9)) == ("dining table", "furniture")
    assert name(seen("person", "person", 0.4), certainties(gas_mask=0.8)) == ("gas mask", "product")


def test_many_terriers_make_a_dog() -> None:
    kinds = certainties(Border_terrier=0.2, Norfolk_terrier=0.2, Irish_terrier=0.2, cairn_terrier=0.2)
    assert name(None, kinds) == ("dog", "animal")


@pytest.mark.parametrize("detection", [None, seen("vase", "product", 0.4)])
def test_nobody_guesses(detection: Detection | None) -> None:
    assert name(detection, certainties(goblet=0.3, vase=0.2)) == UNNAMED


def test_the_detectors_word_needs_the_classifier_to_lean_the_same_way() -> None:
    bird, motorcycle = seen("bird", "animal", 0.96), seen("motorcycle", "vehicle", 0.99)
    assert name(bird, certainties(dugong=0.4)) == UNNAMED
    assert name(bird, certainties(egret=0.35)) == ("bird", "animal")
    assert name(motorcycle, certainties(moped=0.3, motor_scooter=0.2)) == ("motorcycle", "vehicle")
    assert name(seen("motorcycle", "vehicle", 0.8), certainties(moped=0.4)) == UNNAMED


def test_apes_are_no_persons() -> None:
    assert name(seen("person", "person", 0.9), certainties(chimpanzee=0.8)) == ("chimpanzee", "animal")
