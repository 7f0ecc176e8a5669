# ruff: noqa: ARG001 - signatures as they are there
"""``to_glb``; see ``trellis``."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh
from PIL import Image


def textured(extents: tuple[float, float, float], **material: Any) -> trimesh.Trimesh:
    """A box with the bevel of a sphere, Z up, with a texture coordinate a vertex."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    mesh.apply_scale(0.5)
    mesh.vertices = np.clip(mesh.vertices, -0.4, 0.4) / 0.8 * extents
    uvs = mesh.vertices[:, [0, 2]] / np.asarray(extents)[[0, 2]] + 0.5
    surface = trimesh.visual.material.PBRMaterial(**material)
    return trimesh.Trimesh(
        mesh.vertices, mesh.faces, process=False, visual=trimesh.visual.TextureVisuals(uv=uvs, material=surface)
    )


def to_glb(
    app_rep: Any,
    mesh: Any,
    simplify: float = 0.95,
    fill_holes: bool = True,  # noqa: FBT001
    fill_holes_max_size: float = 0.04,
    texture_size: int = 1024,
    debug: bool = False,  # noqa: FBT001
    verbose: bool = True,  # noqa: FBT001
) -> trimesh.Trimesh:
    shades = np.random.normal(app_rep.colour, 3, (texture_size // 16, texture_size // 16, 3))  # noqa: NPY002 - unseeded
    texture = Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8))
    made = textured(mesh.extents, roughnessFactor=1.0, baseColorTexture=texture, baseColorFactor=[255, 255, 255, 255])
    made.vertices = made.vertices @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # to Y up, as it is there
    return made
