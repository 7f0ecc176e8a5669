"""The plate as the film's camera sees it: out of focus where the lens is open, magnified where the view closes in."""

from __future__ import annotations

import moderngl
import numpy as np

from lensora.core.scene import Scene
from services.render.core.gpu import Gpu
from services.render.core.lens import Lens
from services.render.core.view import ground_matrix
from services.render.core.zoom import Zoom


class Plate:
    """The empty scene, linear, one texel a pixel of the film."""

    def __init__(self, gpu: Gpu, scene: Scene, lens: Lens) -> None:
        self._gpu = gpu
        self._whole = gpu.picture(scene.plate, srgb=True)
        self._magnified = gpu.canvas(self._whole.size)
        if lens.radius > 0:
            self._whole = self._defocused(scene, lens)

    def draw(self, zoom: Zoom) -> moderngl.Texture:
        """The part of the plate that ``zoom`` shows."""
        if zoom.factor == 1.0:
            return self._whole
        self._gpu.set("magnify", plate=self._whole, pixel_to_plate=np.linalg.inv(zoom.pixel_matrix()))
        self._gpu.cover("magnify", self._magnified.framebuffer)
        return self._magnified.texture

    def _defocused(self, scene: Scene, lens: Lens) -> moderngl.Texture:
        """The plate through ``lens``; the scene's own camera may have blurred it already, this comes on top."""
        source, size = self._whole, self._whole.size
        source.build_mipmaps()
        source.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
        source.repeat_x = source.repeat_y = False
        canvas = self._gpu.canvas(size)
        self._gpu.set(
            "defocus",
            plate=source,
            pixel_to_ground=ground_matrix(scene.camera, size),
            blur=lens.blur(scene.camera, size[1]),
            focus=lens.focus,
        )
        self._gpu.cover("defocus", canvas.framebuffer)
        return canvas.texture
