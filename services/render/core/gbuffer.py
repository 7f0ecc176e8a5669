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

    def __init__(self, gpu: Gpu, size: tuple[int, int]) -> None:
        """``size`` is (width, height) of the part of the picture."""
        self._gpu = gpu
        self._to_clip = clip_matrix(size)
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

    def clear(self) -> None:
        """Empty ``lit`` before the first ``shade`` of a picture."""
        self._lit.clear()

    def shade(self, camera: NDArray[np.float64], light: dict[str, Any], share: float) -> None:
        """Add ``share`` of what was drawn to ``lit`` (display RGB, linear, times coverage; coverage).

        ``camera`` is the (4, 4) matrix from the scene to clip space it was drawn with; ``light`` is for
        ``lighting.glsl``.
        """
        gpu, context = self._gpu, self._gpu.context
        unproject = np.linalg.inv(camera) @ self._to_clip
        samples = {"facing": self._facing, "depth": self._depth}
        context.enable(moderngl.DEPTH_TEST)
        context.depth_func = "1"  # always
        gpu.set("classify", **samples, depth_step=_DEPTH_STEP)
        gpu.cover("classify", self._classes)
        context.depth_func = "=="
        context.enable(moderngl.BLEND)
        context.blend_func = moderngl.ONE, moderngl.ONE
        for name, depth in (("shade_whole", 0.25), ("shade_edge", 0.5)):
            gpu.set(name, base=self._base, **samples, **light, unproject=unproject, share=share)
            gpu.cover(name, self._lit, depth)
        context.depth_func = "<"
        context.disable(moderngl.DEPTH_TEST | moderngl.BLEND)
