"""The OpenGL context, its programs, and what every pass needs of them.

All pictures are stored top row first: the camera's projection turns y down, so ``gl_FragCoord`` counts rows from the
top and nothing is flipped on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

SAMPLES = 4
"""Of multisampling: what every OpenGL 4 has, Mesa's software rasteriser included; as in the shaders."""

PASSES = {
    "prefilter": "screen",
    "occluder": "occluder",
    "ground_transfer": "screen",
    "ground_key": "screen",
    "ground_light": "screen",
    "depth": "depth",
    "geometry": "geometry",
    "classify": "screen",
    "shade_whole": "screen",
    "shade_edge": "screen",
    "defocus": "screen",
    "magnify": "screen",
    "composite": "screen",
    "cutout": "screen",
    "luma": "screen",
    "chroma": "screen",
}
"""Fragment shader of each pass, and the vertex shader before it."""

_SHADERS = Path(__file__).parent / "shaders"
_SRGB8 = 0x8C41  # GL_SRGB8: the sampler decodes to linear before it filters


@dataclass(frozen=True, slots=True)
class Canvas:
    """A texture and the framebuffer that draws into it."""

    texture: moderngl.Texture
    framebuffer: moderngl.Framebuffer


class Gpu:
    """A headless context with every program compiled; belongs to the thread that made it."""

    def __init__(self) -> None:
        create: Any = moderngl.create_context  # its stubs know no backend by name
        self.context: moderngl.Context = create(standalone=True, backend="egl", require=450)
        # objects of a run are freed by collect(), on this thread, and not wherever Python drops the last reference
        self.context.gc_mode = "context_gc"
        self.context.front_face = "cw"  # y points down
        for shared in _SHADERS.glob("*.glsl"):
            if shared.suffixes == [".glsl"]:
                self.context.includes[shared.name] = shared.read_text()
        self.programs = {name: self._compile(vertex, name) for name, vertex in PASSES.items()}
        self._screens = {
            name: self.context.vertex_array(self.programs[name], [])
            for name, vertex in PASSES.items()
            if vertex == "screen"
        }

    def _compile(self, vertex: str, fragment: str) -> moderngl.Program:
        return self.context.program(
            vertex_shader=(_SHADERS / f"{vertex}.vert.glsl").read_text(),
            fragment_shader=(_SHADERS / f"{fragment}.frag.glsl").read_text(),
        )

    def set(self, name: str, **values: Any) -> None:
        """Set uniforms of pass ``name``: textures, numbers, vectors, (..., n, n) matrices, or arrays of them.

        Textures take the units 0, 1, … in the order given: give all of a pass's textures in one call.
        """
        unit = 0
        for key, value in values.items():
            uniform: Any = self.programs[name][key]
            if isinstance(value, moderngl.Texture):
                value.use(unit)
                uniform.value = unit
                unit += 1
            else:
                array = np.asarray(value, dtype=np.float32)
                uniform.write((array.swapaxes(-1, -2) if uniform.matrix else array).tobytes())

    def cover(self, name: str, target: moderngl.Framebuffer, depth: float = 0.0) -> None:
        """Run screen pass ``name`` once for every pixel of ``target``'s viewport, at ``depth`` in [0, 1]."""
        target.use()
        self.set(name, screen_depth=depth)
        self._screens[name].render(moderngl.TRIANGLES, vertices=3)

    def texture(self, size: tuple[int, int], components: int = 4, dtype: str = "f2") -> moderngl.Texture:
        """An empty (width, height) texture, filtered linearly and clamped at its edges."""
        texture = self.context.texture(size, components, dtype=dtype)
        texture.repeat_x = texture.repeat_y = False
        texture.filter = moderngl.LINEAR, moderngl.LINEAR
        return texture

    def canvas(self, size: tuple[int, int], components: int = 4, dtype: str = "f2") -> Canvas:
        """An empty texture to draw into."""
        texture = self.texture(size, components, dtype)
        return Canvas(texture, self.context.framebuffer([texture]))

    def mipmapped_canvas(self, size: tuple[int, int], components: int = 4) -> Canvas:
        """The same with mip levels; call ``build_mipmaps`` on its texture after drawing."""
        canvas = self.canvas(size, components)
        canvas.texture.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
        return canvas

    def picture(self, pixels: NDArray[np.uint8], *, srgb: bool) -> moderngl.Texture:
        """A texture of (h, w, 3) uint8 ``pixels``; with ``srgb`` its samples are linear."""
        size = (pixels.shape[1], pixels.shape[0])
        data = np.ascontiguousarray(pixels)
        if srgb:
            return self.context.texture(size, 3, data, alignment=1, internal_format=_SRGB8)
        return self.context.texture(size, 3, data, alignment=1)

    def collect(self) -> None:
        """Free every object that Python no longer refers to."""
        self.context.gc()
