"""The embedded engine on drawn subjects; needs U²-Net-p, which set-up fetches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core import engines, models
from lensora.core.errors import Cancelled, FailedPrecondition
from lensora.core.geometry import CROP_MARGIN, FULL_FRAME, Box
from services.segment.engine import SegmentEngine, SegmentRequest
from services.segment.settings import Settings

pytestmark = pytest.mark.skipif(models.status("u2netp") != "present", reason="run: lensora models fetch u2netp")

HEIGHT, WIDTH = 600, 900
RED_BALL, BLUE_BALL = (250, 300, 130), (660, 300, 120)


def balls(*circles: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Plain balls on soft cloth; the first is red, the second blue."""
    noise = np.random.default_rng(1).normal(0, 40, (HEIGHT, WIDTH, 3)).astype(np.float32)
    photo = np.clip(150 + cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)
    for (x, y, radius), colour in zip(circles, ((200, 40, 30), (30, 50, 190)), strict=False):
        cv2.circle(photo, (x, y), radius, colour, -1, cv2.LINE_AA)
    return photo


def disc(x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def around(x: int, y: int, radius: int) -> Box:
    return Box((x - radius) / WIDTH, (y - radius) / HEIGHT, (x + radius) / WIDTH, (y + radius) / HEIGHT)


@pytest.fixture(scope="module")
def engine() -> SegmentEngine:
    return engines.load("services.segment.engines", "embedded", Settings())


def agreement(solid: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((solid & truth).sum() / (solid | truth).sum())


@pytest.mark.parametrize("ball", [RED_BALL, BLUE_BALL])
def test_the_chosen_ball_and_not_its_neighbour(engine: SegmentEngine, ball: tuple[int, int, int]) -> None:
    photo, box = balls(RED_BALL, BLUE_BALL), around(*ball)
    result = engine.run(SegmentRequest(photo, box), engines.NullContext())
    left, top, right, bottom = result.crop.pixels(WIDTH, HEIGHT)
    assert (left, top, right, bottom) == box.grown(CROP_MARGIN).pixels(WIDTH, HEIGHT)
    assert result.cutout.shape == (bottom - top, right - left, 4)
    solid = result.cutout[..., 3]
    assert agreement(solid > 127, disc(*ball)[top:bottom, left:right]) > 0.98
    assert np.array_equal(result.cutout[solid == 255, :3], photo[top:bottom, left:right][solid == 255])


def test_a_neighbour_within_the_crop_is_left_out(engine: SegmentEngine) -> None:
    near = (390, 300, 115)
    photo, box = balls((150, 300, 110), near), around(150, 300, 110)
    result = engine.run(SegmentRequest(photo, box), engines.NullContext())
    left, top, right, bottom = result.crop.pixels(WIDTH, HEIGHT)
    neighbour = disc(*near)[top:bottom, left:right]
    assert neighbour.any()  # the crop does show some of it
    assert (result.cutout[neighbour, 3] == 0).all()
    assert agreement(result.cutout[..., 3] > 127, disc(150, 300, 110)[top:bottom, left:right]) > 0.97


@pytest.mark.parametrize("left", [29, 58])
def test_the_crop_names_its_own_pixels(engine: SegmentEngine, left: int) -> None:
    """Whoever turns ``crop`` back into pixels gets the cut-out's size, whatever floating point did."""
    box = Box(left / WIDTH, 0.2, 0.45, 0.8)
    result = engine.run(SegmentRequest(balls(RED_BALL), box), engines.NullContext())
    x1, y1, x2, y2 = result.crop.pixels(WIDTH, HEIGHT)
    assert result.cutout.shape[:2] == (y2 - y1, x2 - x1)


def test_full_frame_keeps_both(engine: SegmentEngine) -> None:
    request = SegmentRequest(balls(RED_BALL, BLUE_BALL), FULL_FRAME, keep_all_parts=True)
    result = engine.run(request, engines.NullContext())
    assert result.cutout.shape == (HEIGHT, WIDTH, 4) and result.crop == FULL_FRAME
    assert agreement(result.cutout[..., 3] > 127, disc(*RED_BALL) | disc(*BLUE_BALL)) > 0.97


def test_nothing_stands_out_of_cloth(engine: SegmentEngine) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        engine.run(SegmentRequest(balls(), around(*RED_BALL)), engines.NullContext())
    assert caught.value.reason == "NO_SUBJECT"


def test_phases_and_progress(engine: SegmentEngine) -> None:
    seen: list[tuple[float, str]] = []

    class Listener(engines.NullContext):
        def progress(self, fraction: float, phase: str = "") -> None:
            seen.append((fraction, phase))

    engine.run(SegmentRequest(balls(RED_BALL), around(*RED_BALL)), Listener())
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert list(dict.fromkeys(phase for _, phase in seen)) == ["cropping", "removing-bg"]


def test_cancelling_is_noticed(engine: SegmentEngine) -> None:
    class Gone(engines.NullContext):
        def check(self) -> None:
            raise Cancelled("gone")

    with pytest.raises(Cancelled):
        engine.run(SegmentRequest(balls(RED_BALL), around(*RED_BALL)), Gone())


@pytest.mark.parametrize("box", [Box(0.0, 0.0, 0.001, 0.001), Box(0.999, 0.2, 1.0, 0.9)])
def test_slivers_of_boxes_do_not_crash(engine: SegmentEngine, box: Box) -> None:
    with pytest.raises(FailedPrecondition):
        engine.run(SegmentRequest(balls(), box), engines.NullContext())
