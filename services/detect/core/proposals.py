"""From a saliency map and a detector's boxes to the subjects a person may want.

The two see different things: saliency finds what stands out, known or not, and its outline is the tighter; the detector
tells neighbours apart, and finds known things that do not stand out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.geometry import FULL_FRAME, Box
from services.detect.core.detector import Detection
from services.detect.engine import Proposal

THRESHOLD = 0.5
"""Saliency from which a place belongs to an object."""

MIN_AREA = 0.0005
"""Share of the picture under which an object is a crumb of the map: 51 cells of 320²."""

TYPICAL_AREA = 0.01
"""Share of the picture at which an object's size brings 63% of the score it can bring."""

MAX_COVERED = 0.7
"""An object that stands out and whose box lies by more than this share in a better one's is part of it."""

SAME = 0.5
"""Intersection over union from which two boxes are about the same thing."""

SURE = 0.5
"""Confidence from which a detection may stand for itself, without saliency to agree."""

MAX_SURROUND = 0.95
"""Furniture that covers more of the picture is the table or the bed under the subject: the full frame."""

WHOLE = Proposal("entire image (no crop)", "full_frame", FULL_FRAME, 1.0)
"""The last of all proposals."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A place in the photo that a person may want, not named yet."""

    box: Box
    """Normalised."""

    score: float
    """Confidence in [0, 1]."""

    detection: Detection | None = None
    """What the detector sees here."""


def propose(saliency: NDArray[np.float32], detections: Sequence[Detection], max_objects: int) -> tuple[Subject, ...]:
    """Both sources as one list, best first.

    A detection about the same thing as an object that stands out lends it its word, not its box. A detection that
    saliency does not know stands for itself if it is sure, with a score lowered where the place does not stand out.
    Then the better of two boxes about the same thing stays.

    Args:
        saliency: (h, w) float32 in [0, 1], covering the whole photo.
        detections: surest first.
        max_objects: the most subjects wanted.
    """
    subjects = list(salient(saliency))
    alone = []
    for detection in detections:
        if detection.category == "furniture" and detection.box.area > MAX_SURROUND:
            continue
        match = max(subjects, key=lambda subject: subject.box.iou(detection.box), default=None)
        if match is not None and match.box.iou(detection.box) >= SAME:
            if match.detection is None:
                subjects[subjects.index(match)] = Subject(
                    match.box, max(match.score, round(detection.score, 4)), detection
                )
        elif detection.score >= SURE:
            alone.append(Subject(detection.box, _lone_score(detection, saliency), detection))
    kept: list[Subject] = []
    for subject in sorted(subjects + alone, key=_order):
        if not any(_repeats(subject, better) for better in kept):
            kept.append(subject)
    whole = [subject for subject in kept if not any(_is_part(subject, other) for other in alone)]
    return tuple(whole[:max_objects])


def salient(saliency: NDArray[np.float32]) -> tuple[Subject, ...]:
    """The map's connected objects, best first.

    The score is the object's mean saliency times ``1 − exp(−area / TYPICAL_AREA)``: sure beats unsure, and among the
    sure large beats small until both are large. An object whose box lies mostly inside a better one's is dropped.

    Args:
        saliency: (h, w) float32 in [0, 1], covering the whole photo.
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
        box = _tight(saliency, member, (left, top, left + width, top + height))
        found.append(Subject(box, round(float(saliency[member].mean()) * _size(area), 4)))
    kept: list[Subject] = []
    for subject in sorted(found, key=_order):
        if all(_covered(subject.box, better.box) <= MAX_COVERED for better in kept):
            kept.append(subject)
    return tuple(kept)


def _order(subject: Subject) -> tuple[float, float, float]:
    """Best first; among equals from the left and the top, so that the order never depends on the source's."""
    return -subject.score, subject.box.x1, subject.box.y1


def _size(area: float) -> float:
    """What a size is worth, in [0, 1]."""
    return 1.0 - math.exp(-area / TYPICAL_AREA)


def _lone_score(detection: Detection, saliency: NDArray[np.float32]) -> float:
    """The detector's confidence times the size's worth, halved where nothing in the box stands out."""
    height, width = saliency.shape
    left, top, right, bottom = detection.box.pixels(width, height)
    peak = float(np.quantile(saliency[top:bottom, left:right], 0.95))
    return round(detection.score * _size(detection.box.area) * (0.5 + 0.5 * peak), 4)


def _repeats(subject: Subject, better: Subject) -> bool:
    return subject.box.iou(better.box) >= SAME


def _is_part(subject: Subject, other: Subject) -> bool:
    """Whether what merely stands out lies in something known; what lies on furniture is no part of it."""
    known = other.detection
    if subject.detection is not None or known is None or known.category == "furniture":
        return False
    return other.score >= SURE and _covered(subject.box, other.box) > MAX_COVERED


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
