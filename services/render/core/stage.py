"""The order of the passes that make one frame.

::

    occluder ─ ground_key ─ ground_light ─┐
    depth ────────────────────────────────┤
    geometry ─ classify ──────────────────┼─ shade_whole, shade_edge ─ composite, cutout ─ luma, chroma
    prefilter (once) ─────────────────────┘                          │
    occluder ─ ground_transfer (once)        defocus (once) ─ magnify┘

``geometry`` to ``shade_edge`` run once for each sample of the lens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Scene
from services.render.core.environment import reflections
from services.render.core.film import Planes
from services.render.core.gbuffer import GBuffer
from services.render.core.gpu import Gpu
from services.render.core.ground import GroundLight, Occluder
from services.render.core.lighting import ambient_light
from services.render.core.mesh import Mesh, Triangles
from services.render.core.moves import Move
from services.render.core.orient import yaw_matrix
from services.render.core.picture import Cutout, Picture
from services.render.core.placement import Placement
from services.render.core.surface import KeyShadow, Shape, Surface
from services.render.core.view import camera_matrix, crop_matrix
from services.render.core.zoom import Zoom


class Stage:
    """A mesh placed in a scene, lit, ready to be turned and photographed."""

    def __init__(
        self,
        gpu: Gpu,
        mesh: Mesh,
        coarse: Triangles,
        scene: Scene,
        placement: Placement,
        move: Move,
        check: Callable[[], None],
        *,
        alpha: bool = False,
    ) -> None:
        """Upload everything and bake what does not change; ``check`` is called between the steps.

        ``coarse`` is a stand-in of ``mesh`` in few triangles that casts the shadow on the ground. With ``alpha``
        the frames are also drawn over nothing.
        """
        self._scene = scene
        self._move = move
        self._check = check
        self._placement = placement
        self._ambient = ambient_light(scene.environment)
        self._reflections = reflections(gpu, scene.environment)
        check()
        occluder = Occluder(gpu, placement, Shape(gpu, *coarse))
        self._ground = GroundLight(gpu, scene, self._ambient, placement, occluder)
        self._ground.bake(check)
        self._shadow = KeyShadow(gpu, scene.key_light, placement, Shape(gpu, *mesh.merged()))
        self._surface = Surface(gpu, mesh)
        check()
        self._size = size = (scene.plate.shape[1], scene.plate.shape[0])
        blur = math.ceil(move.closest.factor * move.lens.widest_blur(scene.camera, move.outline, size[1]))
        self._part = move.closest.around(scene.camera.project(move.outline, *size), size, border=4 + blur)
        self._gbuffer = GBuffer(gpu, self._part[2:])
        self._picture = Picture(gpu, scene, self._part, self._ground, move.lens)
        self._cutout = Cutout(gpu, scene, self._part, self._ground) if alpha else None
        self._turned: float | None = None

    def draw(self, number: int) -> tuple[Planes, ...]:
        """Frame ``number`` of the move: in the scene, and with ``alpha`` also over nothing."""
        yaw, zoom = float(self._move.arc.yaws_degrees[number]), self._move.closest.at(self._move.nearness[number])
        turn = yaw_matrix(yaw)
        if yaw != self._turned:
            self._ground.draw(turn)
            self._shadow.draw(turn)
            self._turned = yaw
        self._draw_subject(turn @ self._placement.matrix, zoom)
        picture = self._picture.draw(self._gbuffer.lit, zoom)
        return (picture,) if self._cutout is None else (picture, self._cutout.draw(self._gbuffer.lit, zoom))

    def _draw_subject(self, model: NDArray[np.float64], zoom: Zoom) -> None:
        """Fill the G-buffer's ``lit`` with the mean of what each sample of the lens sees."""
        lens, camera = self._move.lens, self._scene.camera
        magnify = crop_matrix(self._part, self._size) @ zoom.clip_matrix(self._size)
        right_and_up = camera.view_matrix()[:2, :3]
        offsets = lens.offsets()
        self._gbuffer.clear()
        for offset in offsets:
            self._check()
            matrix = magnify @ camera_matrix(camera, self._move.outline, self._size, lens.shear(offset))
            self._surface.draw(self._gbuffer.framebuffer, model, matrix)
            light = self._light() | {"eye": camera.position + offset @ right_and_up}
            self._gbuffer.shade(matrix, light, 1 / len(offsets))

    def _light(self) -> dict[str, Any]:
        """All that ``shaders/lighting.glsl`` asks for but the camera."""
        light = self._scene.key_light
        return {
            "reflections": self._reflections,
            "ground": self._ground.texture,
            "key_depth": self._shadow.texture,
            "irradiance": self._ambient.irradiance,
            "ground_radiance": self._ambient.ground_radiance,
            "window": self._ground.window,
            "key_direction": light.direction,
            "key_irradiance": light.irradiance,
            # a disc widens the highlight about as a rougher surface would: Karis 2013, "Area Lights"
            "key_spread": math.tan(math.radians(light.angular_radius_degrees)) / 2,
            "key_matrix": self._shadow.matrix,
            "key_blur": self._shadow.blur,
            "exposure": self._scene.exposure,
        }
