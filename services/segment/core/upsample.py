"""From alpha at working size to alpha at full size, guided by the full-size picture.

He, Sun: "Fast guided filter", arXiv:1505.00996: the coefficients of the local linear model alpha = a · colour + b are
smooth, so they are found at the small size, enlarged, and applied to the full-size colours. Enlarging alpha itself
would blur every edge.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RADIUS = 2
"""Half the window of the local model, pixels at working size."""

EPSILON = 1e-4
"""Regularises the window's colour covariance, squared colour in [0, 1]."""


def coefficients(picture: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """The local linear model of ``alpha`` in the colours of ``picture``.

    Args:
        picture: (h, w, 3) uint8, 8-bit sRGB.
        alpha: (h, w) float32 in [0, 1].

    Returns:
        (h, w, 4) float32: three slopes per unit of colour in [0, 1], and the offset. Where a window's alpha is
        constant, the slopes are 0 and the offset is that constant.
    """
    colours = picture.astype(np.float32) / 255.0
    varies = cv2.dilate(alpha, _square(RADIUS)) > cv2.erode(alpha, _square(RADIUS))
    model = np.zeros((*alpha.shape, 4), np.float32)
    model[..., 3] = alpha
    mean, alpha_mean = _mean(colours)[varies], _mean(alpha)[varies]
    together = _mean(colours * alpha[..., None])[varies] - mean * alpha_mean[:, None]
    covariance = np.empty((len(mean), 3, 3), np.float32)
    for row in range(3):
        for column in range(row, 3):
            product = _mean(colours[..., row] * colours[..., column])[varies]
            covariance[:, row, column] = product - mean[:, row] * mean[:, column]
            covariance[:, column, row] = covariance[:, row, column]
    covariance += np.eye(3, dtype=np.float32) * np.float32(EPSILON)
    slopes = np.linalg.solve(covariance, together[..., None])[..., 0]
    model[varies, :3] = slopes
    model[varies, 3] = alpha_mean - (slopes * mean).sum(axis=1)
    # averaging over the windows that cover a pixel; where all are constant this changes nothing
    return np.where(varies[..., None], _mean(model), model)


def enlarge(
    small: NDArray[np.float32], factor: int, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.float32]:
    """A tile of ``small``, bilinearly enlarged ``factor`` times, the same as if the whole had been enlarged.

    Args:
        small: (h, w) or (h, w, n) float32.
        factor: whole number, ≥ 1.
        rows: first row of the tile and the one after its last.
        columns: first column of the tile and the one after its last.

    Returns:
        (rows · factor, columns · factor[, n]) float32.
    """
    (top, bottom), (left, right) = rows, columns
    if factor == 1:
        return small[top:bottom, left:right]
    above, before = min(1, top), min(1, left)
    near = small[top - above : bottom + 1, left - before : right + 1]
    large = cv2.resize(near, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    height, width = (bottom - top) * factor, (right - left) * factor
    above, before = above * factor, before * factor
    return np.asarray(large[above : above + height, before : before + width], dtype=np.float32)


def bounds(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 2) float32: lowest and highest alpha among a pixel's neighbours; the full-size alpha stays between."""
    return np.stack([cv2.erode(alpha, _square(1)), cv2.dilate(alpha, _square(1))], axis=-1).astype(np.float32)


def _square(radius: int) -> NDArray[np.uint8]:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    side = 2 * RADIUS + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), dtype=np.float32)
