"""What bench.segment measures with: a perfect cut-out scores full marks, a shifted or stained one does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench import composites, mattes
from lensora.core.geometry import Box

WHOLE = (0, 0, 300, 200)


def disc() -> NDArray[np.float32]:
    """A soft disc of radius 60."""
    rows, columns = np.mgrid[:200, :300].astype(np.float32)
    return np.asarray(np.clip(60.5 - np.hypot(columns - 150, rows - 100), 0, 1), dtype=np.float32)


def test_a_perfect_alpha_scores_full_marks() -> None:
    truth = disc()
    assert mattes.iou(truth, truth) == mattes.boundary_f(truth, truth, 2) == 1.0
    assert mattes.alpha_mae(truth, truth) == 0.0


def test_a_shifted_alpha_does_not() -> None:
    truth = disc()
    shifted = np.roll(truth, 6, axis=1)
    assert 0.8 < mattes.iou(shifted, truth) < 0.95
    assert mattes.boundary_f(shifted, truth, 2) < 0.6
    assert mattes.boundary_f(shifted, truth, 10) == 1.0  # within the tolerance
    assert mattes.alpha_mae(shifted, truth) == pytest.approx(2 * 6 * 120 / truth.size, rel=0.05)


@pytest.mark.parametrize("empty_first", [True, False])
def test_an_empty_cut_out_scores_nothing(*, empty_first: bool) -> None:
    pair = (np.zeros((200, 300), np.float32), disc())
    alpha, truth = pair if empty_first else pair[::-1]
    assert mattes.iou(alpha, truth) == mattes.boundary_f(alpha, truth, 10) == 0.0


def test_spill_is_what_the_old_background_left() -> None:
    truth, own = disc(), np.full((200, 300, 3), (200, 100, 50), np.uint8)
    assert mattes.colour_spill(own, own, truth) == 0.0
    stained = np.where(truth[..., None] < 1, own + np.uint8(51), own).astype(np.uint8)
    assert mattes.colour_spill(stained, own, truth) == pytest.approx(0.2)
    assert mattes.colour_spill(own, own, np.ones_like(truth)) is None


def test_a_composite_knows_its_own_truth(tmp_path: Path) -> None:
    """Alpha and colours put over the background give the picture, also where a window pokes out of the subject."""
    rows, columns = np.mgrid[:100, :80]
    stamp = np.full((100, 80, 4), (30, 60, 200, 255), np.uint8)
    stamp[..., 3] = np.clip((45 - np.hypot(columns - 39.5, rows - 49.5)) * 40, 0, 255)
    stamp[stamp[..., 3] == 0, :3] = (0, 255, 0)  # hidden, and no part of the subject
    (tmp_path / "stamps").mkdir()
    cv2.imwrite(str(tmp_path / "stamps/disc.png"), stamp)
    canvas = np.full((200, 300, 3), 128, np.uint8)
    placed = composites.place(canvas, tmp_path, "disc", Box(0.2, 0.1, 0.8, 0.9))
    alpha, colours = placed.alpha(WHOLE), placed.colours(WHOLE)
    mixed = alpha[..., None] * colours[..., ::-1] + (1 - alpha[..., None]) * 128
    assert np.abs(mixed - canvas).max() <= 1
    left, top, right, bottom = placed.box.pixels(300, 200)
    assert (alpha >= 0.5).sum() > 0.7 * (right - left) * (bottom - top)
    assert colours[alpha > 0.1][:, 1].max() < 90  # the hidden green did not bleed in
    window = (left - 20, top + 5, left + 40, bottom + 9)
    assert np.array_equal(placed.alpha(window), alpha[window[1] : window[3], window[0] : window[2]])
