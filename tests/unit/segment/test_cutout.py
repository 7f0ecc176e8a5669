"""Cut-outs of drawn pictures, where alpha and both layers are known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core import engines
from lensora.core.errors import FailedPrecondition
from services.segment.core import foreground, matting, upsample
from services.segment.core.cutout import cut, cut_along

RED, CELLS = (205, 45, 30), 320


def cloth(height: int, width: int) -> NDArray[np.float32]:
    """Green-grey cloth of soft noise."""
    noise = np.random.default_rng(1).normal(0, 60, (height, width)).astype(np.float32)
    return np.asarray(np.array([90, 150, 110], np.float32) + cv2.GaussianBlur(noise, (0, 0), 3)[..., None])


def apple(height: int, width: int, softness: float = 1.2) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A shaded red disc on cloth, and its true alpha."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(columns - 0.48 * width, rows - 0.52 * height) - 0.3 * min(height, width)
    alpha = np.clip(0.5 - distance / (2 * softness), 0, 1)
    shading = 1 + 0.15 * np.sin(columns / 17)[..., None]
    mixed = alpha[..., None] * np.array(RED, np.float32) * shading + (1 - alpha[..., None]) * cloth(height, width)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), alpha


def blurred_map(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network of 320² would say: right, but soft, and off by half a cell."""
    small = cv2.resize(alpha, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    shifted = cv2.warpAffine(small, np.array([[1.0, 0, 0.5], [0, 1.0, -0.4]]), (CELLS, CELLS))
    return np.asarray(cv2.GaussianBlur(shifted, (0, 0), 0.8), dtype=np.float32)


def cut_apple(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    picture, alpha = apple(height, width)
    return cut(picture, blurred_map(alpha), engines.NullContext()), picture, alpha


@pytest.mark.parametrize("size", [(300, 420), (701, 515), (1801, 2203)])  # native, native, a third and odd sides
def test_alpha_follows_the_true_edge(size: tuple[int, int]) -> None:
    cutout, _, truth = cut_apple(*size)
    assert cutout.shape == (*size, 4) and cutout.dtype == np.uint8
    alpha = cutout[..., 3] / 255
    solid, true_solid = alpha > 0.5, truth > 0.5
    assert (solid & true_solid).sum() / (solid | true_solid).sum() > 0.99
    edge = (truth > 0) & (truth < 1)
    assert np.abs(alpha - truth)[edge].mean() < 0.15
    assert np.abs(alpha - truth)[~edge].mean() < 0.001


@pytest.mark.parametrize("size", [(300, 420), (1801, 2203)])
def test_inside_is_the_photo_and_the_edge_is_free_of_cloth(size: tuple[int, int]) -> None:
    cutout, picture, truth = cut_apple(*size)
    solid = cutout[..., 3] == 255
    assert solid.sum() > 0.95 * (truth == 1).sum()
    assert np.array_equal(cutout[solid, :3], picture[solid])
    half = (cutout[..., 3] > 60) & (cutout[..., 3] < 200)
    # greenness tells cloth from apple: 120 apart
    spill = picture[half][:, 1].mean() - RED[1]
    left = cutout[half][:, 1].mean() - RED[1]
    assert spill > 25 and abs(left) < 0.35 * spill


def test_clear_pixels_continue_the_subjects_colours() -> None:
    cutout, _, truth = cut_apple(300, 420)
    clear = cutout[..., 3] == 0
    assert clear[truth == 0].mean() > 0.95
    near = clear & (cv2.dilate((cutout[..., 3] > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)
    assert np.abs(cutout[near][:, :3].mean(axis=0) - RED).max() < 25


def test_no_crumbs_outside_and_no_pinholes_inside() -> None:
    cutout, _, _ = cut_apple(701, 515)
    for mask in (cutout[..., 3] > 0, cutout[..., 3] < 255):
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2


def test_the_same_crop_gives_the_same_bytes() -> None:
    assert np.array_equal(cut_apple(300, 420)[0], cut_apple(300, 420)[0])


def test_a_torn_map_still_fits_in_memory() -> None:
    """All of a large picture unknown but a spot: solved at a smaller size rather than not at all."""
    picture, _ = apple(1300, 1300)
    torn = np.full((CELLS, CELLS), 0.5, np.float32)
    torn[140:180, 140:180] = 1.0
    assert cut(picture, torn, engines.NullContext()).shape == (1300, 1300, 4)


def test_a_subject_without_a_solid_part_is_refused() -> None:
    picture, _ = apple(300, 420)
    with pytest.raises(FailedPrecondition) as caught:
        cut(picture, np.zeros((CELLS, CELLS), np.float32), engines.NullContext())
    assert caught.value.reason == "NO_SUBJECT"


def test_a_subject_that_fills_the_crop_stays_whole() -> None:
    picture, _ = apple(300, 420)
    cutout = cut(picture, np.ones((CELLS, CELLS), np.float32), engines.NullContext())
    assert (cutout[..., 3] == 255).all() and np.array_equal(cutout[..., :3], picture)


def test_known_pixels_are_exact_in_the_matte() -> None:
    picture, alpha = apple(300, 420)
    known = matting.trimap(alpha, 1.3)
    solved = matting.closed_form(picture, alpha, known, engines.NullContext())
    assert (solved[known == 255] == 1).all() and (solved[known == 0] == 0).all()
    assert solved.min() >= 0 and solved.max() <= 1


def test_tiles_enlarge_as_the_whole_does() -> None:
    small = np.random.default_rng(0).random((20, 30, 2), dtype=np.float32)
    whole = upsample.enlarge(small, 3, (0, 20), (0, 30))
    assert whole.shape == (60, 90, 2)
    for rows, columns in (((0, 7), (0, 9)), ((7, 13), (9, 30)), ((13, 20), (29, 30))):
        tile = upsample.enlarge(small, 3, rows, columns)
        wanted = whole[rows[0] * 3 : rows[1] * 3, columns[0] * 3 : columns[1] * 3]
        assert np.allclose(tile, wanted, atol=1e-6)


def test_the_local_model_reproduces_alpha_that_is_linear_in_colour() -> None:
    picture, alpha = apple(120, 160, softness=6)
    picture[..., 0] = (alpha * 255).round().astype(np.uint8)
    model = upsample.coefficients(picture, alpha)
    found = (picture / 255 * model[..., :3]).sum(axis=-1) + model[..., 3]
    assert np.abs(found - alpha).max() < 0.03
    flat = np.ones_like(alpha)
    assert np.array_equal(upsample.coefficients(picture, flat)[..., 3], flat)


def test_colours_extend_smoothly_and_exactly() -> None:
    picture = np.zeros((50, 70, 3), np.uint8)
    solid = np.zeros((50, 70), bool)
    picture[20:30, 10:20], solid[20:30, 10:20] = (200, 100, 0), True
    assert np.allclose(foreground.extend(picture, solid), (200, 100, 0), atol=0.5)
    picture[20:30, 50:60], solid[20:30, 50:60] = (0, 100, 200), True
    extended = foreground.extend(picture, solid)
    assert np.array_equal(extended[solid], picture[solid])
    assert extended[25, 2, 0] > 180 > 20 > extended[25, 68, 0]


def test_unmixing_inverts_compositing() -> None:
    alpha = np.linspace(0, 1, 11, dtype=np.float32)[None]
    front, back = np.full((1, 11, 3), 220, np.float32), np.full((1, 11, 3), 20, np.float32)
    mixed = (alpha[..., None] * front + (1 - alpha[..., None]) * back + 0.5).astype(np.uint8)
    assert np.abs(foreground.unmix(mixed, alpha, front, back).astype(int) - 220).max() <= 1


@pytest.mark.parametrize("size", [(300, 420), (1801, 2203)])
def test_a_known_alpha_is_only_brought_to_full_size(size: tuple[int, int]) -> None:
    picture, alpha = apple(*size)
    fine = np.asarray(cv2.resize(alpha, (1024, 1024), interpolation=cv2.INTER_AREA), np.float32)
    cutout = cut_along(picture, fine, engines.NullContext())
    assert cutout.shape == (*size, 4) and cutout.dtype == np.uint8
    found = cutout[..., 3] / 255
    assert np.abs(found - alpha).mean() < 0.002
    assert (cutout[..., :3] == picture)[found == 1].all()
    edge = (found > 0.2) & (found < 0.8)
    assert np.abs(cutout[..., :3][edge].astype(int) - RED)[:, 1].mean() < 25  # red, not cloth


def test_a_known_alpha_without_a_solid_part() -> None:
    picture, alpha = apple(300, 420)
    with pytest.raises(FailedPrecondition):
        cut_along(picture, np.float32(0.4) * alpha, engines.NullContext())
