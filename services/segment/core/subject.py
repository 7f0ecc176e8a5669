"""Which part of a saliency map is the chosen subject."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.geometry import Box

CERTAIN = 0.5
"""Saliency from which a place belongs to some object."""

FAINT = 0.1
"""Saliency down to which fur and glass still belong to the object that they touch."""

MIN_CELLS = 16
"""Cells of the map under which an object is too small to cut out."""

PART_INSIDE = 0.9
"""A separate piece belongs to the subject if this share of it lies in the chosen box."""

MIN_PART = 0.03
"""A separate piece smaller than this share of the main one is a crumb."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What was chosen."""

    saliency: NDArray[np.float32]
    """The map with everything but the subject set to 0."""

    agreement: float
    """How well the subject fills the chosen box: intersection over union of its own box with that one."""


def isolate(saliency: NDArray[np.float32], chosen: Box, *, keep_all_parts: bool) -> Subject | None:
    """Find the chosen subject in the map.

    It is the connected object that agrees best (intersection over union) with the chosen box, together with the
    larger pieces that lie in the box as good as wholly. What is faint goes to the nearest object, so that a neighbour
    takes its own soft edge along.

    Args:
        saliency: (h, w) float32 in [0, 1], covering the crop.
        chosen: the box the person chose, in the crop's own normalised coordinates.
        keep_all_parts: keep every object, however far from the box.

    Returns:
        None if nothing in the box stands out.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((saliency > CERTAIN).astype(np.uint8), connectivity=8)
    height, width = saliency.shape
    left, top, right, bottom = chosen.pixels(width, height)
    inside = np.bincount(labels[top:bottom, left:right].ravel(), minlength=count)
    cells = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    large = cells >= MIN_CELLS
    large[0] = False  # the background
    if keep_all_parts:
        wanted = large
    else:
        overlap = np.where(large, inside / ((right - left) * (bottom - top) + cells - inside), 0.0)
        main = int(overlap.argmax())
        wanted = large & (inside >= PART_INSIDE * cells) & (cells >= MIN_PART * cells[main])
        wanted[main] = overlap[main] > 0
    if not wanted.any():
        return None
    subject = wanted[labels]
    return Subject(_with_its_own_soft_edge(saliency, subject, large[labels]), bounding_box(subject).iou(chosen))


def inside(box: Box, window: Box) -> Box:
    """``box`` in the coordinates of ``window``, clamped to it; the two must meet."""
    width, height = window.x2 - window.x1, window.y2 - window.y1
    return Box(
        max(0.0, (box.x1 - window.x1) / width),
        max(0.0, (box.y1 - window.y1) / height),
        min(1.0, (box.x2 - window.x1) / width),
        min(1.0, (box.y2 - window.y1) / height),
    )


def within(saliency: NDArray[np.float32], part: Box) -> NDArray[np.float32]:
    """The part of a map that covers ``part`` of what it covers, at the map's own size again (bilinear)."""
    height, width = saliency.shape
    across, down = part.x2 - part.x1, part.y2 - part.y1
    # cell centres of the part in cells of the whole
    matrix = np.array(
        [
            [across, 0.0, part.x1 * width + across / 2 - 0.5],
            [0.0, down, part.y1 * height + down / 2 - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part_map = cv2.warpAffine(saliency, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(part_map, dtype=np.float32)


def bounding_box(cells: NDArray[np.bool_]) -> Box:
    """The normalised box around the set cells, of which there is at least one."""
    height, width = cells.shape
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    return Box(columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)


def _with_its_own_soft_edge(
    saliency: NDArray[np.float32], subject: NDArray[np.bool_], objects: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Keep the subject and the faint cells that hang on it and are no nearer to another object."""
    _, hanging = cv2.connectedComponents((subject | (saliency > FAINT)).astype(np.uint8), connectivity=8)
    kept = np.isin(hanging, np.unique(hanging[subject]))
    others = objects & ~subject
    if others.any():
        to_subject, to_others = (
            cv2.distanceTransform((~cells).astype(np.uint8), cv2.DIST_L2, 5) for cells in (subject, others)
        )
        kept &= to_subject <= to_others
    return np.where(kept, saliency, np.float32(0.0)).astype(np.float32)
