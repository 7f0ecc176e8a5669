"""The subject on the GPU: its buffers and textures, its shadow map, and the lit picture of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import moderngl
import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import KeyLight
from services.render.core.gpu import Gpu
from services.render.core.mesh import Material, Mesh, Primitive, Texture, is_closed
from services.render.core.placement import Placement

SHADOW_MAP_SIDE = 512


@dataclass(frozen=True, slots=True)
class _Part:
    """One primitive, uploaded."""

    shape: moderngl.VertexArray
    maps: dict[str, moderngl.Texture]
    factors: dict[str, tuple[float, ...]]
    cull: bool


class Surface:
    """Draws the parts of a placed mesh with their materials."""

    def __init__(self, gpu: Gpu, mesh: Mesh) -> None:
        self._gpu = gpu
        self._uploaded: dict[tuple[int, bool], moderngl.Texture] = {}
        self._flat = Texture(np.array([[[128, 128, 255]]], np.uint8))
        self._white = Texture(np.full((1, 1, 3), 255, np.uint8))
        self._parts = tuple(self._upload(part) for part in mesh.primitives)

    def draw(self, target: moderngl.Framebuffer, model: NDArray[np.float64], camera: NDArray[np.float64]) -> None:
        """Draw into ``target``; ``model`` is mesh to scene, ``camera`` scene to clip space, both (4, 4)."""
        context = self._gpu.context
        self._gpu.set("geometry", model=model, camera=camera)
        target.clear()
        target.use()
        context.enable(moderngl.DEPTH_TEST)
        for part in self._parts:
            (context.enable if part.cull else context.disable)(moderngl.CULL_FACE)
            self._gpu.set("geometry", **part.factors, **part.maps)
            part.shape.render(moderngl.TRIANGLES)
        context.disable(moderngl.DEPTH_TEST | moderngl.CULL_FACE)

    def _upload(self, part: Primitive) -> _Part:
        context = self._gpu.context
        formats = {"position": "3f", "normal": "3f", "tangent": "4f", "uv": "2f", "color": "3f"}
        arrays = (part.positions, part.normals, part.tangents, part.uvs, part.colors)
        content = [
            (context.buffer(np.ascontiguousarray(values)), form, name)
            for values, (name, form) in zip(arrays, formats.items(), strict=True)
        ]
        shape = context.vertex_array(self._gpu.programs["geometry"], content, index_buffer=context.buffer(part.indices))
        material = part.material
        maps = {
            "base_color_map": self._texture(material.base_color or self._white, srgb=True),
            "metallic_roughness_map": self._texture(material.metallic_roughness or self._white, srgb=False),
            "normal_map": self._texture(material.normal or self._flat, srgb=False),
        }
        return _Part(shape, maps, _factors(material), not material.double_sided or is_closed(part))

    def _texture(self, picture: Texture, *, srgb: bool) -> moderngl.Texture:
        key = (id(picture), srgb)
        if key not in self._uploaded:
            texture = self._gpu.picture(picture.pixels, srgb=srgb)
            texture.repeat_x, texture.repeat_y = picture.repeat
            texture.build_mipmaps()
            texture.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
            self._uploaded[key] = texture
        return self._uploaded[key]


class KeyShadow:
    """The shadow map: how far the key light sees into the turning subject."""

    def __init__(self, gpu: Gpu, light: KeyLight, placement: Placement, shape: Shape) -> None:
        self._gpu = gpu
        self._placed = placement.matrix
        self._radius = math.hypot(placement.radius, placement.height / 2)
        self.matrix = _light_matrix(light.direction, placement.height / 2, self._radius)
        side = SHADOW_MAP_SIDE
        self.texture: moderngl.Texture = gpu.context.depth_texture((side, side))
        self.texture.compare_func = "<="
        self.texture.filter = moderngl.LINEAR, moderngl.LINEAR
        self.texture.repeat_x = self.texture.repeat_y = False
        self._target = gpu.context.framebuffer(depth_attachment=self.texture)
        self._shape = shape.vertex_array(gpu, "depth")
        spread = math.tan(math.radians(light.angular_radius_degrees)) * 0.2
        texels = min(max(spread * side / 2, 1.5), 6.0)
        self.blur = (texels / side, (texels + 1.0) * 2 * self._radius / side)

    def draw(self, turn: NDArray[np.float64]) -> None:
        """Update ``texture`` for the subject turned by the (4, 4) matrix ``turn``."""
        context = self._gpu.context
        self._target.clear()
        self._target.use()
        context.enable(moderngl.DEPTH_TEST)
        to_clip = np.diag((2.0, 2.0, 2.0, 1.0))
        to_clip[:3, 3] = -1.0
        self._gpu.set("depth", light=to_clip @ self.matrix @ turn @ self._placed)
        self._shape.render(moderngl.TRIANGLES)
        context.disable(moderngl.DEPTH_TEST)


class Shape:
    """The bare triangles of a mesh, all primitives in one buffer: what shadows are cast with."""

    def __init__(self, gpu: Gpu, positions: NDArray[np.float32], indices: NDArray[np.uint32]) -> None:
        self._positions = gpu.context.buffer(np.ascontiguousarray(positions))
        self._indices = gpu.context.buffer(np.ascontiguousarray(indices))

    def vertex_array(self, gpu: Gpu, name: str) -> moderngl.VertexArray:
        """The triangles as input of pass ``name``."""
        content = [(self._positions, "3f", "position")]
        return gpu.context.vertex_array(gpu.programs[name], content, index_buffer=self._indices)


def _factors(material: Material) -> dict[str, tuple[float, ...]]:
    return {
        "base_color": material.base_color_factor,
        "factors": (material.metallic_factor, material.roughness_factor, material.normal_scale),
    }


def _light_matrix(direction: tuple[float, float, float], middle: float, radius: float) -> NDArray[np.float64]:
    """(4, 4) float64: scene to [0, 1]^3 of the shadow map, orthographic, around a sphere at height ``middle``."""
    axis = np.asarray(direction) / np.linalg.norm(direction)
    side = np.cross((0.0, 0.0, 1.0) if abs(axis[1]) > 0.9 else (0.0, 1.0, 0.0), axis)
    side /= np.linalg.norm(side)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([side, np.cross(axis, side), -axis]) / (2 * radius * 1.02)
    matrix[:3, 3] = 0.5 - matrix[:3, :3] @ (0.0, middle, 0.0)
    return matrix
