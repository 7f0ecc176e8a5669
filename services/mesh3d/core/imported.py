"""A mesh that another program made, brought to the contract's frame and material.

Its textures are handed on; what it lacks of base colour, metallic-roughness and normals is made from its factors.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from lensora.core.errors import Internal
from lensora.core.imaging import encode_png
from services.mesh3d.core.gltf import Material, Picture
from services.mesh3d.core.surface import Mesh, unit, vertex_normals
from services.mesh3d.core.texture import JPEG_QUALITY, ROUGHNESS

MAX_BYTES = 128 << 20
MAX_TRIANGLES = 400_000
"""What the renderer draws at most."""

_FLAT = (128, 128, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """One mesh with one material."""

    mesh: Mesh
    """In the file's units, Y up, without degenerate triangles."""

    uvs: NDArray[np.float64]
    """(n, 2) origin at the texture's top left corner, v down."""

    material: Material


class MeshUnusable(Internal):
    """The model gave something that is no mesh of ours to hand on."""

    default_reason = "MESH_UNUSABLE"


def read_glb(data: bytes) -> Imported:
    """Read a GLB of one material.

    Raises:
        MeshUnusable: it is none, or has too many triangles, none, or vertices that are no numbers.
    """
    if len(data) > MAX_BYTES:
        raise MeshUnusable(f"the model's mesh has {len(data):,} bytes; at most {MAX_BYTES:,}")
    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
        loaded = scene.to_mesh()
        points, faces = np.array(loaded.vertices, np.float64), np.array(loaded.faces, np.int64)
        uvs, surface = loaded.visual.uv, loaded.visual.material
    except Exception as error:  # a parser of a stranger's bytes raises what it likes
        raise MeshUnusable("the model's mesh cannot be read as glTF with a texture") from error
    if not 0 < len(faces) <= MAX_TRIANGLES:
        raise MeshUnusable(f"the model's mesh has {len(faces):,} triangles; 1 to {MAX_TRIANGLES:,} can be used")
    if uvs is None or len(uvs) != len(points) or not (np.isfinite(points).all() and np.isfinite(uvs).all()):
        raise MeshUnusable("the model's mesh has vertices or texture coordinates that are no numbers")
    faces = _with_area(points, faces)
    if not len(faces):
        raise MeshUnusable("the model's mesh has no triangle with an area")
    mesh = Mesh(points, faces, _smooth_normals(points, faces))
    coordinates = np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1).astype(np.float64)
    used, renumbered = np.unique(faces, return_inverse=True)
    kept = Mesh(mesh.vertices[used], renumbered.reshape(-1, 3).astype(np.int64), mesh.normals[used])
    return Imported(kept, coordinates[used], _material(surface))


def _with_area(points: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """The faces that still have an area once the file is in metres and in single precision."""
    extent = float(np.ptp(points, axis=0).max())
    corners = (points / max(extent, 1e-12)).astype(np.float32).astype(np.float64)[faces]
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.asarray(faces[doubled > 1e-12], np.int64)


def _smooth_normals(points: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """One normal a place: vertices that the texture's seams have split share theirs, so that no seam shows."""
    places, welded = np.unique(points, axis=0, return_inverse=True)
    welded = welded.reshape(-1)
    return unit(vertex_normals(places, welded[faces])[welded])


def _material(surface: Any) -> Material:
    colour, rough, normal = surface.baseColorTexture, surface.metallicRoughnessTexture, surface.normalTexture
    if colour is None:
        tint = np.asarray(_or(surface.baseColorFactor, (200, 200, 200, 255)), np.float64)[:3]
        base = np.full((4, 4, 3), np.round(tint * (255 if tint.max() <= 1 else 1)), np.uint8)
    else:
        base = np.asarray(colour.convert("RGB"))
    if rough is None:
        shine = (0, round(255 * _or(surface.roughnessFactor, ROUGHNESS)), round(255 * _or(surface.metallicFactor, 0.0)))
        texels = np.full((4, 4, 3), shine, np.uint8)
    else:
        factors = np.array([1.0, _or(surface.roughnessFactor, 1.0), _or(surface.metallicFactor, 1.0)])
        texels = np.round(np.asarray(rough.convert("RGB")) * factors).astype(np.uint8)
    bumps = np.full((4, 4, 3), _FLAT, np.uint8) if normal is None else np.asarray(normal.convert("RGB"))
    return Material(
        base_colour=_jpeg(base),
        metallic_roughness=Picture(encode_png(texels), "image/png"),
        normal=Picture(encode_png(bumps), "image/png"),
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _jpeg(texels: NDArray[np.uint8]) -> Picture:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(texels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise MeshUnusable(f"OpenCV could not encode a texture of {texels.shape}")
    return Picture(data.tobytes(), "image/jpeg")
