"""Where things are in the picture: the matrices between scene, clip space and pixels.

Pixels: origin top left, y down. Clip space: OpenGL's, but y down (see ``gpu``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Camera

Window = tuple[float, float, float, float]
"""A rectangle of ground: centre x, centre z, half its width along x and along z, metres."""

Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in whole pixels, all even: chroma has half the pixels."""


def camera_matrix(
    camera: Camera, points: NDArray[np.float64], size: tuple[int, int], shear: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(4, 4) float64: scene to clip space of a (width, height) picture, near and far close around (n, 3) ``points``.

    ``shear`` is the (4, 4) matrix to another point of the lens (see ``lens``), in eye space.
    """
    view = camera.view_matrix()
    depths = -(points @ view[2, :3] + view[2, 3])
    near = max(0.9 * float(depths.min()), 1e-3)
    projection = camera.projection_matrix(size[0] / size[1], near, max(1.1 * float(depths.max()), 2 * near))
    return np.asarray(np.diag((1.0, -1.0, 1.0, 1.0)) @ projection @ shear @ view)


def crop_matrix(part: Rectangle, size: tuple[int, int]) -> NDArray[np.float64]:
    """(4, 4) float64: clip space of a (width, height) picture to that of a part of it."""
    left, top, width, height = part
    matrix = np.eye(4)
    matrix[0, 0], matrix[1, 1] = size[0] / width, size[1] / height
    matrix[0, 3] = (size[0] - 2 * left) / width - 1
    matrix[1, 3] = (size[1] - 2 * top) / height - 1
    return matrix


def clip_matrix(size: tuple[int, int]) -> NDArray[np.float64]:
    """(4, 4) float64: pixel column, row and depth in [0, 1] to clip space."""
    matrix = np.diag((2.0 / size[0], 2.0 / size[1], 2.0, 1.0))
    matrix[:3, 3] = -1.0
    return matrix


def ground_matrix(camera: Camera, size: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3) float64: (column, row, 1) to (x, z, 1) / depth on the plane y = 0; depth > 0 in front of the camera."""
    width, height = size
    view = camera.view_matrix()
    focal = height / 2 / math.tan(math.radians(camera.vertical_fov_degrees) / 2)
    ground_to_eye = view[:3][:, (0, 2, 3)]
    eye_to_pixel = np.array([[focal, 0.0, -width / 2], [0.0, -focal, -height / 2], [0.0, 0.0, -1.0]])
    return np.asarray(np.linalg.inv(eye_to_pixel @ ground_to_eye))


def around(points: NDArray[np.float64], size: tuple[int, int], border: int) -> Rectangle:
    """The part of a (width, height) picture that holds (n, 2) pixel positions and a border around them."""
    limits = np.array(size)
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - border, 0, limits - 2) // 2 * 2
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + border + 1, low + 2, limits) // 2 * 2
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def around_ground(camera: Camera, window: Window, size: tuple[int, int]) -> Rectangle:
    """The part that may show ``window`` of the ground; all of the picture if that reaches the camera."""
    x, z, half_x, half_z = window
    corners = np.array([(x + i * half_x, 0.0, z + j * half_z) for i in (-1, 1) for j in (-1, 1)])
    view = camera.view_matrix()
    if (corners @ view[2, :3] + view[2, 3] > -1e-2).any():
        return 0, 0, *size
    return around(camera.project(corners, *size), size, border=2)


def union(one: Rectangle, other: Rectangle) -> Rectangle:
    """The smallest rectangle that holds both."""
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top
