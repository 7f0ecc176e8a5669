"""Is it a thing or an extruded picture? The yardsticks of "Shape safety" in the contract.

All are taken in the frame of the minimum-volume oriented box, so turning a mesh does not change its verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree

from lensora.core.geometry import Verdict, minimum_box
from services.mesh3d.core.surface import is_watertight, signed_volumes

LIKELY_SHAPE = 0.40
"""``thin_axis_ratio`` from which a mesh is likely a shape. A known slab measured 0.157; with its fix about 0.60."""

ROUND_SIDE = 0.60
"""Silhouette area at 90° over the front's, from which a mesh is as deep as it is wide: slender (bottle, pen), not
flat. A bottle 1:4 measures 1.0, a plate or a slab about its thickness over its width."""

PRISM_FILL = 0.85
"""Volume over front silhouette times depth, from which a mesh is an extrusion. Extruded pictures and boxes measure 0.99
and up, an ellipsoid 0.67, a bottle on its side 0.78, inflated photos 0.51 to 0.76."""

MIRRORED_BACK = 0.05
"""Mean distance, over the depth, between the mesh and its reflection in the box's middle plane, under which the back is
the mirrored front. Extrusions and ellipsoids measure under 0.01, an ellipsoid with a back half as deep 0.08."""

THICK_SLAB = 0.60
"""Up to this ratio an extrusion is a slab when its outline, unlike a box's, is far from convex."""

CONVEX = 0.85
"""Volume over the convex hull's from which a mesh counts as convex: boxes and cylinders 1.0, an extruded dog 0.59."""

RASTER_SIDE = 192
"""Pixels along the longer side of a silhouette's raster."""

SAMPLES = 3000
"""Surface points compared with their reflections."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What the verdict rests on, and the verdict."""

    thin_axis_ratio: float
    side_to_front: float
    """Silhouette area seen along the box's middle axis over that seen along its shortest."""

    prism_fill: float
    """Volume over front silhouette area times depth; 1 for an extrusion."""

    back_difference: float
    """Mean distance between the mesh and its reflection front to back, over the depth."""

    hull_fill: float
    """Volume over the convex hull's."""

    watertight: bool
    """Closed once vertices are welded by position: every edge has one face on either side."""

    verdict: Verdict


def judge(vertices: NDArray[np.floating], faces: NDArray[np.integer], *, measured: bool = False) -> Measures:
    """Measure a closed mesh.

    Args:
        vertices: (n, 3) in any unit and pose.
        faces: (m, 3) counter-clockwise from outside.
        measured: the photo showed how deep the subject is; a flat box is then a thin thing (a book), not a picture
            that was extruded for want of knowing better.
    """
    axes, sides = minimum_box(vertices)
    boxed = np.asarray(vertices, dtype=np.float64) @ axes.T
    boxed -= (boxed.min(axis=0) + boxed.max(axis=0)) / 2
    front = silhouette_area(boxed[:, [1, 2]], faces)
    volume = float(signed_volumes(boxed, faces).sum())
    figures = {
        "thin_axis_ratio": float(sides[0] / sides[2]),
        "side_to_front": silhouette_area(boxed[:, [0, 2]], faces) / front,
        "prism_fill": volume / (front * float(sides[0])),
        "back_difference": _back_difference(boxed, faces) / float(sides[0]),
        "hull_fill": volume / float(ConvexHull(boxed).volume),
    }
    verdict = _verdict(**figures)
    if verdict == "slab" and measured:
        verdict = "thin"
    return Measures(**figures, watertight=is_watertight(vertices, faces), verdict=verdict)


def _verdict(
    thin_axis_ratio: float, side_to_front: float, prism_fill: float, back_difference: float, hull_fill: float
) -> Verdict:
    flat = side_to_front < ROUND_SIDE
    if prism_fill >= PRISM_FILL and back_difference <= MIRRORED_BACK:
        cut_out = hull_fill < CONVEX and thin_axis_ratio < THICK_SLAB
        if cut_out or (flat and thin_axis_ratio < LIKELY_SHAPE):
            return "slab"
    return "volume" if thin_axis_ratio >= LIKELY_SHAPE or not flat else "thin"


def silhouette_area(points: NDArray[np.floating], faces: NDArray[np.integer]) -> float:
    """Area of the shadow of a mesh: (n, 2) projected vertices, (m, 3) faces; in the unit squared."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (RASTER_SIDE - 1) / float((high - low).max())
    # OpenCV's fixed point keeps the outline's fractions of a pixel
    pixels = np.round((points - low) * scale * 16).astype(np.int32)
    raster = np.zeros((RASTER_SIDE, RASTER_SIDE), np.uint8)
    for triangle in pixels[faces]:
        cv2.fillConvexPoly(raster, triangle, 1, cv2.LINE_8, 4)
    # a filled polygon includes the pixels under its edge: half a pixel too wide all round
    contours, _ = cv2.findContours(raster, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rim = sum(len(contour) for contour in contours)
    return float((raster.sum() - rim / 2) / scale**2)


def _back_difference(boxed: NDArray[np.float64], faces: NDArray[np.integer]) -> float:
    """Mean distance of surface points, reflected front to back, from the surface."""
    corners = boxed[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    # systematic sampling by area, at fixed places within the faces: the same mesh gives the same points
    at = (np.arange(20 * SAMPLES) + 0.5) / (20 * SAMPLES) * areas.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(areas), at), len(faces) - 1)
    across = np.sqrt((np.arange(len(at)) * 0.7548776662466927) % 1.0)
    along = (np.arange(len(at)) * 0.5698402909980532) % 1.0
    weights = np.stack([1 - across, across * (1 - along), across * along], axis=1)
    points = np.einsum("ij,ijk->ik", weights, corners[chosen])
    reflected = points[::20] * (-1.0, 1.0, 1.0)
    distance, _ = cKDTree(points).query(reflected)
    spacing, _ = cKDTree(points[1::2]).query(points[::20])
    return float(max(distance.mean() - spacing.mean() / np.sqrt(2), 0.0))
