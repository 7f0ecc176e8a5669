"""Where the subject stands in the scene.

Frame: the scene's, metres, right-handed, Y up, the subject's foot at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Camera, Scene
from services.render.core.orient import yaw_matrix

FRAME_MARGIN = 0.03
"""Share of the picture's width and height that stays free on each side, whatever way the subject is turned."""

_RING = np.stack([np.cos(np.linspace(0, 2 * np.pi, 32)), np.sin(np.linspace(0, 2 * np.pi, 32))], axis=1)


@dataclass(frozen=True, slots=True)
class Placement:
    """The subject in the scene, before it turns."""

    matrix: NDArray[np.float64]
    """(4, 4) float64: the mesh's own frame to the scene's, auto-orient included."""

    radius: float
    """Of the upright cylinder about the Y axis that the subject stays in as it turns, metres."""

    height: float
    """Of that cylinder, metres."""

    def outline(self) -> NDArray[np.float64]:
        """(64, 3) float64: points around the rims of the cylinder."""
        return _rims(self.radius, self.height)


def place(vertices: NDArray[np.float64], scene: Scene, front_yaw_degrees: float) -> Placement:
    """Stand (n, 3) vertices on the ground, as large as the scene asks and no larger than fits while turning.

    The turn axis is the middle of the footprint's box; the size follows ``Scene.subject_scale`` with the front's width
    and height, as the still does, and shrinks until the turning subject stays ``FRAME_MARGIN`` inside the picture.
    """
    turn = yaw_matrix(front_yaw_degrees)
    turned = vertices @ turn[:3, :3].T
    low, high = turned.min(axis=0), turned.max(axis=0)
    axis = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    width, height, _ = high - low
    radius = float(np.hypot(turned[:, 0] - axis[0], turned[:, 2] - axis[2]).max())
    smallest = 1e-6 * max(radius, float(height))  # a flat subject has no height to divide by
    wanted = scene.subject_scale(max(width, smallest), max(height, smallest))
    rows, columns = scene.plate.shape[:2]
    scale = wanted * _fit(scene.camera, columns / rows, radius * wanted, float(height) * wanted)
    matrix = np.eye(4)
    matrix[:3, :3] = turn[:3, :3] * scale
    matrix[:3, 3] = -axis * scale
    return Placement(matrix, radius * scale, float(height) * scale)


def _fit(camera: Camera, aspect: float, radius: float, height: float) -> float:
    """The largest factor in (0, 1] at which the turning cylinder stays in the picture; by bisection."""
    if _inside(camera, aspect, _rims(radius, height)):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        fits = _inside(camera, aspect, _rims(radius * middle, height * middle))
        low, high = (middle, high) if fits else (low, middle)
    return low


def _rims(radius: float, height: float) -> NDArray[np.float64]:
    ring = np.insert(_RING * radius, 1, 0.0, axis=1)
    return np.concatenate([ring, ring + np.array((0.0, height, 0.0))])


def _inside(camera: Camera, aspect: float, points: NDArray[np.float64]) -> bool:
    eye = points @ camera.view_matrix()[:3, :3].T + camera.view_matrix()[:3, 3]
    if (eye[:, 2] > -1e-3).any():
        return False
    projection = camera.projection_matrix(aspect, 0.1, 10.0)
    x, y = eye[:, 0] * projection[0, 0] / -eye[:, 2], eye[:, 1] * projection[1, 1] / -eye[:, 2]
    return bool(max(np.abs(x).max(), np.abs(y).max()) <= 1 - 2 * FRAME_MARGIN)
