"""One finished picture of the film: the lit subject over the shadowed plate, as Y, Cb and Cr planes."""

from __future__ import annotations

import math
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Camera, Scene
from services.render.core.film import Planes
from services.render.core.gpu import SAMPLES, Gpu
from services.render.core.ground import GroundLight
from services.render.core.placement import Placement

Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


class Picture:
    """Composites frames; the camera and the plate stand still, so only what can change is drawn anew."""

    def __init__(self, gpu: Gpu, scene: Scene, placement: Placement, ground: GroundLight) -> None:
        self._gpu = gpu
        self._ground = ground
        self._rows, self._columns = scene.plate.shape[:2]
        size = (self._columns, self._rows)
        self._plate = gpu.picture_texture(scene.plate, srgb=True)
        self._corner = _bounding_rectangle(scene.camera.project(placement.outline(), *size), size, border=4)
        self.camera_matrix = _crop(self._corner, size) @ camera_matrix(scene.camera, placement, size)
        box = self._corner[2:]
        self._base, self._facing = gpu.samples_texture(box, "f1"), gpu.samples_texture(box, "f2")
        self._depth = gpu.context.depth_texture(box, samples=SAMPLES)
        self.geometry = gpu.context.framebuffer([self._base, self._facing], self._depth)
        kinds = gpu.context.depth_texture(box)
        self._classes = gpu.context.framebuffer(depth_attachment=kinds)
        self._subject = gpu.plain_texture(box)
        self._lit = gpu.context.framebuffer([self._subject], kinds)
        self._unproject = np.linalg.inv(self.camera_matrix) @ _from_pixels(box)
        self._frame = gpu.canvas(size, dtype="f1")
        self._luma = gpu.canvas(size, components=1, dtype="f1")
        half = (self._columns // 2, self._rows // 2)
        self._chroma = gpu.context.framebuffer([gpu.plain_texture(half, 1, "f1") for _ in range(2)])
        self._changing: Rectangle = (0, 0, *size)
        self._next_changing = _union(self._corner, _ground_rectangle(scene.camera, ground.window, size))
        self._to_ground = _pixel_to_ground(scene.camera, size)

    def finish(self, **light: Any) -> Planes:
        """Light what was drawn into ``geometry`` (``light`` is for ``shade_*``), put it over the plate, read it back."""
        self._shade(light)
        frame = self._frame.color_attachments[0]
        self._cover(
            "composite",
            self._frame,
            plate=self._plate,
            subject=self._subject,
            ground=self._ground.texture,
            subject_corner=self._corner[:2],
            pixel_to_ground=self._to_ground,
            window=self._ground.window,
        )
        self._cover("luma", self._luma, picture=frame)
        self._cover("chroma", self._chroma, picture=frame)
        self._changing = self._next_changing
        rows, columns = self._rows, self._columns
        luma = np.frombuffer(self._luma.read(components=1, alignment=1), np.uint8)
        blue, red = (
            np.frombuffer(self._chroma.read(components=1, attachment=part, alignment=1), np.uint8) for part in (0, 1)
        )
        half = (rows // 2, columns // 2)
        return Planes(luma.reshape(rows, columns), blue.reshape(half), red.reshape(half))

    def _shade(self, light: dict[str, Any]) -> None:
        gpu, context = self._gpu, self._gpu.context
        samples = {"facing": self._facing, "depth": self._depth}
        context.enable(moderngl.DEPTH_TEST)
        context.depth_func = "1"
        gpu.set("classify", **samples, depth_step=2e-3)
        gpu.cover("classify", self._classes)
        context.depth_func = "=="
        self._lit.depth_mask = False
        self._lit.clear()
        for name, depth in (("shade_whole", 0.25), ("shade_edge", 0.5)):
            gpu.set(name, base=self._base, **samples, **light, unproject=self._unproject)
            gpu.cover(name, self._lit, depth)
        context.depth_func = "<"
        context.disable(moderngl.DEPTH_TEST)

    def _cover(self, name: str, target: moderngl.Framebuffer, **uniforms: Any) -> None:
        """Run a screen pass over the part of ``target`` that changes."""
        shrunk = self._columns // target.width
        left, top, width, height = self._changing
        target.viewport = (left // shrunk, top // shrunk, width // shrunk, height // shrunk)
        self._gpu.set(name, **uniforms)
        self._gpu.cover(name, target)


def camera_matrix(camera: Camera, placement: Placement, size: tuple[int, int]) -> NDArray[np.float64]:
    """(4, 4) float64: scene to clip space of a (width, height) picture, y down, near and far close to the subject."""
    view = camera.view_matrix()
    depths = -(placement.outline() @ view[2, :3] + view[2, 3])
    near = max(0.9 * float(depths.min()), 1e-3)
    projection = camera.projection_matrix(size[0] / size[1], near, max(1.1 * float(depths.max()), 2 * near))
    return np.asarray(np.diag((1.0, -1.0, 1.0, 1.0)) @ projection @ view)


def _from_pixels(size: tuple[int, int]) -> NDArray[np.float64]:
    """(4, 4) float64: pixel, row from the top and depth in [0, 1] to clip space, y down."""
    matrix = np.diag((2.0 / size[0], 2.0 / size[1], 2.0, 1.0))
    matrix[:3, 3] = -1.0
    return matrix


def _pixel_to_ground(camera: Camera, size: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3) float64: (column, row, 1) to (x, z, 1) · depth on the plane y = 0; depth > 0 in front of the camera."""
    width, height = size
    view = camera.view_matrix()
    focal = height / 2 / math.tan(math.radians(camera.vertical_fov_degrees) / 2)
    ground_to_eye = view[:3][:, (0, 2, 3)]
    eye_to_pixel = np.array([[focal, 0.0, -width / 2], [0.0, -focal, -height / 2], [0.0, 0.0, -1.0]])
    return np.asarray(np.linalg.inv(eye_to_pixel @ ground_to_eye))


def _crop(corner: Rectangle, size: tuple[int, int]) -> NDArray[np.float64]:
    """(4, 4) float64: clip space of the whole picture to that of a rectangle of it, y down in both."""
    left, top, width, height = corner
    matrix = np.eye(4)
    matrix[0, 0], matrix[1, 1] = size[0] / width, size[1] / height
    matrix[0, 3] = (size[0] - 2 * left) / width - 1
    matrix[1, 3] = (size[1] - 2 * top) / height - 1
    return matrix


def _bounding_rectangle(points: NDArray[np.float64], size: tuple[int, int], border: int) -> Rectangle:
    """The even rectangle around (n, 2) pixel positions and a border, inside the picture."""
    limits = np.array(size)
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - border, 0, limits - 2) // 2 * 2
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + border + 1, low + 2, limits) // 2 * 2
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _ground_rectangle(camera: Camera, window: tuple[float, float, float], size: tuple[int, int]) -> Rectangle:
    """The part of the picture that may show a square of ground; all of it where the square passes the camera."""
    x, z, half = window
    corners = np.array([(x + i * half, 0.0, z + j * half) for i in (-1, 1) for j in (-1, 1)])
    view = camera.view_matrix()
    if (corners @ view[2, :3] + view[2, 3] > -1e-2).any():
        return 0, 0, *size
    return _bounding_rectangle(camera.project(corners, *size), size, border=2)


def _union(one: Rectangle, other: Rectangle) -> Rectangle:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top
