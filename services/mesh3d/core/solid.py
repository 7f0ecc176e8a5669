"""What every way of finding a shape comes down to: a solid given as a field, and the view the photo has of it.

Object frame of a solid: right-handed, y up, +z towards the photographer, the foot in the plane y = 0; working pixels.
The photo is taken to be orthographic, level or from slightly above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The orthographic camera that took the photo, looking along -z and down by ``elevation``."""

    elevation: float
    """Radians above the horizon, in [0, π/2)."""

    to_cutout: NDArray[np.float64]
    """(2, 3) affine from the screen's (right, up, 1), working pixels with the object's origin at 0, to continuous
    cut-out coordinates (x, y), y down."""

    @property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3): rows are the camera's right, up, and towards the camera, in the object frame."""
        sin, cos = np.sin(self.elevation), np.cos(self.elevation)
        return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])

    def project(self, points: Array) -> NDArray[np.float64]:
        """Continuous cut-out coordinates (n, 2) of object points (n, 3)."""
        screen = np.asarray(points, dtype=np.float64) @ self.axes[:2].T
        return np.asarray(screen @ self.to_cutout[:, :2].T + self.to_cutout[:, 2])


class Solid(Protocol):
    """A shape that can be asked anywhere whether it is inside."""

    @property
    def method(self) -> str:
        """How the shape was found; goes into the result."""

    @property
    def view(self) -> View:
        """The camera that took the photo."""

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3): a low and a high corner of the object frame with the whole solid between them."""

    @property
    def flats(self) -> tuple[float, ...]:
        """Heights, ascending from the foot's 0, of horizontal planes that end the solid with a sharp edge."""

    def field(self, x: Array, y: Array, z: Array) -> NDArray[np.float32]:
        """(nx, ny, nz) on the grid of three coordinate vectors: about the distance to the surface, positive inside."""

    def sources(self, points: Array, normals: Array) -> NDArray[np.float64]:
        """Where on the photographed side each surface point takes its colour.

        Args:
            points: (n, 3).
            normals: (n, 3) unit, outwards.

        Returns:
            (n, 3) object points that the view projects to the place in the photo.
        """


def smooth_maximum(first: Array, second: Array, width: float) -> NDArray[np.float32]:
    """Union of two fields with a fillet of about ``width`` where they meet (polynomial smooth maximum)."""
    overlap = np.maximum(width - np.abs(first - second), 0.0) / width
    return np.asarray(np.maximum(first, second) + overlap * overlap * (width / 4), dtype=np.float32)


def sample_rows(picture: Array, rows: Array, columns: Array) -> NDArray[np.float32]:
    """Bilinear samples of a picture where each row and each column is asked as a whole.

    Args:
        picture: (h, w) values at pixel centres.
        rows: any shape (...), y in continuous picture coordinates; clamped to the picture.
        columns: (n,) x in continuous picture coordinates; clamped to the picture.

    Returns:
        (..., n) float32.
    """

    def split(at: Array, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        position = np.clip(np.asarray(at, dtype=np.float64) - 0.5, 0.0, count - 1.0)
        low = np.minimum(position.astype(np.int64), max(count - 2, 0))
        return low, (position - low).astype(np.float32)

    column, across = split(columns, picture.shape[1])
    values = picture[:, column] * (1 - across) + picture[:, np.minimum(column + 1, picture.shape[1] - 1)] * across
    row, down = split(rows, picture.shape[0])
    below = np.minimum(row + 1, picture.shape[0] - 1)
    return np.asarray(values[row] * (1 - down[..., None]) + values[below] * down[..., None], dtype=np.float32)
