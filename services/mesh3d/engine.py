"""What a mesh3d engine takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Engine
from lensora.core.geometry import Verdict


@dataclass(frozen=True, slots=True)
class ReconstructRequest:
    """A cut-out to give volume to."""

    cutout: NDArray[np.uint8]
    """(h, w, 4) 8-bit sRGB, straight alpha."""

    seed: int = 0


@dataclass(frozen=True, slots=True)
class ReconstructResult:
    """The mesh, and what was measured on it."""

    glb: bytes
    """glTF 2.0 binary: one mesh, right-handed, Y up, front +Z, the longest side of its axis-aligned box 1 metre, foot
    at y = 0, footprint centred on the Y axis; metallic-roughness PBR with base colour (sRGB), metallic-roughness and
    tangent-space normal textures; watertight once vertices are welded by position; no degenerate triangle."""

    thin_axis_ratio: float
    """Shortest over longest side of the minimum-volume oriented box."""

    verdict: Verdict
    watertight: bool
    triangles: int
    method: str
    """How the shape was found, e.g. ``cuboid``, ``lathe`` or ``inflation``."""


class Mesh3dEngine(Engine[ReconstructRequest, ReconstructResult], Protocol):
    """Turns a cut-out into a textured solid.

    ``run`` raises ``FailedPrecondition`` with reason ``NO_SUBJECT`` for a cut-out with no usable silhouette.
    """
