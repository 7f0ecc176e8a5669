"""What the renderer draws: triangles with metallic-roughness materials, as glTF 2.0 defines them.

Frame: right-handed, Y up, front +Z; any unit of length.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Triangles = tuple[NDArray[np.float32], NDArray[np.uint32]]
"""Bare geometry: positions (n, 3) and corners (m, 3)."""


@dataclass(frozen=True, slots=True)
class Texture:
    """An 8-bit picture to wrap around a mesh."""

    pixels: NDArray[np.uint8]
    """(h, w, 3) uint8, top row first (texture coordinate v = 0); sRGB for base colour, linear data otherwise."""

    repeat: tuple[bool, bool] = (True, True)
    """Whether u and v repeat beyond [0, 1]; they clamp otherwise."""


@dataclass(frozen=True, slots=True)
class Material:
    """glTF 2.0 ``pbrMetallicRoughness`` (section 3.9.2); opaque: alpha is not part of this renderer."""

    base_color_factor: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Linear Rec.709."""

    metallic_factor: float = 1.0
    roughness_factor: float = 1.0
    normal_scale: float = 1.0
    base_color: Texture | None = None
    metallic_roughness: Texture | None = None
    """Green is roughness, blue is metalness."""

    normal: Texture | None = None
    """Tangent space, +X right, +Y up, +Z out of the surface."""

    double_sided: bool = False


@dataclass(frozen=True, slots=True)
class Primitive:
    """Triangles that share one material; all arrays are float32 but the indices."""

    positions: NDArray[np.float32]
    """(n, 3), finite."""

    normals: NDArray[np.float32]
    """(n, 3), unit length."""

    uvs: NDArray[np.float32]
    """(n, 2), v down as in glTF."""

    tangents: NDArray[np.float32]
    """(n, 4): unit vector along +u, and the sign of the bitangent."""

    colors: NDArray[np.float32]
    """(n, 3) linear factors on the base colour."""

    indices: NDArray[np.uint32]
    """(m, 3), counter-clockwise seen from outside, all below n."""

    material: Material = field(default_factory=Material)


@dataclass(frozen=True, slots=True)
class Mesh:
    """All that is drawn."""

    primitives: tuple[Primitive, ...]

    def vertices(self) -> NDArray[np.float64]:
        """(n, 3) float64: the corners that triangles use, of all primitives."""
        return np.concatenate([part.positions[np.unique(part.indices)] for part in self.primitives]).astype(np.float64)

    def merged(self) -> Triangles:
        """Positions (n, 3) and triangles (m, 3) of all primitives in one pair of arrays."""
        starts = np.cumsum([0, *(len(part.positions) for part in self.primitives)])
        indices = [part.indices + np.uint32(start) for part, start in zip(self.primitives, starts[:-1], strict=True)]
        return np.concatenate([part.positions for part in self.primitives]), np.concatenate(indices)

    def triangles(self) -> NDArray[np.float64]:
        """(m, 3, 3) float64: the corners of every triangle."""
        return np.concatenate([part.positions[part.indices] for part in self.primitives]).astype(np.float64)


def face_normals(triangles: NDArray[np.floating]) -> NDArray[np.float64]:
    """(m, 3) float64: normals of (m, 3, 3) triangles, as long as twice the triangle's area."""
    corners = np.asarray(triangles, dtype=np.float64)
    return np.asarray(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))


def tangent_frames(
    positions: NDArray[np.float32],
    normals: NDArray[np.float32],
    uvs: NDArray[np.float32],
    indices: NDArray[np.uint32],
) -> NDArray[np.float32]:
    """Tangents for a mesh that has none: (n, 4) float32, unit along +u, w = ±1 the sign of the bitangent.

    E. Lengyel, "Foundations of Game Engine Development 2", 7.5: the directions of +u and +v of each triangle, summed
    at its corners and made orthogonal to the normal. Where the texture gives no direction, any one across the
    normal is taken; the normal map is flat there or the mesh has none.
    """
    p, t = positions[indices].astype(np.float64), uvs[indices].astype(np.float64)
    edges, steps = p[:, 1:] - p[:, :1], t[:, 1:] - t[:, :1]
    area = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 1, 0] * steps[:, 0, 1]
    scale = np.where(np.abs(area) > 1e-20, np.sign(area), 0.0)[:, None]
    along_u = (edges[:, 0] * steps[:, 1, 1, None] - edges[:, 1] * steps[:, 0, 1, None]) * scale
    along_v = (edges[:, 1] * steps[:, 0, 0, None] - edges[:, 0] * steps[:, 1, 0, None]) * scale
    tangent, bitangent = (_sum_at_corners(values, indices, len(positions)) for values in (along_u, along_v))
    normal = normals.astype(np.float64)
    tangent -= normal * (normal * tangent).sum(1, keepdims=True)
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.where(np.abs(normal[:, :1]) < 0.9, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    across = np.cross(normal, helper)
    tangent = np.where(length > 1e-12, tangent / np.maximum(length, 1e-12), across)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    handedness = np.where((np.cross(normal, tangent) * bitangent).sum(1) < 0, -1.0, 1.0)
    return np.column_stack([tangent, handedness]).astype(np.float32)


def welded(positions: NDArray[np.float32], indices: NDArray[np.uint32]) -> Triangles:
    """The same (m, 3) triangles with vertices at one place (to 2⁻²⁰ of the largest extent) made one."""
    extent = max(float(np.ptp(positions, axis=0).max()), 1e-30)
    cells = np.round((positions.astype(np.float64) - positions.min(axis=0)) * (2.0**20 / extent)).astype(np.int64)
    keys = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    _, first, merged = np.unique(keys, return_index=True, return_inverse=True)
    return positions[first], merged[indices].astype(np.uint32)


def is_closed(primitive: Primitive) -> bool:
    """True if every edge has a triangle on both sides once vertices are welded by position.

    A closed surface hides its own inner side, so back faces need not be drawn, whatever ``doubleSided`` says.
    """
    _, corners = welded(primitive.positions, primitive.indices)
    corners = corners.astype(np.int64)
    heads, tails = corners.reshape(-1), np.roll(corners, -1, axis=1).reshape(-1)
    real = heads != tails
    count = len(primitive.positions)
    forward, backward = heads[real] * count + tails[real], tails[real] * count + heads[real]
    return bool(np.array_equal(np.sort(forward), np.sort(backward)))


def _sum_at_corners(values: NDArray[np.float64], indices: NDArray[np.uint32], count: int) -> NDArray[np.float64]:
    """(count, 3): each triangle's vector added to its three vertices."""
    flat = indices.reshape(-1)
    columns = [np.bincount(flat, np.repeat(values[:, axis], 3), count) for axis in range(3)]
    return np.stack(columns, axis=1)
