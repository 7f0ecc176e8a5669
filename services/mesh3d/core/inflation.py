"""Thickness from an outline alone: the union of the largest balls that fit into it, smoothed.

The union of maximal balls (Blum's medial axis transform, 1967) gives a disc the thickness of a sphere and a strip
that of a tube, so thickness is limited by local width. Its ridges are smoothed away by solving Poisson's equation
with the smoothed Laplacian as its source: where the Laplacian is constant already (discs, tubes) nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import spsolve

from services.mesh3d.core.silhouette import OPAQUE, distance_to_zero, fill_from_nearest, signed_distance

RIDGE_SMOOTHING = 0.35
"""Standard deviation of the source's smoothing, as a share of the largest ball's radius: enough to turn the hipped
roof over a rectangle into a cushion."""

SHRINK = 2
"""The equation is solved on a picture this much smaller: an eighth of the work, and the result is smooth anyway."""

RIM_WIDTH = 6.0
"""Pixels from the outline over which the exact rim passes into the solved height."""

SPHERE_LAPLACIAN = -4.0
"""Laplacian of the squared height of a sphere, r² - x² - y²."""

TUBE_LAPLACIAN = -2.0
"""The same of a tube, r² - x². What lies outside of these two is an artefact of the pixel grid."""

_LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Inflation:
    """Two maps over the picture that was inflated, in its pixels."""

    height_squared: NDArray[np.float32]
    """(h, w) square of the half-thickness; 0 on the outline, falling on below 0 outside."""

    radius: NDArray[np.float32]
    """(h, w) radius of the ball that the surface belongs to; continued outside from the nearest inside."""

    def radius_at(self, origin: tuple[float, float], points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n,) ball radius at object points (n, 3); ``origin`` is the object's place (x, y) in the picture."""
        height, width = self.radius.shape
        rows = np.clip(origin[1] - points[:, 1], 0, height - 1).astype(int)
        columns = np.clip(origin[0] + points[:, 0], 0, width - 1).astype(int)
        return np.asarray(self.radius[rows, columns], dtype=np.float64)


def inflate(alpha: NDArray[np.float32]) -> Inflation:
    """Half-thickness of every pixel of an outline.

    Args:
        alpha: (h, w) coverage in [0, 1]. Work grows with the cube of the longer side: give it about 400 pixels.
    """
    height, width = alpha.shape
    small = (max(width // SHRINK, 1), max(height // SHRINK, 1))
    shrunk = np.asarray(cv2.resize(alpha, small, interpolation=cv2.INTER_AREA), dtype=np.float32)
    solved = np.dstack(_inflate(shrunk)) * (SHRINK**2, SHRINK)
    height_squared, radius = np.moveaxis(cv2.resize(solved, (width, height), interpolation=cv2.INTER_LINEAR), 2, 0)
    # near the outline a ball's h² is d (2 r - d): write it so there, and h² = 0 is the outline to a fraction of a pixel
    distance = signed_distance(alpha)
    near = np.minimum(distance, radius) * (2 * radius - np.minimum(distance, radius))
    inner = np.clip((distance - SHRINK) / (RIM_WIDTH - SHRINK), 0.0, 1.0)
    height_squared = inner * np.maximum(height_squared, 1.0) + (1 - inner) * near
    return Inflation(height_squared.astype(np.float32), radius.astype(np.float32))


def _inflate(alpha: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared height, 0 outside, and ball radius at the resolution given."""
    mask = alpha >= OPAQUE
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = distance_to_zero(padded)[1:-1, 1:-1]
    # to the outline instead of to the nearest empty pixel's centre
    depth = np.maximum(distance - 0.5, 0.0)
    balls = ball_union(np.where(mask, depth**2, -np.inf))
    source = np.clip(correlate(balls, _LAPLACIAN, mode="nearest"), SPHERE_LAPLACIAN, TUBE_LAPLACIAN)
    sigma = max(RIDGE_SMOOTHING * float(depth.max()), 1.0)
    weight = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), sigma)
    source = cv2.GaussianBlur(np.where(mask, source, 0.0), (0, 0), sigma) / np.maximum(weight, 1e-9)
    height_squared = _solve_poisson(mask, source)
    return height_squared, _ball_radius(height_squared, mask, sigma)


def ball_union(squared_radii: NDArray[np.floating]) -> NDArray[np.float64]:
    """``max over p of r(p)² - |x - p|²`` for every pixel x: the squared height of the balls of radius r(p) around p.

    Separable: along the rows, then along the columns (the generalised distance transform of Felzenszwalb and
    Huttenlocher, 2012, with the envelope taken by brute force, which at these sizes is quicker in numpy).

    Args:
        squared_radii: (h, w) float, -inf where there is no ball.
    """
    result = np.asarray(squared_radii, dtype=np.float64)
    for _ in range(2):
        positions = np.arange(result.shape[1], dtype=np.float64)
        bowl = (positions[:, None] - positions[None, :]) ** 2
        result = np.stack([(row[None, :] - bowl).max(axis=1) for row in result]).T
    return result


def _solve_poisson(mask: NDArray[np.bool_], source: NDArray[np.floating]) -> NDArray[np.float64]:
    """U with Laplacian u = source inside the mask and u = 0 outside; five-point stencil."""
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(int(mask.sum()))
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    for axis in (0, 1):
        first, second = (index[:-1], index[1:]) if axis == 0 else (index[:, :-1], index[:, 1:])
        linked = (first >= 0) & (second >= 0)
        rows += [first[linked], second[linked]]
        columns += [second[linked], first[linked]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    size = int(mask.sum())
    neighbours = csc_array((np.ones(len(row)), (row, column)), shape=(size, size))
    system = diags_array(np.full(size, 4.0), format="csc") - neighbours
    height_squared = np.zeros(mask.shape)
    height_squared[mask] = np.atleast_1d(spsolve(system, -source[mask]))
    return height_squared


def _ball_radius(height_squared: NDArray[np.float64], mask: NDArray[np.bool_], sigma: float) -> NDArray[np.float64]:
    """Radius of the ball each surface point lies on, carried on outside the mask.

    A ball around c has the height² h = r² - |x - c|², whose gradient is -2 (x - c): so r² = h + |gradient|² / 4.
    """
    down, right = np.gradient(height_squared)
    radius = np.sqrt(np.maximum(height_squared, 0.0) + (down**2 + right**2) / 4)
    # one-sided at the outline, where the gradient straddles it: trust the inside, and let it flow outwards
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    trusted = inner if inner.any() else mask
    blur, weight = max(0.25 * sigma, 1.0), trusted.astype(np.float64)
    smooth = cv2.GaussianBlur(radius * weight, (0, 0), blur) / np.maximum(cv2.GaussianBlur(weight, (0, 0), blur), 1e-9)
    return np.asarray(np.maximum(fill_from_nearest(smooth, trusted), 1.0))
