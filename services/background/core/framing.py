"""The product shot: where the camera stands, and which ray each pixel looks along."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Camera
from services.background.core.noise import FloatArray

SUBJECT_HEIGHT = 0.30
"""Metres; every scene is dressed for a subject of this size."""

_HEIGHT_SHARE = 0.60
"""Share of the frame's height that the tallest subject fills."""

_WIDTH_SHARE = 0.70
"""Share of the frame's width that the widest subject fills."""


@dataclass(frozen=True, slots=True)
class Framing:
    """A camera and the largest subject it frames well."""

    camera: Camera
    subject_height: float
    """Metres."""
    subject_width: float
    """Metres."""


def product_framing(aspect: float, elevation_degrees: float, vertical_fov_degrees: float) -> Framing:
    """Look at half the subject's height from the front, from ``elevation_degrees`` above.

    Args:
        aspect: width over height of the frame.
        elevation_degrees: angle of the line of sight above the ground.
        vertical_fov_degrees: full angle from the bottom edge to the top edge.
    """
    frame_height = SUBJECT_HEIGHT / _HEIGHT_SHARE
    distance = frame_height / 2 / math.tan(math.radians(vertical_fov_degrees) / 2)
    elevation = math.radians(elevation_degrees)
    middle = SUBJECT_HEIGHT / 2
    position = (0.0, middle + distance * math.sin(elevation), distance * math.cos(elevation))
    camera = Camera(position, (0.0, middle, 0.0), vertical_fov_degrees)
    return Framing(camera, SUBJECT_HEIGHT, _WIDTH_SHARE * frame_height * aspect)


@dataclass(frozen=True)
class RayGrid:
    """The rays of a camera without roll; ``rows`` and ``directions`` also want it on x = 0, looking along −Z.

    All rays of a row meet the ground at the same depth, which is what makes plates cheap.
    """

    camera: Camera
    width: int
    height: int

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.height / 2 / math.tan(math.radians(self.camera.vertical_fov_degrees) / 2)

    def columns(self) -> FloatArray:
        """(width,) x of each column's ray per unit of depth."""
        return ((np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.focal).astype(np.float32)

    def rows(self, samples: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(height · samples,) y and z of each row's ray per unit of depth, ``samples`` evenly spaced in a pixel."""
        up_image = (self.height / 2 - (np.arange(self.height * samples) + 0.5) / samples) / self.focal
        view = self.camera.view_matrix()[:3, :3]
        up, forward = view[1], -view[2]
        return forward[1] + up_image * up[1], forward[2] + up_image * up[2]

    def ground_depth(self, samples: int = 1) -> NDArray[np.float64]:
        """(height · samples,) depth along the line of sight at which each row meets y = 0; inf above the horizon."""
        y, _ = self.rows(samples)
        height = self.camera.position[1]
        return np.where(y < -1e-9, height / np.maximum(-y, 1e-9), np.inf)

    def ground_points(self, first: int) -> tuple[FloatArray, FloatArray]:
        """(height − first, width) world x and z, metres, of the ground that the rows from ``first`` on see.

        Holds for any camera without roll; ``first`` must lie below the horizon.
        """
        right, up, back = self.camera.view_matrix()[:3, :3]
        up_image = (self.height / 2 - np.arange(first, self.height) - 0.5) / self.focal
        depth = self.ground_depth()[first:]
        x, z = (
            self.camera.position[axis]
            + (depth * (up_image * up[axis] - back[axis]))[:, None]
            + np.multiply.outer(depth * right[axis], self.columns())
            for axis in (0, 2)
        )
        return x.astype(np.float32), z.astype(np.float32)

    def directions(self) -> tuple[FloatArray, FloatArray]:
        """(height, width) azimuth and elevation in degrees: azimuth 0 is −Z and grows towards +X."""
        y, z = self.rows()
        x = self.columns()[None, :]
        azimuth = np.degrees(np.arctan2(x, -z[:, None]))
        elevation = np.degrees(np.arctan2(y[:, None], np.hypot(x, z[:, None])))
        return azimuth.astype(np.float32), elevation.astype(np.float32)


def panorama_directions(height: int) -> tuple[FloatArray, FloatArray]:
    """(height, 2·height) azimuth and elevation in degrees of an equirectangular picture's pixel centres."""
    azimuth = ((np.arange(2 * height, dtype=np.float32) + 0.5) / (2 * height) - 0.5) * 360.0
    elevation = 90.0 - (np.arange(height, dtype=np.float32) + 0.5) / height * 180.0
    return np.broadcast_to(azimuth, (height, 2 * height)), np.broadcast_to(elevation[:, None], (height, 2 * height))
