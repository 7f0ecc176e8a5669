"""Auto-orient: which way a mesh is turned before the film begins.

Azimuth is the direction of a vector in the ground plane, degrees from +Z towards +X; a yaw about +Y adds to it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.render.core.mesh import face_normals

UPRIGHT_DEGREES = 20.0
"""A surface whose normal is within this of the horizon counts as upright."""

FACE_DEGREES = 10.0
"""Upright surfaces whose azimuths are within this of one another are one face."""

DISTINCT_DEGREES = 30.0
"""Faces whose azimuths differ by at least this are two faces."""

FLAT = 0.2
"""Share of the upright surface that must face one way to be called a face; a cube's side has 0.25."""

SIMILAR = 0.8
"""A face with this share of another's area is as good as it: within 20 %."""


def front_yaw_degrees(triangles: NDArray[np.floating]) -> float:
    """The yaw about +Y that turns the largest upright face square to +Z.

    0 where the photo's front, +Z, is within 20 % of the largest, or where two faces are within 20 % of one another:
    then the photo knows best; 0 also where nothing is flat enough to be a face. A face and its opposite count as one,
    and the one on the photo's side is turned to the front: the other side of a solid shows no more, and the photo has
    not seen it.

    Args:
        triangles: (m, 3, 3) float, counter-clockwise seen from outside; Y up.

    Returns:
        Degrees in [-100, 100]: a face on the edge of the photo's side may lean a little past it.
    """
    azimuths, areas = _upright(triangles)
    if not areas.sum() > 0:
        return 0.0
    faces = _faces(azimuths, areas)
    if faces.max() < FLAT * areas.sum() or faces[0] >= SIMILAR * faces.max():
        return 0.0
    pairs = np.maximum(faces[:180], faces[180:])
    best = int(pairs.argmax())
    apart = np.abs((np.arange(180) - best + 90) % 180 - 90)
    if pairs[apart >= DISTINCT_DEGREES].max() >= SIMILAR * pairs[best]:
        return 0.0
    return -_mean_azimuth(azimuths, areas, best if best <= 90 else best - 180)


def yaw_matrix(degrees: float) -> NDArray[np.float64]:
    """(4, 4) float64: a turn about +Y, counter-clockwise seen from above."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    matrix = np.eye(4)
    matrix[0, 0], matrix[0, 2], matrix[2, 0], matrix[2, 2] = cosine, sine, -sine, cosine
    return matrix


def _upright(triangles: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Azimuths in degrees and areas of the upright triangles."""
    normals = face_normals(triangles)
    length = np.linalg.norm(normals, axis=1)
    upright = (np.abs(normals[:, 1]) <= math.sin(math.radians(UPRIGHT_DEGREES)) * length) & (length > 0)
    return np.degrees(np.arctan2(normals[upright, 0], normals[upright, 2])), length[upright] / 2


def _faces(azimuths: NDArray[np.float64], areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """(360,) float64: area that faces each whole degree, with a triangular window of ± ``FACE_DEGREES``."""
    histogram = np.bincount(np.round(azimuths).astype(int) % 360, areas, 360)
    reach = int(FACE_DEGREES)
    return np.asarray(
        sum(np.roll(histogram, step) * (1 - abs(step) / (reach + 1)) for step in range(-reach, reach + 1))
    )


def _mean_azimuth(azimuths: NDArray[np.float64], areas: NDArray[np.float64], near: int) -> float:
    """Area-weighted mean azimuth of the face at ``near``, its opposite side turned round to it."""
    offset = (azimuths - near + 90) % 180 - 90
    within = np.abs(offset) <= FACE_DEGREES
    return near + float(np.average(offset[within], weights=areas[within]))
