"""The embedded engine on a drawn subject; and on real photos; needs the models, which set-up fetches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from numpy.typing import NDArray

from lensora.core import engines, models
from lensora.core.errors import InvalidArgument
from lensora.core.geometry import Box
from lensora.core.imaging import encode_png
from services.detect.engine import DetectEngine, DetectRequest
from services.detect.settings import Settings

NEEDED = [model.name for model in models.MODELS.values() if "detect" in model.stages]
needs_model = pytest.mark.skipif(
    any(models.status(name) != "present" for name in NEEDED), reason=f"run: lensora models fetch {' '.join(NEEDED)}"
)
AVATARS = Path(__file__).parents[3] / ".cache/photos"
SCIENCE = Path(skimage.__path__[0]) / "data"


def textured(width: int, height: int) -> NDArray[np.uint8]:
    """A cloth of soft noise around mid-grey."""
    noise = np.random.default_rng(1).normal(0, 40, (height, width, 3)).astype(np.float32)
    return np.clip(150 + cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)


def ball(width: int, height: int) -> tuple[NDArray[np.uint8], Box]:
    photo = textured(width, height)
    x, y, radius = width * 0.6, height * 0.45, height * 0.25
    cv2.circle(photo, (round(x), round(y)), round(radius), (200, 40, 30), -1, cv2.LINE_AA)
    truth = Box((x - radius) / width, (y - radius) / height, (x + radius) / width, (y + radius) / height)
    return photo, truth


@pytest.fixture(scope="module")
def engine() -> DetectEngine:
    return engines.load("services.detect.engines", "embedded", Settings())


@needs_model
def test_the_ball_is_found_first_and_tightly(engine: DetectEngine) -> None:
    photo, truth = ball(1200, 800)
    result = engine.run(DetectRequest(encode_png(photo)), engines.NullContext())
    assert np.array_equal(result.photo, photo)
    assert result.proposals[0].box.iou(truth) > 0.95
    assert result.proposals[0].score > 0.9
    assert result.proposals[-1].category == "full_frame"


@needs_model
@pytest.mark.parametrize(
    ("photo", "label", "category"),
    [
        (SCIENCE / "chelsea.png", "Egyptian cat", "animal"),
        (SCIENCE / "astronaut.png", "person", "person"),
        (SCIENCE / "motorcycle_left.png", "motorcycle", "vehicle"),
        (SCIENCE / "coffee.png", "espresso", "food"),
        (SCIENCE / "rocket.jpg", "object", "object"),
        (AVATARS / "air-balloon.png", "hot-air balloon", "vehicle"),
        (AVATARS / "cocktail.png", "goblet", "product"),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else None,
)
def test_subjects_of_photos_are_named_where_sure(engine: DetectEngine, photo: Path, label: str, category: str) -> None:
    if not photo.is_file():
        pytest.skip("run: make photos")
    proposals = engine.run(DetectRequest(photo.read_bytes()), engines.NullContext()).proposals
    assert (proposals[0].label, proposals[0].category) == (label, category)
    assert [proposal.category == "full_frame" for proposal in proposals] == [False] * (len(proposals) - 1) + [True]


@needs_model
def test_the_cup_is_offered_without_its_saucer(engine: DetectEngine) -> None:
    photo = (SCIENCE / "coffee.png").read_bytes()
    all_of_it, cup = engine.run(DetectRequest(photo), engines.NullContext()).proposals[:2]
    assert cup.box.area < 0.5 * all_of_it.box.area and cup.label in ("espresso", "cup")


@needs_model
def test_nothing_on_cloth_stands_out(engine: DetectEngine) -> None:
    result = engine.run(DetectRequest(encode_png(textured(600, 600))), engines.NullContext())
    assert [proposal.category for proposal in result.proposals] == ["full_frame"]


@needs_model
def test_the_same_upload_gives_the_same_answer(engine: DetectEngine) -> None:
    request = DetectRequest(encode_png(ball(500, 400)[0]))
    first, second = (engine.run(request, engines.NullContext()) for _ in range(2))
    assert first.proposals == second.proposals and np.array_equal(first.photo, second.photo)


@needs_model
@pytest.mark.parametrize("wanted", [-1, 1, 9])
def test_max_objects_has_bounds(engine: DetectEngine, wanted: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        engine.run(DetectRequest(b"", wanted), engines.NullContext())
    assert [violation.field for violation in caught.value.violations] == ["max_objects"]
