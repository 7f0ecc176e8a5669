"""Closing in on the subject: a zoom lens's narrowing view, which a flat plate follows exactly.

A camera that really came closer would see the scene's depth shift, and the plate holds none. Narrowing the view shows
a part of the same perspective picture, so foot, shadow and ground stay together to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.render.core.view import Rectangle, around, union

MARGIN = 0.03
"""Share of the picture's width and height that stays free around the subject in the closest view."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """A magnified part of the picture that the scene's camera sees."""

    factor: float
    """Magnification, 1 or more."""

    point: tuple[float, float]
    """The pixel that stays where it is, inside the picture: so the part never reaches beyond the picture's edge."""

    def at(self, nearness: float) -> Zoom:
        """The view on the way here: 0 is the whole picture, 1 is this; equal steps magnify by equal ratios."""
        return Zoom(self.factor**nearness, self.point)

    def pixel_matrix(self) -> NDArray[np.float64]:
        """(3, 3) float64: (column, row, 1) of the whole picture to the magnified one."""
        x, y = self.point
        stay = 1.0 - self.factor
        return np.array([[self.factor, 0.0, stay * x], [0.0, self.factor, stay * y], [0.0, 0.0, 1.0]])

    def clip_matrix(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """(4, 4) float64: the same in clip space of a (width, height) picture, y down."""
        matrix = np.diag((self.factor, self.factor, 1.0, 1.0))
        matrix[:2, 3] = (1.0 - self.factor) * (2.0 * np.array(self.point) / size - 1.0)
        return matrix

    def around(self, points: NDArray[np.float64], size: tuple[int, int], border: int) -> Rectangle:
        """The part of a (width, height) picture that holds (n, 2) pixels and a border, all the way from 1 to here."""
        matrix = self.pixel_matrix()
        magnified = points @ matrix[:2, :2].T + matrix[:2, 2]
        return union(around(points, size, border), around(magnified, size, border))


def closest_zoom(points: NDArray[np.float64], size: tuple[int, int], wanted: float) -> Zoom:
    """Magnify by ``wanted``, or by less where the subject would no longer fit with ``MARGIN`` to spare.

    The subject's middle stays where it is as far as that keeps the subject in the picture.

    Args:
        points: (n, 2) pixels all around the subject in the whole picture.
        size: width and height of the picture, pixels.
        wanted: magnification, 1 or more.
    """
    whole = np.array(size, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    room = (1 - 2 * MARGIN) * whole
    factor = float(np.clip((room / np.maximum(high - low, 1.0)).min(), 1.0, wanted))
    point = (low + high) / 2
    if factor > 1.0:
        # the pixel p shows at point + factor (p - point): keep both ends of the subject inside
        first = (factor * high - (1 - MARGIN) * whole) / (factor - 1)
        last = (factor * low - MARGIN * whole) / (factor - 1)
        point = np.clip(np.minimum(np.maximum(point, first), last), 0.0, whole)
    return Zoom(factor, (float(point[0]), float(point[1])))
