"""Boxes in pictures, and the yardsticks of meshes.

Pictures: origin top left, x right, y down. Space: metres, right-handed, Y up, front +Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Verdict = Literal["volume", "thin", "slab"]

_NO_AREA = 1e-12
"""Of a face of a hull of size 1: it looks nowhere."""

_NORMAL_DIGITS = 1
"""Faces whose normals agree so far look the same way: a ball has no more than a few hundred."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in a picture, normalised: 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        corners = (self.x1, self.y1, self.x2, self.y2)
        # written so that NaN fails
        if not (0.0 <= self.x1 < self.x2 <= 1.0 and 0.0 <= self.y1 < self.y2 <= 1.0):
            raise ValueError(f"a box needs 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1, not {corners}")

    @property
    def area(self) -> float:
        """Share of the picture that the box covers."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    def iou(self, other: Box) -> float:
        """Intersection over union with another box of the same picture."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.area + other.area - shared)

    def grown(self, fraction: float) -> Box:
        """The box with each side moved out by ``fraction`` of the box's own size, clamped to the picture."""
        dx, dy = (self.x2 - self.x1) * fraction, (self.y2 - self.y1) * fraction
        return Box(max(0.0, self.x1 - dx), max(0.0, self.y1 - dy), min(1.0, self.x2 + dx), min(1.0, self.y2 + dy))

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """``(left, top, right, bottom)`` in whole pixels that cover the box, at least one pixel each way."""
        # a thousandth of slack: a box made from whole pixels comes back as those, even by way of 32-bit floats
        left, top = int(np.floor(self.x1 * width + 1e-3)), int(np.floor(self.y1 * height + 1e-3))
        right, bottom = int(np.ceil(self.x2 * width - 1e-3)), int(np.ceil(self.y2 * height - 1e-3))
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)


FULL_FRAME = Box(0.0, 0.0, 1.0, 1.0)
"""The whole picture."""

CROP_MARGIN = 0.12
"""How much a chosen box grows on each side before it is cut out (``crop_bbox`` of the contract)."""


def minimum_box(vertices: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The minimum-volume oriented box, of those with a face on a face of the convex hull.

    Args:
        vertices: (n, 3) float, any unit, any frame; n ≥ 3 and not all on one line.

    Returns:
        (3, 3) float64, the box's unit axes in rows, shortest side's first, right-handed; and (3,) float64, its sides
        ascending, in the unit of ``vertices``.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3:
        raise ValueError(f"vertices: (n >= 3, 3) expected, not {points.shape}")
    unit = float(np.ptp(points, axis=0).max()) or 1.0
    hull = _Hull((points - points.mean(axis=0)) / unit)
    axes, sides = min(map(hull.box_upon, hull.normals), key=lambda box: float(np.prod(box[1])))
    order = np.argsort(sides)
    axes = axes[order]
    axes[2] *= np.sign(np.linalg.det(axes))
    return axes, sides[order] * unit


class _Hull:
    """The convex hull of points (n, 3) of size 1; points in one plane are their own hull, with no faces."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        from manifold3d import Manifold  # heavy: only who measures a mesh pays for it

        hull = Manifold.hull_points(np.unique(points, axis=0)).to_mesh64()
        self.corners = np.asarray(hull.vert_properties, dtype=np.float64)[:, :3]
        faces = np.asarray(hull.tri_verts, dtype=np.int64).reshape(-1, 3)
        first, second, third = (self.corners[faces[:, column]] for column in range(3))
        self.crosses = np.cross(second - first, third - first)
        areas = np.linalg.norm(self.crosses, axis=1)
        largest_first = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas > _NO_AREA)]
        if len(largest_first) == 0:
            self.corners, self.crosses = points, np.zeros((0, 3))
            self.normals = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][2:]
            return
        normals = self.crosses[largest_first] / areas[largest_first, None]
        normals *= np.sign(np.take_along_axis(normals, np.abs(normals).argmax(axis=1)[:, None], axis=1))
        _, chosen = np.unique(np.round(normals, _NORMAL_DIGITS), axis=0, return_index=True)
        self.normals = normals[chosen]
        """(m, 3), unit: of faces that look about the same way, the largest's."""
        ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        same = np.lexsort(ends.T)  # every edge is between two faces
        self.edges, self.sides = ends[same[::2]], np.stack([same[::2] // 3, same[1::2] // 3])

    def box_upon(self, normal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Axes in rows and sides of the smallest box around the hull that has a face across ``normal``."""
        right = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
        right /= np.linalg.norm(right)
        plane = np.stack([right, np.cross(normal, right)])
        outline = self._outline(normal)
        _, _, degrees = cv2.minAreaRect((outline @ plane.T).astype(np.float32))
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        across = np.array([[cosine, sine], [-sine, cosine]]) @ plane
        sides = np.append(np.ptp(self.corners @ normal), np.ptp(outline @ across.T, axis=0))
        return np.vstack([normal, across]), sides

    def _outline(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        """The corners between the faces that look along ``normal`` and those that do not: few of many."""
        if len(self.crosses) == 0:
            return self.corners
        near = self.crosses @ normal > 0
        one, other = near[self.sides]
        return np.asarray(self.corners[self.edges[one != other].ravel()])


def minimum_box_sides(vertices: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sides of the minimum-volume oriented box, ascending; see ``minimum_box``."""
    return minimum_box(vertices)[1]


def thin_axis_ratio(vertices: NDArray[np.floating]) -> float:
    """Shortest over longest side of the minimum-volume oriented box, in [0, 1]: turning a slab must not hide it."""
    sides = minimum_box_sides(vertices)
    return float(sides[0] / sides[2])
