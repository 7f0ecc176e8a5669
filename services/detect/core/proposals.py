"""From a saliency map to the subjects a person may want."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.geometry import FULL_FRAME, Box
from services.detect.engine import Proposal

THRESHOLD = 0.5
"""Saliency from which a place belongs to an object."""

MIN_AREA = 0.0005
"""Share of the picture under which an object is a crumb of the map: 51 cells of 320²."""

TYPICAL_AREA = 0.01
"""Share of the picture at which an object's size brings 63% of the score it can bring."""

MAX_COVERED = 0.7
"""An object whose box lies by more than this share in a better one's is part of it."""

WHOLE = Proposal("entire image (no crop)", "full_frame", FULL_FRAME, 1.0)
"""The last of all proposals."""


def propose(saliency: NDArray[np.float32], max_objects: int) -> tuple[Proposal, ...]:
    """The map's connected objects, best first, then ``WHOLE``.

    The score is the object's mean saliency times ``1 − exp(−area / TYPICAL_AREA)``: sure beats unsure, and among the
    sure large beats small until both are large. An object whose box lies mostly inside a better one's is dropped.

    Args:
        saliency: (h, w) float32 in [0, 1], covering the whole photo.
        max_objects: the most objects wanted, ``WHOLE`` not counted.

    Returns:
        At most ``max_objects`` proposals with the label ``object``, and ``WHOLE``.
    """
    # eight-connected, so that slanting thin parts hold together
    count, labels, stats, _ = cv2.connectedComponentsWithStats((saliency > THRESHOLD).astype(np.uint8), connectivity=8)
    found = []
    for label in range(1, count):
        left, top, width, height, cells = (int(value) for value in stats[label])
        area = cells / saliency.size
        if area < MIN_AREA:
            continue
        member = labels == label
        score = float(saliency[member].mean()) * (1.0 - math.exp(-area / TYPICAL_AREA))
        box = _tight(saliency, member, (left, top, left + width, top + height))
        found.append(Proposal("object", "object", box, round(score, 4)))
    found.sort(key=lambda proposal: (-proposal.score, proposal.box.x1, proposal.box.y1))
    kept: list[Proposal] = []
    for proposal in found:
        if all(_covered(proposal.box, better.box) <= MAX_COVERED for better in kept):
            kept.append(proposal)
    return (*kept[:max_objects], WHOLE)


def _covered(box: Box, other: Box) -> float:
    """Share of ``box`` that lies in ``other``."""
    width = min(box.x2, other.x2) - max(box.x1, other.x1)
    height = min(box.y2, other.y2) - max(box.y1, other.y1)
    return max(0.0, width) * max(0.0, height) / box.area


def _tight(saliency: NDArray[np.float32], member: NDArray[np.bool_], bounds: tuple[int, int, int, int]) -> Box:
    """The member's box to a fraction of a cell: where the interpolated map crosses the threshold.

    A cell is up to 13 pixels of the photo, so whole cells would not be tight.
    """
    left, top, right, bottom = bounds
    height, width = saliency.shape
    # an object's own slope runs one cell past it; other objects' slopes do not count
    near = cv2.dilate(member.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    own = np.where(near, saliency, 0.0)
    columns, rows = own.max(axis=0), own.max(axis=1)
    x1, x2 = _crossing(columns, left, -1), _crossing(columns, right - 1, 1)
    y1, y2 = _crossing(rows, top, -1), _crossing(rows, bottom - 1, 1)
    return Box(x1 / width, y1 / height, x2 / width, y2 / height)


def _crossing(profile: NDArray[np.float32], inside: int, step: int) -> float:
    """Where ``profile`` falls through the threshold between cell ``inside`` and the next in direction ``step``.

    In cells, with cell ``i`` from ``i`` to ``i + 1``; the picture's own edge where there is no next cell.
    """
    outside = inside + step
    if not 0 <= outside < len(profile):
        return float(max(outside, 0) if step < 0 else outside)
    over = float(profile[inside]) - THRESHOLD
    below = THRESHOLD - float(profile[outside])
    share = min(1.0, max(0.0, over / (over + below))) if over + below > 0 else 0.5
    return inside + 0.5 + step * share
