"""The subject's visible surface in its part of the picture, and the light on it."""

from __future__ import annotations

from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from services.render.core.gpu import SAMPLES, Gpu
from services.render.core.view import clip_matrix

_DEPTH_STEP = 2e-3
"""Of the depth range around the subject: samples of one pixel further apart than this belong to two surfaces."""


class GBuffer:
    """Multisampled material, normal and depth; ``shade`` turns them into light.

    Inner pixels are lit once and edge pixels once a sample, told apart by depth (see ``shaders/classify.frag.glsl``).
    """

    def __init__(self, gpu: Gpu, size: tuple[int, int], camera: NDArray[np.float64]) -> None:
        """``camera`` is the (4, 4) matrix from the scene to the clip space of this (width, height) part."""
        self._gpu = gpu
        context = gpu.context
        self._base = context.texture(size, 4, samples=SAMPLES)
        self._facing = context.texture(size, 4, samples=SAMPLES, dtype="f2")
        self._depth = context.depth_texture(size, samples=SAMPLES)
        self.framebuffer = context.framebuffer([self._base, self._facing], self._depth)
        classes = context.depth_texture(size)
        self._classes = context.framebuffer(depth_attachment=classes)
        self.lit = gpu.texture(size)
        self._lit = context.framebuffer([self.lit], classes)
        self._lit.depth_mask = False
        self._unproject = np.linalg.inv(camera) @ clip_matrix(size)

    def shade(self, light: dict[str, Any]) -> None:
        """Fill ``lit`` (display RGB, linear, times coverage; coverage); ``light`` is for ``lighting.glsl``."""
        gpu, context = self._gpu, self._gpu.context
        samples = {"facing": self._facing, "depth": self._depth}
        context.enable(moderngl.DEPTH_TEST)
        context.depth_func = "1"  # always
        gpu.set("classify", **samples, depth_step=_DEPTH_STEP)
        gpu.cover("classify", self._classes)
        context.depth_func = "=="
        self._lit.clear()
        for name, depth in (("shade_whole", 0.25), ("shade_edge", 0.5)):
            gpu.set(name, base=self._base, **samples, **light, unproject=self._unproject)
            gpu.cover(name, self._lit, depth)
        context.depth_func = "<"
        context.disable(moderngl.DEPTH_TEST)
