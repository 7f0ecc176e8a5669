"""A coarse stand-in of a mesh, for what would cost too much with all its triangles: the shadow on the ground is drawn
many times a frame and blurs what the stand-in loses, and the oriented box takes a step for each face of the hull.
"""

from __future__ import annotations

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from services.render.core.mesh import Triangles, welded


def simplified(positions: NDArray[np.float32], indices: NDArray[np.uint32], triangles: int) -> Triangles:
    """About ``triangles`` triangles in the shape of the given ones.

    M. Garland and P. Heckbert, "Surface Simplification Using Quadric Error Metrics", SIGGRAPH 1997.

    Args:
        positions: (n, 3) float32.
        indices: (m, 3) uint32.
        triangles: how many to aim at; meshes that have no more stay as they are.
    """
    points, corners = welded(positions, indices)
    a, b, c = corners.T
    corners = corners[(a != b) & (b != c) & (c != a)]
    if len(corners) <= triangles:
        return points, corners
    points, corners = fast_simplification.simplify(points, corners.astype(np.int32), target_count=triangles)
    return points.astype(np.float32), corners.astype(np.uint32)
