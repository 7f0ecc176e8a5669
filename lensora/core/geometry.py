"""Boxes in pictures, and the yardsticks of meshes.

Pictures: origin top left, x right, y down. Space: metres, right-handed, Y up, front +Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["volume", "thin", "slab"]


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
    """The minimum-volume oriented box.

    Args:
        vertices: (n, 3) float, any unit, any frame; n ≥ 3 and not all on one line.

    Returns:
        (3, 3) float64, the box's unit axes in rows, shortest side's first, right-handed; and (3,) float64, its sides
        ascending, in the unit of ``vertices``.
    """
    import trimesh  # heavy: only who measures a mesh pays for it

    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3:
        raise ValueError(f"vertices: (n >= 3, 3) expected, not {points.shape}")
    unit = float(np.ptp(points, axis=0).max()) or 1.0  # trimesh merges what is nearer than 1e-8, in whatever unit
    to_box, sides = trimesh.bounds.oriented_bounds((points - points.mean(axis=0)) / unit)
    sides = np.asarray(sides) * unit
    order = np.argsort(sides)
    axes = np.asarray(to_box, dtype=np.float64)[:3, :3][order]
    axes[2] *= np.sign(np.linalg.det(axes))
    return axes, np.asarray(sides, dtype=np.float64)[order]


def minimum_box_sides(vertices: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sides of the minimum-volume oriented box, ascending; see ``minimum_box``."""
    return minimum_box(vertices)[1]


def thin_axis_ratio(vertices: NDArray[np.floating]) -> float:
    """Shortest over longest side of the minimum-volume oriented box, in [0, 1]: turning a slab must not hide it."""
    sides = minimum_box_sides(vertices)
    return float(sides[0] / sides[2])
