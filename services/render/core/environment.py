"""Image-based light: what every point of the subject receives from the scene around it."""

from __future__ import annotations

import moderngl
import numpy as np
from numpy.typing import NDArray

from services.render.core.gpu import Gpu

TILE, TILES = 256, 8
"""As in ``shaders/reflection_atlas.glsl``."""

_BRIGHTEST = 30_000.0
"""Half floats end at 65504; sums of texels while filtering must stay below."""


def reflections(gpu: Gpu, environment: NDArray[np.float32]) -> moderngl.Texture:
    """The environment as surfaces of each roughness mirror it.

    Args:
        gpu: where to draw.
        environment: (h, 2h, 3) float32 linear radiance, laid out as ``Scene.environment``.

    Returns:
        Half-float texture of ``TILES`` octahedral tiles one below the other, roughness 0 at the top to 1.
    """
    rows, columns = environment.shape[:2]
    data = np.minimum(environment, _BRIGHTEST).astype(np.float16)
    source = gpu.context.texture((columns, rows), 3, np.ascontiguousarray(data), dtype="f2", alignment=1)
    source.build_mipmaps()
    source.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
    source.repeat_y = False
    atlas = gpu.canvas((TILE, TILE * TILES))
    gpu.set("prefilter", environment=source)
    gpu.cover("prefilter", atlas.framebuffer)
    return atlas.texture
