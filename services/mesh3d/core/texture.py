"""The photo as a texture, and which of its places each point of the mesh shows.

The chart is the cut-out itself, so what the camera saw keeps its own pixels; ``fold`` decides what the rest shows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.imaging import encode_png
from services.mesh3d.core.gltf import Material, Picture
from services.mesh3d.core.silhouette import OPAQUE, Silhouette, distance_to_zero, fill_from_nearest
from services.mesh3d.core.solid import Solid
from services.mesh3d.core.surface import Mesh, unit

CHART_SIDE = 1024
"""Most texels along a chart's longer side."""

CHART_BORDER = 0.02
"""Empty border around the subject in the chart, as a share of its longer side."""

MATTE_EROSION = 0.006
"""How far inside the outline colours are trusted, as a share of the subject's longer side: further out the matte may
still be mixed with the old background."""

JPEG_QUALITY = 92

ROUGHNESS = 0.55
"""Between glazed ceramics (0.3) and unglazed or fabric (0.8): one photo does not tell."""


def make_material(chart: NDArray[np.uint8]) -> Material:
    """Encode a base colour chart, (h, w, 3) sRGB, with a flat normal map and a dielectric of ``ROUGHNESS``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(chart, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV could not encode {chart.shape}")
    surface = np.full((4, 4, 3), (0, round(ROUGHNESS * 255), 0), np.uint8)
    return Material(
        base_colour=Picture(data.tobytes(), "image/jpeg"),
        metallic_roughness=Picture(encode_png(surface), "image/png"),
        normal=Picture(encode_png(np.full((4, 4, 3), (128, 128, 255), np.uint8)), "image/png"),
    )


def make_chart(
    cutout: NDArray[np.uint8], silhouette: Silhouette
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
    """The base colour and the place it was taken from.

    Args:
        cutout: (h, w, 4) 8-bit sRGB, straight alpha.
        silhouette: of that cut-out.

    Returns:
        (h', w', 3) 8-bit sRGB, at most ``CHART_SIDE`` a side, subject colours everywhere; and (left, top, width,
        height) in the cut-out's pixels.
    """
    left, top, right, bottom = _chart_box(cutout.shape, silhouette)
    crop = cutout[top:bottom, left:right]
    scale = min(CHART_SIDE / max(crop.shape[:2]), 1.0)
    if scale < 1.0:
        size = (max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1))
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    box = (float(left), float(top), float(right - left), float(bottom - top))
    return _bleed(crop[..., :3], crop[..., 3]), box


def _chart_box(shape: tuple[int, ...], silhouette: Silhouette) -> tuple[int, int, int, int]:
    rows = np.flatnonzero(silhouette.mask.any(axis=1))
    columns = np.flatnonzero(silhouette.mask.any(axis=0))
    corners = np.array([[columns[0], rows[0], 1], [columns[-1] + 1, rows[-1] + 1, 1]]) @ silhouette.to_cutout.T
    border = CHART_BORDER * float((corners[1] - corners[0]).max())
    low = np.maximum(np.floor(corners[0] - border), 0).astype(int)
    high = np.minimum(np.ceil(corners[1] + border), (shape[1], shape[0])).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _bleed(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every pixel outside the trusted matte takes the colour of the nearest one inside."""
    mask = (alpha >= OPAQUE * 255).astype(np.uint8)
    erosion = MATTE_EROSION * max(mask.shape)
    padded = np.pad(mask, 1)
    inner = (distance_to_zero(padded)[1:-1, 1:-1] > erosion).astype(np.uint8)
    # parts thinner than the erosion would vanish whole: there the matte is all there is
    reach = distance_to_zero(1 - inner) if inner.any() else np.inf
    trusted = (inner > 0) | ((mask > 0) & (reach > 2 * erosion))
    return fill_from_nearest(colours, trusted)


def texture_coordinates(mesh: Mesh, solid: Solid, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Where in the chart each vertex takes its colour.

    Args:
        mesh: in the solid's frame.
        solid: what it was made from.
        box: (left, top, width, height) of the chart in the cut-out's pixels.

    Returns:
        (n, 2) in [0, 1], origin top left.
    """
    left, top, width, height = box
    shown = solid.view.project(solid.sources(mesh.vertices, mesh.normals))
    return np.asarray(np.clip((shown - (left, top)) / (width, height), 0.0, 1.0))


def tangents(mesh: Mesh, uvs: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 4) the direction in which u grows, at right angles to the normal, and the handedness of (tangent, v up).

    Lengyel, "Computing Tangent Space Basis Vectors for an Arbitrary Mesh" (2001), with glTF's v, which grows downwards.
    """
    corners, coordinates = mesh.vertices[mesh.faces], uvs[mesh.faces]
    edges = corners[:, 1:] - corners[:, :1]
    (u1, v1), (u2, v2) = (coordinates[:, corner].T - coordinates[:, 0].T for corner in (1, 2))
    turn = np.sign(u1 * v2 - u2 * v1)[:, None]
    along_u = turn * (edges[:, 0] * v2[:, None] - edges[:, 1] * v1[:, None])
    along_v = turn * (edges[:, 1] * u1[:, None] - edges[:, 0] * u2[:, None])
    sums = np.zeros((2, *mesh.vertices.shape))
    for corner in range(3):
        np.add.at(sums[0], mesh.faces[:, corner], along_u)
        np.add.at(sums[1], mesh.faces[:, corner], along_v)
    normals = mesh.normals
    flat = sums[0] - normals * np.einsum("ij,ij->i", sums[0], normals)[:, None]
    # where the chart folds back on itself no direction is left: any one at right angles to the normal serves
    spare = np.cross(normals, np.eye(3)[np.abs(normals).argmin(axis=1)])
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    tangent = unit(np.where(length > 1e-9 * np.linalg.norm(sums[0], axis=1).max(), flat, spare))
    upward = -sums[1]
    handedness = np.where(np.einsum("ij,ij->i", np.cross(normals, tangent), upward) < 0, -1.0, 1.0)
    return np.concatenate([tangent, handedness[:, None]], axis=1)
