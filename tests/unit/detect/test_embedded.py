"""The embedded engine on a drawn subject; needs U²-Net-p, which set-up fetches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core import engines, models
from lensora.core.errors import InvalidArgument
from lensora.core.geometry import Box
from lensora.core.imaging import encode_png
from services.detect.engine import DetectEngine, DetectRequest
from services.detect.settings import Settings

needs_model = pytest.mark.skipif(models.status("u2netp") != "present", reason="run: lensora models fetch u2netp")


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
