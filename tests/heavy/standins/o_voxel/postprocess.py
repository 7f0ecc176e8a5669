# ruff: noqa: ARG001 - signatures as they are there
"""``to_glb`` of TRELLIS.2, with metal and roughness."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trellis.utils.postprocessing_utils import textured


def to_glb(
    vertices: Any,
    faces: Any,
    attr_volume: Any,
    coords: Any,
    attr_layout: dict[str, slice],
    aabb: Any,
    voxel_size: Any = None,
    grid_size: Any = None,
    decimation_target: int = 1_000_000,
    texture_size: int = 2048,
    remesh: bool = False,  # noqa: FBT001
    remesh_band: float = 1,
    remesh_project: float = 0.9,
    verbose: bool = False,  # noqa: FBT001
    use_tqdm: bool = False,  # noqa: FBT001
) -> trimesh.Trimesh:
    assert np.asarray(aabb).shape == (2, 3)
    made = textured(
        tuple(vertices),
        baseColorTexture=Image.new("RGBA", (64, 64), (200, 60, 40, 255)),
        metallicRoughnessTexture=Image.new("RGB", (64, 64), (0, 77, 204)),
        metallicFactor=1.0,
        roughnessFactor=1.0,
        alphaMode="OPAQUE",
        doubleSided=True,
    )
    turned = made.vertices.copy()
    turned[:, 1], turned[:, 2] = made.vertices[:, 2], -made.vertices[:, 1]  # to Y up, as it is there
    made.vertices = turned
    return made
