"""How a photo of the front is laid around the sides that it does not show.

A surface that turns away from the camera stretches its share of the photo without bound. So the photo is projected
straight up to ``FOLD_DEGREES``; from there to the outline it is walked backwards, at a bearable stretch; and behind the
outline the same is mirrored. Everywhere the mapping is continuous, so one chart without seams is enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FOLD_DEGREES = 70.0
"""Angle between surface and view up to which the projection is straight: there a texel is stretched 2.9 times, and the
front of a round body is exact over 94% of its width."""

TURNED_BACK_DEGREES = 50.0
"""Where the walk back ends: what the outline itself shows."""


def fold(angle: NDArray[np.floating]) -> NDArray[np.float64]:
    """The angle, in [0, FOLD_DEGREES], at which the photo shows what a surface at ``angle`` in [0, 180] is to show."""
    mirrored = np.minimum(angle, 180.0 - angle)
    slope = (FOLD_DEGREES - TURNED_BACK_DEGREES) / (90.0 - FOLD_DEGREES)
    return np.asarray(np.where(mirrored <= FOLD_DEGREES, mirrored, FOLD_DEGREES - slope * (mirrored - FOLD_DEGREES)))


def fold_around_axis(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn points (n, 3) about the y axis to the azimuth (0 is +z) whose colour they are to show."""
    azimuth = np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2]))
    shown = np.radians(fold(azimuth))
    radius = np.hypot(points[:, 0], points[:, 2])
    turned = np.stack([np.sign(points[:, 0]) * radius * np.sin(shown), points[:, 1], radius * np.cos(shown)], axis=1)
    return np.where((azimuth <= FOLD_DEGREES)[:, None], points, turned)


def fold_around_outline(
    points: NDArray[np.floating], normals: NDArray[np.floating], radii: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Turn points of an inflated outline about their balls' centres in the plane z = 0.

    A point p on a ball of radius r, its normal n at the angle φ from +z, goes to p + r (sin φ' - sin φ) along n's
    direction in the x-y plane.

    Args:
        points: (n, 3).
        normals: (n, 3) unit.
        radii: (n,) in the unit of the points.

    Returns:
        (n, 3), exact in x and y; z is left as it was.
    """
    across = np.hypot(normals[:, 0], normals[:, 1])
    angle = np.degrees(np.arctan2(across, np.abs(normals[:, 2])))
    shift = np.where(angle <= FOLD_DEGREES, 0.0, radii * (np.sin(np.radians(fold(angle))) - across))
    direction = normals[:, :2] / np.maximum(across, 1e-9)[:, None]
    moved = np.array(points, dtype=np.float64)
    moved[:, :2] += shift[:, None] * direction
    return moved
