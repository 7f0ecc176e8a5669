"""Depth of field: the scene seen through many points of a round lens opening, and their mean.

P. Haeberli and K. Akeley, "The Accumulation Buffer: Hardware Support for High-Quality Rendering", SIGGRAPH 1990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Camera

SAMPLES = 8
"""Points of the opening: the subject's own blur is a few pixels wide, which these fill without gaps."""

BLUR_AT_INFINITY = 0.022
"""Radius of the blur of what is endlessly far, as a share of the picture's height: soft, the product still readable."""

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True, slots=True)
class Lens:
    """A thin lens."""

    radius: float
    """Of the opening, metres; 0 is a pinhole."""

    focus: float
    """From the camera to the plane that is sharp, metres along the line of sight."""

    def offsets(self) -> NDArray[np.float64]:
        """(n, 2) float64: points of the opening to the right of and above its middle, metres; a Vogel spiral."""
        if self.radius == 0.0:
            return np.zeros((1, 2))
        index = np.arange(SAMPLES)
        reach = self.radius * np.sqrt((index + 0.5) / SAMPLES)
        points = np.stack([reach * np.cos(index * _GOLDEN_ANGLE), reach * np.sin(index * _GOLDEN_ANGLE)], axis=1)
        return np.asarray(points - points.mean(axis=0))

    def shear(self, offset: NDArray[np.float64]) -> NDArray[np.float64]:
        """(4, 4) float64: eye space to that of the (2,) ``offset`` point, which sees the plane in focus unmoved."""
        matrix = np.eye(4)
        matrix[:2, 2], matrix[:2, 3] = -offset / self.focus, -offset
        return matrix

    def blur(self, camera: Camera, rows: int) -> float:
        """Radius in pixels of the blur at infinite distance, in a picture of ``rows``.

        At depth d it is this times abs(1 - focus / d): M. Potmesil and I. Chakravarty, "A Lens and Aperture Camera
        Model", SIGGRAPH 1981.
        """
        return self.radius / self.focus * focal_pixels(camera, rows)

    def widest_blur(self, camera: Camera, points: NDArray[np.float64], rows: int) -> float:
        """Largest radius in pixels of the blur of (n, 3) scene ``points``, in a picture of ``rows``."""
        view = camera.view_matrix()
        depths = -(points @ view[2, :3] + view[2, 3])
        return self.blur(camera, rows) * float(np.abs(1 - self.focus / depths).max())


def focal_pixels(camera: Camera, rows: int) -> float:
    """Focal length in pixels of a picture of ``rows``."""
    return rows / 2 / math.tan(math.radians(camera.vertical_fov_degrees) / 2)


def cinema_lens(camera: Camera, focus_distance: float, depth: float) -> Lens:
    """The lens of the cinematic preset, all in metres.

    Scenes put ``focus_distance`` at the turn axis; what is seen of a subject lies before it, its front ``depth``
    nearer. Half way between the two keeps the front readable and the turned sides near it.
    """
    focus = max(focus_distance - depth / 2, focus_distance / 2)
    return Lens(BLUR_AT_INFINITY * focus / focal_pixels(camera, 1), focus)
