"""What a turned body leaves over (a handle, a spout, a leaf, a straw), inflated in an upright plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.mesh3d.core.fold import fold_around_outline
from services.mesh3d.core.inflation import Inflation, inflate
from services.mesh3d.core.silhouette import OPAQUE, distance_to_zero
from services.mesh3d.core.solid import Array, sample_rows

MIN_ELEVATION = math.radians(15.0)
"""Below this a row says too little of how far in front something is; it is taken to stand beside the axis."""

MAX_DEPTH_SHARE = 0.8
"""Most of the body's radius that an appendage may stand in front of the axis or behind it, and still touch the body."""

MAX_ROOT_HEIGHT = 0.9
"""Share of the body's height up to which an appendage may be rooted in it."""

MIN_THICKNESS = 5
"""Pixels under which leftovers are the outline's noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Appendage:
    """An inflated part of the upright picture in the plane z = ``depth`` of the object frame."""

    inflation: Inflation
    origin: tuple[float, float]
    """(x, y) of the object's origin in the upright picture."""

    elevation: float
    """Of the camera, radians."""

    depth: float

    def field(self, x: Array, y: Array, z: Array) -> NDArray[np.float32]:
        """See ``Solid``."""
        height_squared = sample_rows(self.inflation.height_squared, self._rows(y), self.origin[0] + x).T
        steepness = np.gradient(height_squared, x, axis=0) ** 2 + np.gradient(height_squared, y, axis=1) ** 2
        off_plane = ((z - self.depth) ** 2).astype(np.float32)[None, None, :]
        level = height_squared[:, :, None] - off_plane
        return np.asarray(level / np.sqrt(steepness[:, :, None] + 4 * off_plane + 1.0), dtype=np.float32)

    def sources(self, points: Array, normals: Array) -> NDArray[np.float64]:
        """See ``Solid``."""
        flat = np.stack([points[:, 0], self.origin[1] - self._rows(points[:, 1]), points[:, 2]], axis=1)
        folded = fold_around_outline(points, normals, self.inflation.radius_at(self.origin, flat))
        folded[:, 2] = self.depth + np.abs(folded[:, 2] - self.depth)
        return folded

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) corners around it in the object frame."""
        rows, columns = np.nonzero(self.inflation.height_squared > 0)
        thickness = math.sqrt(max(float(self.inflation.height_squared.max()), 1.0))
        highest = self.origin[1] - float(rows.min()) + self.depth * math.sin(self.elevation)
        low = (float(columns.min()) - self.origin[0], 0.0, self.depth - thickness)
        high = (float(columns.max()) + 1 - self.origin[0], highest / math.cos(self.elevation), self.depth + thickness)
        return np.array([low, high])

    def _rows(self, y: Array) -> NDArray[np.float64]:
        up = np.asarray(y) * math.cos(self.elevation) - self.depth * math.sin(self.elevation)
        return np.asarray(self.origin[1] - up, dtype=np.float64)


def fit_appendage(
    alpha: NDArray[np.float32],
    body: NDArray[np.bool_],
    origin: tuple[float, float],
    elevation: float,
    size: tuple[float, float],
) -> Appendage | None:
    """Inflate what is thick enough of the outline outside the body.

    Args:
        alpha: (h, w) coverage of the upright picture, [0, 1].
        body: (h, w) what the turned body explains.
        origin: (x, y) of the object's origin in it.
        elevation: of the camera, radians.
        size: the body's largest radius and its height, pixels.
    """
    mask = alpha >= OPAQUE
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (MIN_THICKNESS, MIN_THICKNESS))
    beside = (mask & ~body).astype(np.uint8)
    leftover = np.asarray(cv2.morphologyEx(beside, cv2.MORPH_OPEN, kernel), dtype=np.uint8)
    if not leftover.any():
        return None
    depth = _depth(leftover, origin, elevation, size)
    # rooted in the body by its own thickness, and sideways by how far the wall recedes at that depth
    near = (distance_to_zero(1 - leftover) <= 2 * float(distance_to_zero(leftover).max())).astype(np.uint8)
    recess = size[0] - math.sqrt(size[0] ** 2 - depth**2)
    near = np.asarray(cv2.dilate(near, np.ones((1, 2 * round(recess) + 1), np.uint8)), dtype=np.uint8)
    # and not where it would come out above the body
    up = origin[1] - (np.arange(len(alpha)) + 0.5)
    under = (up + depth * math.sin(elevation)) / math.cos(elevation) < MAX_ROOT_HEIGHT * size[1]
    root = body & (near > 0) & under[:, None]
    kept = np.where(mask & ((leftover > 0) | root), alpha, 0.0).astype(np.float32)
    return Appendage(inflate(kept), origin, elevation, depth)


def _depth(
    leftover: NDArray[np.uint8], origin: tuple[float, float], elevation: float, size: tuple[float, float]
) -> float:
    """How far in front of the axis the largest leftover stands, if it is joined to the body at half its height."""
    if elevation < MIN_ELEVATION:
        return 0.0
    count, _, stats, centroids = cv2.connectedComponentsWithStats(leftover)
    largest = 1 + int(stats[1:count, cv2.CC_STAT_AREA].argmax())
    up = origin[1] - float(centroids[largest][1])
    depth = (size[1] / 2 * math.cos(elevation) - up) / math.sin(elevation)
    return float(np.clip(depth, -MAX_DEPTH_SHARE * size[0], MAX_DEPTH_SHARE * size[0]))
