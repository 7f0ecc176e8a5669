"""Size and pose of a box from the six corners of its outline.

Seen orthographically a box with unit axes r_i and lengths l_i has an outline whose sides are p_i = l_i (r_i without its
depth). The axes are orthonormal, so Σ p_i p_iᵀ / l_i² = I: three equations for the three lengths, and with them the
pose, but for the depth's sign, which seen from above settles. A perspective photo gives the start of a least-squares
refinement that adds the one unknown, the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

Points = NDArray[np.float64]

MAX_CONVERGENCE_DEGREES = 60.0
"""Angle between opposite sides of the outline up to which the parallel solution is a start worth refining. From three
box lengths away the short sides of a face that is nearly edge on differ by as much; the fit has the last word."""

MIN_LENGTH_RATIO = 0.6
"""Shorter over longer of two opposite sides, for the same reason."""

MAX_LEAN_DEGREES = 30.0
"""Of the most upright axis in the picture; a box that leans more is not standing."""

MAX_ELEVATION_DEGREES = 75.0
"""Of the camera; beyond it nothing is left of the walls to tell how high they are."""

MAX_NEARNESS = 0.5
"""The subject's longer side over the camera's distance: half, a phone held close."""

NEARNESS_PRIOR = 2.0
"""Pixels of misfit that a nearness of 1 has to pay for: orthographic unless the corners say otherwise."""

MAX_MISFIT = 0.012
"""Root mean square distance of the corners from the solved box's, as a share of the outline's longer side."""

RING = np.array([(-1, 1, 1), (1, 1, 1), (1, 1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1), (-1, 1, -1)])
"""Signs of seven of the box's corners in its own axes: x to the right face, y up, z to the left face, all visible.
The nearest one, (1, 1, 1), is inside the outline; the other six go around it once ``AROUND`` has ordered them."""

AROUND = (0, 6, 2, 3, 4, 5)
"""Indices into ``RING`` of the outline's corners, clockwise as seen in the picture, from the upper left one that the
top and the left face share."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A box in front of a camera; screen right, up, and towards the camera."""

    sizes: NDArray[np.float64]
    """(3,) along its own x (the normal of the right visible face), y (of the top) and z (of the left one)."""

    axes: NDArray[np.float64]
    """(3, 3): rows are those axes in camera coordinates; right-handed."""

    corners: Points
    """(7, 2) the visible corners on the screen, y up, in ``RING``'s order: those of the outline where it has them, the
    nearest one as the solved camera shows it."""


def solve_pose(hexagon: Points) -> Pose | None:
    """The box behind an outline, seen from above.

    Args:
        hexagon: (6, 2) convex, clockwise on a screen with y up.

    Returns:
        None where opposite sides are not parallel enough, or no upright box has this outline.
    """
    sides = np.roll(hexagon, -1, axis=0) - hexagon
    lengths = np.linalg.norm(sides, axis=1)
    cosine = -(sides[:3] * sides[3:]).sum(axis=1) / (lengths[:3] * lengths[3:])
    ratio = np.minimum(lengths[:3], lengths[3:]) / np.maximum(lengths[:3], lengths[3:])
    if (cosine < np.cos(np.radians(MAX_CONVERGENCE_DEGREES))).any() or (ratio < MIN_LENGTH_RATIO).any():
        return None
    start = _solve_parallel((sides[:3] - sides[3:]) / 2)
    if start is None:
        return None
    sizes, axes = start
    centre = hexagon.mean(axis=0)
    outer = list(AROUND)
    predicted = _project(sizes, axes, centre, 0.0)[outer]
    shifts = [np.roll(np.arange(6), -turn) for turn in range(6)]
    order = min(shifts, key=lambda each: float(((hexagon[each] - predicted) ** 2).sum()))
    return _refine(hexagon[order], sizes, axes)


def _solve_parallel(edges: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Sizes (3,) and axes (3, 3) of the box whose projected edge vectors are ``edges`` (3, 2), y up."""
    system = np.stack([edges[:, 0] ** 2, edges[:, 1] ** 2, edges[:, 0] * edges[:, 1]])
    if abs(np.linalg.det(system)) < 1e-9 * np.abs(system).max() ** 3:
        return None
    weights = np.linalg.solve(system, np.array([1.0, 1.0, 0.0]))
    if (weights <= 0).any():
        return None
    sizes = 1 / np.sqrt(weights)
    flat = edges / sizes[:, None]
    upright = np.abs(flat[:, 1]) / np.linalg.norm(flat, axis=1)
    up = int(upright.argmax())
    if upright[up] < np.cos(np.radians(MAX_LEAN_DEGREES)):
        return None
    flat[up] *= np.sign(flat[up, 1])
    towards = float(np.sqrt(max(1 - flat[up] @ flat[up], 0.0)))
    if not 1e-3 < towards < np.sin(np.radians(MAX_ELEVATION_DEGREES)):
        return None
    others = [index for index in range(3) if index != up]
    # at right angles to the upright axis, and turned to face the camera
    for index in others:
        flat[index] *= np.sign(-(flat[index] @ flat[up])) or 1.0
    right, left = sorted(others, key=lambda index: -flat[index, 0])
    depth = [-(flat[index] @ flat[up]) / towards for index in (right, left)]
    axes = np.array([[*flat[right], depth[0]], [*flat[up], towards], [*flat[left], depth[1]]])
    rows, _, columns = np.linalg.svd(axes)
    axes = rows @ columns
    return (sizes[[right, up, left]], axes) if np.linalg.det(axes) > 0 else None


def _project(sizes: NDArray[np.float64], axes: NDArray[np.float64], centre: Points, nearness: float) -> Points:
    """(7, 2) ``RING``'s corners on the screen; ``nearness`` is 1 over the camera's distance from the middle."""
    corners = (RING * sizes / 2) @ axes
    return np.asarray(corners[:, :2] / (1 - nearness * corners[:, 2:]) + centre)


def _refine(outline: Points, sizes: NDArray[np.float64], axes: NDArray[np.float64]) -> Pose | None:
    """Least squares over lengths, pose, place and the camera's distance; the optical axis meets the box's middle."""
    extent = float(np.ptp(outline, axis=0).max())
    outer = list(AROUND)

    def unpack(unknowns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], Points, float]:
        turned = axes @ Rotation.from_rotvec(unknowns[3:6]).as_matrix().T
        return sizes * np.exp(unknowns[:3]), turned, outline.mean(axis=0) + extent * unknowns[6:8], unknowns[8] / extent

    def misfit(unknowns: NDArray[np.float64]) -> NDArray[np.float64]:
        difference = _project(*unpack(unknowns))[outer] - outline
        return np.append(difference.ravel(), NEARNESS_PRIOR * unknowns[8])

    bound = np.array([1.0, 1.0, 1.0, 0.6, 0.6, 0.6, 0.5, 0.5, MAX_NEARNESS])
    lowest = np.append(-bound[:8], -1e-9)
    found = least_squares(misfit, np.zeros(9), bounds=(lowest, bound), max_nfev=60)
    solved, turned, centre, nearness = unpack(found.x)
    corners = _project(solved, turned, centre, nearness)
    distance = np.sqrt(((corners[outer] - outline) ** 2).sum(axis=1).mean())
    if distance > MAX_MISFIT * extent or (turned[:, 2] <= 0).any():
        return None
    corners[outer] = outline
    return Pose(solved, turned, corners)
