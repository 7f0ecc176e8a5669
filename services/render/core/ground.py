"""What the subject takes from the light of the ground: contact shadow and cast shadow, soft and free of noise.

The ground is a plane, so a light's shadow is the subject flattened along its direction. An ``occluder`` atlas holds
that for 32 directions at once. Averaged over the key light's disc, anew each frame, they are its shadow with the
right penumbra everywhere: sharp at the foot, soft far away. Over the whole sky they are the ambient part, baked once
as moments that turn with the subject (see ``shaders/ground_transfer.frag.glsl``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import moderngl
import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import KeyLight, Scene
from services.render.core.gpu import Gpu
from services.render.core.lighting import Ambient, cosine_directions, disc_directions
from services.render.core.placement import Placement
from services.render.core.surface import Shape
from services.render.core.view import Window

TILES, COLUMNS = 32, 8
"""As in ``shaders/ground_atlas.glsl``."""

TILE_SIDE = 320
"""Texels along a side of the ground textures."""

AMBIENT_ATLASES = 4
"""The sky is sampled in this many times ``TILES`` directions: one alone then stays below a step of 8 bits."""

LONGEST_SHADOW = 3.0
"""In subject heights; a lower light's shadow fades out there."""


class GroundLight:
    """Makes, frame by frame, the texture of the share of light that the ground keeps.

    ``texture`` is RGB, linear, 1 where nothing is blocked; it shows ``window`` of the ground.
    """

    def __init__(self, gpu: Gpu, scene: Scene, ambient: Ambient, placement: Placement, occluder: Occluder) -> None:
        self._gpu = gpu
        self._occluder = occluder
        self._ambient = ambient
        self._transfer_half = placement.radius + placement.height
        self.window = _window(scene.key_light, placement, self._transfer_half)
        self._disc = disc_directions(scene.key_light.direction, scene.key_light.angular_radius_degrees, TILES)
        self._key = np.asarray(scene.key_light.irradiance) * max(scene.key_light.direction[1], 0.0)
        self._blur = 2 * _penumbra(scene.key_light, placement.height) / math.sqrt(TILES)
        self._hidden = gpu.mipmapped_canvas((TILE_SIDE, TILE_SIDE), components=2)
        self._target = gpu.mipmapped_canvas((TILE_SIDE, TILE_SIDE))
        self.texture = self._target.texture
        self._moments = [gpu.texture((TILE_SIDE, TILE_SIDE), dtype="f4") for _ in range(3)]
        directions = cosine_directions(AMBIENT_ATLASES * TILES)
        sky = math.pi / len(directions) * _moment_weights_of(directions, ambient.radiance)
        self._total = self._key + np.maximum(sky, 1e-6)

    def bake(self, check: Callable[[], None]) -> None:
        """Fill the moments of blocked ambient light, for the subject unturned; calls ``check`` between steps."""
        context = self._gpu.context
        target = context.framebuffer(self._moments)
        target.clear()
        directions = cosine_directions(AMBIENT_ATLASES * TILES)
        for part in range(AMBIENT_ATLASES):
            check()
            chosen = directions[part::AMBIENT_ATLASES]
            atlas = self._occluder.draw(np.eye(4), (0.0, 0.0, self._transfer_half, self._transfer_half), chosen)
            self._gpu.set("ground_transfer", blocked=atlas, directions=chosen, weight=math.pi / len(directions))
            context.enable(moderngl.BLEND)
            context.blend_func = moderngl.ONE, moderngl.ONE
            self._gpu.cover("ground_transfer", target)
            context.disable(moderngl.BLEND)

    def draw(self, turn: NDArray[np.float64]) -> None:
        """Update ``texture`` for the subject turned by the (4, 4) matrix ``turn`` about the Y axis."""
        atlas = self._occluder.draw(turn, self.window, self._disc)
        rotation = turn[:3, :3]
        frame = np.eye(4)
        frame[:3, :3] = rotation
        squares, products, linears = self._moments
        self._gpu.set("ground_key", blocked=atlas)
        self._gpu.cover("ground_key", self._hidden.framebuffer)
        self._hidden.texture.build_mipmaps()
        self._gpu.set(
            "ground_light",
            shadow=self._hidden.texture,
            squares=squares,
            products=products,
            linears=linears,
            window=self.window,
            blur=self._blur,
            transfer_half=self._transfer_half,
            unturn=rotation.T[np.ix_((0, 2), (0, 2))],
            ambient=_moment_weights(frame.T @ self._ambient.radiance @ frame),
            key=self._key,
            total=self._total,
        )
        self._gpu.cover("ground_light", self._target.framebuffer)
        self.texture.build_mipmaps()


class Occluder:
    """Draws the atlas of the flattened subject."""

    def __init__(self, gpu: Gpu, placement: Placement, shape: Shape) -> None:
        self._gpu = gpu
        self._placed = placement.matrix
        self._height = placement.height
        self._shape = shape.vertex_array(gpu, "occluder")
        rows = TILES // COLUMNS
        self._target = gpu.canvas((TILE_SIDE * COLUMNS, TILE_SIDE * rows), components=2, dtype="f1")
        index = np.arange(TILES)
        # the R2 sequence (M. Roberts, 2018) spreads the sub-texel shifts evenly
        self._offsets = (np.stack([index * 0.7548776662, index * 0.5698402909], axis=1) % 1.0 - 0.5) / TILE_SIDE

    def draw(self, turn: NDArray[np.float64], window: Window, directions: NDArray[np.float64]) -> moderngl.Texture:
        """The atlas for (``TILES``, 3) light directions; 1 where the turned subject blocks the ground of ``window``."""
        context = self._gpu.context
        self._target.framebuffer.clear()
        self._target.framebuffer.use()
        self._gpu.set(
            "occluder",
            model=turn @ self._placed,
            window=window,
            slopes=directions[:, (0, 2)] / directions[:, 1:2],
            offsets=self._offsets,
            tallest=self._height,
        )
        for plane in range(4):
            context.enable_direct(_CLIP_DISTANCE + plane)
        self._shape.render(moderngl.TRIANGLES, instances=TILES)
        for plane in range(4):
            context.disable_direct(_CLIP_DISTANCE + plane)
        return self._target.texture


def _penumbra(light: KeyLight, height: float) -> float:
    """Radius of the blur of the shadow of a point ``height`` metres up, metres."""
    return height * math.tan(math.radians(light.angular_radius_degrees)) / max(light.direction[1], _LOWEST)


def _window(light: KeyLight, placement: Placement, around: float) -> Window:
    """The ground that holds the circle of ``around`` metres about the axis, and the key light's shadow."""
    slope = np.array(light.direction)[[0, 2]] / max(light.direction[1], _LOWEST)
    slope *= min(1.0, LONGEST_SHADOW / max(float(np.linalg.norm(slope)), 1e-6))
    tip = -slope * placement.height
    reach = placement.radius + _penumbra(light, placement.height)
    low, high = np.minimum(-around, tip - reach), np.maximum(around, tip + reach)
    center, half = (low + high) / 2, (high - low) / 2 * 1.05
    return float(center[0]), float(center[1]), float(half[0]), float(half[1])


_LOWEST = 0.05  # sine of the lowest light that is told from the horizon
_CLIP_DISTANCE = 0x3000  # GL_CLIP_DISTANCE0


def _moment_weights(forms: NDArray[np.float64]) -> NDArray[np.float64]:
    """(9, 4): what each moment of the blocked directions counts for under (3, 4, 4) radiance forms."""
    rows = []
    for m in forms:
        rows += [
            (m[0, 0], m[1, 1], m[2, 2], m[3, 3]),
            (2 * m[0, 1], 2 * m[0, 2], 2 * m[1, 2], 0.0),
            (2 * m[0, 3], 2 * m[1, 3], 2 * m[2, 3], 0.0),
        ]
    return np.array(rows)


def _moment_weights_of(directions: NDArray[np.float64], forms: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,): radiance of the forms, summed over (n, 3) directions."""
    points = np.column_stack([directions, np.ones(len(directions))])
    return np.asarray(np.einsum("ni,cij,nj->c", points, forms, points))
