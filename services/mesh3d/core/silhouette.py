"""The outline of a cut-out at a fixed working size, so that every later length means the same share of the subject.

Working pixels: the subject's longer side is ``SUBJECT_SIDE`` long, with ``MARGIN`` empty pixels around it; the origin
is the top left corner of the picture, x to the right, y down, pixel centres at halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.errors import FailedPrecondition, InvalidArgument
from lensora.core.imaging import MAX_PIXELS

SUBJECT_SIDE = 384
"""Working pixels along the longer side of the subject: bounds all later work, whatever the upload was."""

MARGIN = 16
"""Empty working pixels around the subject."""

MIN_SIDE = 8
"""A subject with fewer cut-out pixels than this along either side has no outline to speak of."""

MIN_ASPECT = 1 / 64
"""Shorter over longer side below which a subject is a line."""

PART_SHARE = 0.05
"""A part smaller than this share of the largest part is debris of the matte, not a part of the subject."""

MIXED_RIM = 3.0
"""Working pixels inside the outline whose colour may still be mixed with the old background."""

OPAQUE = 0.5
"""Alpha from which a pixel belongs to the subject."""


@dataclass(frozen=True, slots=True, eq=False)
class Silhouette:
    """What is subject and what is not."""

    alpha: NDArray[np.float32]
    """(h, w) coverage in [0, 1], debris removed, working pixels."""

    grey: NDArray[np.float32]
    """(h, w) luma of the 8-bit sRGB colours, [0, 1]; continued outside the mask from within."""

    to_cutout: NDArray[np.float64]
    """(2, 3) affine that takes working coordinates (x, y, 1) to continuous cut-out coordinates (x, y)."""

    parts: int
    """Separate parts that were kept; at least 1."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(h, w) bool: alpha of at least one half."""
        return np.asarray(self.alpha >= OPAQUE)


def find_silhouette(cutout: NDArray[np.uint8]) -> Silhouette:
    """Clean and scale the alpha of a cut-out.

    Args:
        cutout: (h, w, 4) uint8, straight alpha.

    Raises:
        InvalidArgument: not such an array, or more than ``MAX_PIXELS``.
        FailedPrecondition: reason ``NO_SUBJECT``: nothing opaque, or only specks or a line.
    """
    if cutout.dtype != np.uint8 or cutout.ndim != 3 or cutout.shape[2] != 4 or cutout.size == 0:
        raise InvalidArgument.of("cutout", f"must be (h, w, 4) uint8, not {cutout.shape} {cutout.dtype}")
    if cutout.shape[0] * cutout.shape[1] > MAX_PIXELS:
        raise InvalidArgument.of("cutout", f"at most {MAX_PIXELS:,} pixels", reason="IMAGE_TOO_LARGE")
    kept, parts = _keep_parts(np.ascontiguousarray(cutout[..., 3]))
    left, top, width, height = cv2.boundingRect((kept >= OPAQUE * 255).astype(np.uint8))
    if min(width, height) < max(MIN_SIDE, MIN_ASPECT * max(width, height)):
        raise FailedPrecondition(
            f"The subject is {width} x {height} pixels: too small, or too thin a line, to give it volume. "
            "Choose another object or a larger photo.",
            reason="NO_SUBJECT",
        )
    scale = SUBJECT_SIDE / max(width, height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    step_x, step_y = width / size[0], height / size[1]
    crop = slice(top, top + height), slice(left, left + width)
    alpha = _resized(kept[crop], size, scale)
    grey = _resized(np.asarray(cv2.cvtColor(cutout[crop], cv2.COLOR_RGBA2GRAY), dtype=np.uint8), size, scale)
    mask = alpha >= OPAQUE
    inner = mask & (distance_to_zero(mask.astype(np.uint8)) > MIXED_RIM)
    return Silhouette(
        alpha=alpha,
        grey=fill_from_nearest(grey, inner if inner.any() else mask),
        to_cutout=np.array([[step_x, 0.0, left - MARGIN * step_x], [0.0, step_y, top - MARGIN * step_y]]),
        parts=parts,
    )


def _resized(picture: NDArray[np.uint8], size: tuple[int, int], scale: float) -> NDArray[np.float32]:
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    inner = cv2.resize(picture, size, interpolation=method)
    return np.pad(np.asarray(inner, dtype=np.float32) / 255, MARGIN)


def _keep_parts(alpha: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Alpha with every part under ``PART_SHARE`` of the largest one removed, and how many parts are left."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha >= OPAQUE * 255).astype(np.uint8), connectivity=4)
    if count < 2:
        raise FailedPrecondition(
            "The cut-out is empty: nothing in the chosen box stands out. Choose another object.", reason="NO_SUBJECT"
        )
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = np.concatenate([[False], areas >= PART_SHARE * areas.max()])
    # the soft edge lies outside the opaque part: let it through next to what is kept
    near = cv2.dilate(keep[labels].astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.where(near > 0, alpha, 0).astype(np.uint8), int(keep.sum())


def distance_to_zero(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w) Euclidean distance, pixels, of every non-zero pixel's centre to the nearest zero one's."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32)


def signed_distance(alpha: NDArray[np.floating]) -> NDArray[np.float32]:
    """Distance to the outline, pixels, positive inside; (h, w) float32, smoothed over about one pixel."""
    inside = (alpha >= OPAQUE).astype(np.uint8)
    distance = distance_to_zero(inside) - distance_to_zero(1 - inside)
    # each transform counts to the nearest pixel centre of the other kind, half a pixel beyond the outline
    distance -= np.where(inside > 0, 0.5, -0.5)
    return np.asarray(cv2.GaussianBlur(distance, (0, 0), 1.0), dtype=np.float32)


def fill_from_nearest(values: NDArray[Any], trusted: NDArray[np.bool_]) -> NDArray[Any]:
    """Every pixel that is not trusted takes the value of the nearest one that is.

    Args:
        values: (h, w) or (h, w, channels).
        trusted: (h, w) bool, at least one True.
    """
    _, labels = cv2.distanceTransformWithLabels(
        (~trusted).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros((int(labels.max()) + 1, *values.shape[2:]), values.dtype)
    by_label[labels[trusted]] = values[trusted]
    return np.asarray(by_label[labels])
