"""The mirror axis of an outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_TILT_DEGREES = 14.0
"""A camera held crooked tilts an upright subject by less; beyond this the subject leans, and is left leaning."""

SEARCH_SIDE = 160
"""Pixels along the longer side of the picture in which the axis is searched."""


@dataclass(frozen=True, slots=True)
class MirrorAxis:
    """A near-vertical line that the outline is mirrored about."""

    tilt_degrees: float
    """Turn, clockwise as seen in the picture, of the axis's upper end away from vertical."""

    column: float
    """x of the axis in ``upright_transform(tilt_degrees)``'s picture, pixels."""

    score: float
    """Intersection over union of the outline with its mirror image, in [0, 1]."""


def upright_transform(shape: tuple[int, ...], tilt_degrees: float) -> NDArray[np.float64]:
    """(2, 3) affine about the middle of an (h, w) picture that makes an axis of that tilt vertical."""
    height, width = shape[:2]
    return np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), tilt_degrees, 1.0), dtype=np.float64)


def warp_upright(alpha: NDArray[np.float32], tilt_degrees: float) -> NDArray[np.float32]:
    """The picture turned by ``upright_transform``; same shape, empty where nothing was."""
    matrix = upright_transform(alpha.shape, tilt_degrees)
    # OpenCV counts from pixel centres, we from pixel corners
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    height, width = alpha.shape
    return np.asarray(cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_LINEAR), dtype=np.float32)


def find_mirror_axis(alpha: NDArray[np.float32]) -> MirrorAxis:
    """The best axis within ``MAX_TILT_DEGREES`` of vertical.

    For each tilt the overlap of the picture with its mirror image, for all columns at once, is the autocorrelation of
    the rows with themselves reversed (a product in the Fourier domain). Steps of 2° and then 0.25°.

    Args:
        alpha: (h, w) float32 coverage in [0, 1], not empty, with a margin that the turn may use up.
    """
    scale = min(SEARCH_SIDE / max(alpha.shape), 1.0)
    small = np.asarray(cv2.resize(alpha, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.float32)
    coarse = max((_score(small, tilt) for tilt in np.arange(-MAX_TILT_DEGREES, MAX_TILT_DEGREES + 1, 2.0)), key=_rank)
    fine = max((_score(small, coarse.tilt_degrees + step) for step in np.arange(-1.75, 2.0, 0.25)), key=_rank)
    exact = _score(alpha, fine.tilt_degrees)
    return MirrorAxis(tilt_degrees=fine.tilt_degrees, column=exact.column, score=exact.score)


def _rank(axis: MirrorAxis) -> tuple[float, float]:
    """Higher score first; among equals the more upright."""
    return round(axis.score, 3), -abs(axis.tilt_degrees)


def _score(alpha: NDArray[np.float32], tilt_degrees: float) -> MirrorAxis:
    upright = warp_upright(alpha, tilt_degrees)
    width = 2 * upright.shape[1]
    rows = np.fft.rfft(upright, width, axis=1)
    # overlap[s] = sum over y, x of alpha[y, x] * alpha[y, s - x]: the mirror image about x = s / 2
    overlap = np.fft.irfft((rows * rows).sum(0), width)
    peak = int(overlap.argmax())
    before, at, after = overlap[peak - 1], overlap[peak], overlap[(peak + 1) % width]
    bend = before - 2 * at + after
    offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    score = at / (2 * float((upright * upright).sum()) - at)
    # s counts pixel centres: 0 is the first pixel mirrored onto itself, at x = 0.5
    return MirrorAxis(float(tilt_degrees), float(peak + offset) / 2 + 0.5, float(np.clip(score, 0.0, 1.0)))
