"""Straight-sided outlines: the convex polygon behind a silhouette, if there is one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from services.mesh3d.core.silhouette import OPAQUE, Silhouette

Points = NDArray[np.float64]

MIN_OVERLAP = 0.95
"""Least intersection over union of the outline with the polygon."""

MAX_BOW = 0.015
"""Most that a side may bend, as a share of its length. The quarter of an ellipse that ends a can seen from 8° above
bends by 0.036 over what is looked at here."""

BOW_FLOOR = 1.2
"""Working pixels of bend that the matte alone may make, however short the side."""

MAX_ROUNDING = 9.0
"""Working pixels from a corner to the outline: a right corner rounded by 6% of the subject's longer side."""

CORNER_SHARE = 0.12
"""Share of a side at either end that may belong to a rounded corner and is not looked at."""

REACH = 6.0
"""Working pixels from a side within which the outline belongs to it."""

MIN_SIDE = 12.0
"""Working pixels; a shorter side has no direction worth the name."""

END_SHARE = 0.94
"""Share of an end, about its middle, that is compared with an ellipse: the rest may be a rounded corner."""

MIN_SUPPORT = 0.8
"""Share of a side beside which there must be outline."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A silhouette's outer contour."""

    points: Points
    """(n, 2) x and y, working pixels, about a pixel apart."""

    mask: NDArray[np.uint8]
    """(h, w) 1 inside, holes included."""


def trace_outline(silhouette: Silhouette) -> Outline:
    """The longest contour at half coverage, to a fraction of a pixel."""
    longest = max(find_contours(silhouette.alpha, OPAQUE), key=len)
    return Outline(np.asarray(longest[:-1, ::-1] + 0.5, dtype=np.float64), silhouette.mask.astype(np.uint8))


def fit_polygon(outline: Outline, corners: int) -> Points | None:
    """The convex polygon with so many corners that the outline follows, or None when it follows none.

    The hull is simplified to the smallest polygon around it, and then each side is fitted to the outline beside it, so
    that rounded corners and a stray pixel do not move the sides.

    Returns:
        (corners, 2) working pixels, clockwise as seen in the picture (y runs down).
    """
    hull = cv2.convexHull(outline.points.astype(np.float32), clockwise=False)[:, 0].astype(np.float64)
    polygon = _enclose(_clockwise(hull), corners)
    for _ in range(3):
        if polygon is None:
            return None
        polygon = _refit(outline.points, polygon)
    if polygon is None or not _follows(outline, polygon):
        return None
    return polygon


def _clockwise(polygon: Points) -> Points:
    """The corners in the order in which the area, with y down, is positive."""
    return polygon if _cross(polygon, np.roll(polygon, -1, axis=0)).sum() > 0 else polygon[::-1]


def _cross(first: Points, second: Points) -> Points:
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def _enclose(hull: Points, corners: int) -> Points | None:
    """Take the side away, and prolong its neighbours until they meet, that adds the least area; again and again."""
    polygon = hull
    while len(polygon) > corners:
        following = np.roll(polygon, -1, axis=0)
        before = polygon - np.roll(polygon, 1, axis=0)
        after = following - np.roll(polygon, -2, axis=0)
        turn = _cross(before, after)
        gap = following - polygon
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead, behind = _cross(gap, after) / turn, _cross(gap, before) / turn
            apex = polygon + ahead[:, None] * before
            added = np.abs(_cross(gap, apex - polygon))
        meets = (ahead >= 0) & (behind >= 0) & np.isfinite(added)
        if not meets.any():
            return None
        chosen = int(np.where(meets, added, np.inf).argmin())
        polygon = polygon.copy()
        polygon[chosen] = apex[chosen]
        polygon = np.delete(polygon, (chosen + 1) % len(polygon), axis=0)
    return polygon if len(polygon) == corners else None


def _beside(points: Points, start: Points, end: Points) -> tuple[Points, Points, float]:
    """Places along a side, in [-1, 1] between its corner zones, and distances from it, of the outline beside it; and
    its length.
    """
    length = float(np.hypot(*(end - start)))
    along = (end - start) / max(length, 1e-9)
    place = (points - start) @ along / max(length, 1e-9)
    off = _cross(np.broadcast_to(along, points.shape), points - start)
    kept = (np.abs(place - 0.5) < 0.5 - CORNER_SHARE) & (np.abs(off) < REACH)
    return (place[kept] - 0.5) / (0.5 - CORNER_SHARE), off[kept], length


def _refit(points: Points, polygon: Points) -> Points | None:
    """Each side a least-squares line through the outline beside it; the corners are where neighbours cross."""
    anchors, directions = [], []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        place, off, length = _beside(points, start, end)
        if length < MIN_SIDE or len(place) < 5:
            return None
        tilt, shift = np.polyfit(place, off, 1)
        along = (end - start) / length
        across = np.array([-along[1], along[0]])
        anchors.append((start + end) / 2 + shift * across)
        directions.append(along * (0.5 - CORNER_SHARE) * length + tilt * across)
    anchor, direction = np.array(anchors), np.array(directions)
    previous, heading = np.roll(anchor, 1, axis=0), np.roll(direction, 1, axis=0)
    turn = _cross(heading, direction)
    if (turn <= 1e-6 * np.linalg.norm(heading, axis=1) * np.linalg.norm(direction, axis=1)).any():
        return None
    return np.asarray(previous + (_cross(anchor - previous, direction) / turn)[:, None] * heading)


def _follows(outline: Outline, polygon: Points) -> bool:
    """Whether the outline keeps to the polygon: straight sides, sharp enough corners, the same area."""
    canvas = np.zeros_like(outline.mask)
    # OpenCV counts from pixel centres, in 256ths
    cv2.fillPoly(canvas, [np.round((polygon - 0.5) * 256).astype(np.int32)], 1, cv2.LINE_8, 8)
    shared, either = np.count_nonzero(canvas & outline.mask), np.count_nonzero(canvas | outline.mask)
    if shared < MIN_OVERLAP * either:
        return False
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        place, off, length = _beside(outline.points, start, end)
        bins = np.unique(np.floor((place + 1) / 2 * length / 4))
        if len(bins) < MIN_SUPPORT * length / 4:
            return False
        if abs(np.polyfit(place, off, 2)[0]) > max(MAX_BOW * length, BOW_FLOOR):
            return False
        if np.linalg.norm(outline.points - start, axis=1).min() > MAX_ROUNDING:
            return False
    return True


@dataclass(frozen=True, slots=True)
class EndFit:
    """How an end of the outline, between two upright sides, is shaped: the foot of a box, or of a can?"""

    bulge: float
    """Working pixels from the ends of the half ellipse that fits best to its tip; negative where it bends inwards."""

    ellipse_error: float
    """Sum of squares, working pixels, of what is left of that fit."""

    corner_error: float
    """The same of two straight lines that meet over the given corner (or of one line)."""


def fit_end(outline: Outline, start: Points, end: Points, corner: Points | None = None) -> EndFit:
    """Compare the outline beyond the chord from ``start`` clockwise to ``end`` with half an ellipse and with an angle.

    Args:
        outline: the silhouette's.
        start: (2,) corner of the polygon.
        end: (2,) corner of the polygon, the next one or the one after that.
        corner: (2,) the one between them, if there is one.
    """
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length
    place = (outline.points - start) @ along / length * 2 - 1
    # clockwise with y down, the inside is to the right: outwards is negative
    outwards = -_cross(np.broadcast_to(along, outline.points.shape), outline.points - start)
    kept = (np.abs(place) < END_SHARE) & (outwards > -REACH)
    place, outwards = place[kept], outwards[kept]
    flat = np.stack([np.ones_like(place), place], axis=1)
    arc = np.sqrt(1 - place**2)[:, None]
    angle = np.zeros((len(place), 0))
    if corner is not None:
        angle = np.abs(place - ((corner - start) @ along / length * 2 - 1))[:, None]
    (_, _, bulge), ellipse_error = _least_squares(np.hstack([flat, arc]), outwards)
    _, corner_error = _least_squares(np.hstack([flat, angle]), outwards)
    return EndFit(float(bulge), ellipse_error, corner_error)


def _least_squares(basis: Points, values: Points) -> tuple[Points, float]:
    """Coefficients and the sum of squares that is left."""
    coefficients = np.asarray(np.linalg.lstsq(basis, values, rcond=None)[0], dtype=np.float64)
    return coefficients, float(((basis @ coefficients - values) ** 2).sum())
