"""The films' finished pictures, as Y, Cb and Cr planes: the lit subject over the shadowed plate, or over nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import moderngl
import numpy as np

from lensora.core.scene import Scene
from services.render.core.film import Planes
from services.render.core.gpu import Gpu
from services.render.core.ground import GroundLight
from services.render.core.lens import Lens
from services.render.core.plate import Plate
from services.render.core.view import Rectangle, around_ground, ground_matrix, union
from services.render.core.zoom import Zoom


class Layers:
    """What lies over the plate: the subject and its shadow, drawn by one pass into pictures of one kind."""

    def __init__(self, gpu: Gpu, scene: Scene, part: Rectangle, ground: GroundLight) -> None:
        """``part`` is where the subject may be seen."""
        self._gpu = gpu
        self._ground = ground
        self._corner = part[:2]
        self._size = size = (scene.plate.shape[1], scene.plate.shape[0])
        self._frame = gpu.canvas(size, dtype="f1")
        self._luma = gpu.canvas(size, components=1, dtype="f1").framebuffer
        half = (size[0] // 2, size[1] // 2)
        self._chroma = gpu.context.framebuffer([gpu.texture(half, 1, "f1") for _ in range(2)])
        self._to_ground = ground_matrix(scene.camera, size)
        self._changing = union(part, around_ground(scene.camera, ground.window, size))
        self._drawing: Rectangle = (0, 0, *size)
        self._shown: Zoom | None = None

    def _draw(self, name: str, subject: moderngl.Texture, zoom: Zoom, **plate: moderngl.Texture) -> Planes:
        """Run pass ``name`` over what changed since the last picture, and read the planes back."""
        self._drawing = self._changing if zoom == self._shown else (0, 0, *self._size)
        self._shown = zoom
        self._cover(
            name,
            self._frame.framebuffer,
            **plate,
            subject=subject,
            ground=self._ground.texture,
            subject_corner=self._corner,
            pixel_to_ground=self._to_ground @ np.linalg.inv(zoom.pixel_matrix()),
            window=self._ground.window,
        )
        self._cover("luma", self._luma, picture=self._frame.texture)
        self._cover("chroma", self._chroma, picture=self._frame.texture)
        columns, rows = self._size
        luma = np.frombuffer(self._luma.read(components=1, alignment=1), np.uint8)
        blue, red = (self._chroma.read(components=1, attachment=part, alignment=1) for part in (0, 1))
        half = (rows // 2, columns // 2)
        return Planes(
            luma.reshape(rows, columns),
            np.frombuffer(blue, np.uint8).reshape(half),
            np.frombuffer(red, np.uint8).reshape(half),
        )

    def _cover(self, name: str, target: moderngl.Framebuffer, **uniforms: Any) -> None:
        """Run a screen pass over the part of ``target`` that changed."""
        shrunk = self._size[0] // target.width
        left, top, width, height = self._drawing
        target.viewport = (left // shrunk, top // shrunk, width // shrunk, height // shrunk)
        self._gpu.set(name, **uniforms)
        self._gpu.cover(name, target)


class Picture(Layers):
    """Pictures of the subject in the scene; while the view stands still, only what can change is drawn anew."""

    def __init__(self, gpu: Gpu, scene: Scene, part: Rectangle, ground: GroundLight, lens: Lens) -> None:
        """``part`` is where the subject may be seen."""
        super().__init__(gpu, scene, part, ground)
        self._plate = Plate(gpu, scene, lens)

    def draw(self, subject: moderngl.Texture, zoom: Zoom) -> Planes:
        """Put ``subject`` (linear display RGB times coverage, coverage) over the plate and read the picture back."""
        return self._draw("composite", subject, zoom, plate=self._plate.draw(zoom))


class Cutout(Layers):
    """Pictures of the subject and its shadow alone, with alpha."""

    def draw(self, subject: moderngl.Texture, zoom: Zoom) -> Planes:
        """The same ``subject`` over nothing; the shadow is black with the alpha of what it takes."""
        planes = self._draw("cutout", subject, zoom)
        columns, rows = self._size
        pixels = np.frombuffer(self._frame.framebuffer.read(components=4, alignment=1), np.uint8)
        return replace(planes, alpha=np.ascontiguousarray(pixels.reshape(rows, columns, 4)[..., 3]))
