"""How well a cut-out matches the true one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY_TOLERANCE = 0.008
"""How far a boundary pixel may lie from the true boundary, as a share of the photo's diagonal (DAVIS)."""

SOFT_BAND = (0.05, 0.95)
"""True alpha between these mixes subject and background."""


def iou(alpha: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Intersection over union of the solid parts (alpha ≥ 0.5); (h, w) in [0, 1] both."""
    solid, true_solid = alpha >= 0.5, truth >= 0.5
    union = np.count_nonzero(solid | true_solid)
    return float(np.count_nonzero(solid & true_solid) / union) if union else 1.0


def boundary_f(alpha: NDArray[np.floating], truth: NDArray[np.floating], tolerance: int) -> float:
    """F-score of the boundary of alpha ≥ 0.5.

    Perazzi et al.: "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016, as in
    the authors' code: a boundary pixel is right if the other boundary passes within ``tolerance`` pixels.
    """
    own, true = boundary(alpha >= 0.5), boundary(truth >= 0.5)
    if not own.any() or not true.any():
        return float(own.any() == true.any())
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * tolerance + 1, 2 * tolerance + 1))
    near_own, near_true = (cv2.dilate(edge.astype(np.uint8), disc) > 0 for edge in (own, true))
    precision, recall = float(near_true[own].mean()), float(near_own[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose right, lower or lower-right neighbour lies on the other side; (h, w)."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return np.asarray(
        (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:]),
        dtype=np.bool_,
    )


def alpha_mae(alpha: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Mean absolute difference over the whole crop, of 1."""
    return float(np.abs(alpha - truth).mean())


def colour_spill(
    colours: NDArray[np.uint8], true_colours: NDArray[np.uint8], truth: NDArray[np.floating]
) -> float | None:
    """How far the colours along the edge are from the subject's own: what the old background left in them.

    Mean absolute difference of sRGB values, of 1, where the true alpha lies in ``SOFT_BAND``, weighted by the true
    alpha, since a pixel shows in that proportion. None if the subject has no such pixel.
    """
    soft = (truth > SOFT_BAND[0]) & (truth < SOFT_BAND[1])
    if not soft.any():
        return None
    difference = np.abs(colours[soft].astype(np.float64) - true_colours[soft]).mean(axis=-1) / 255
    return float(np.average(difference, weights=truth[soft]))
