"""The order of the passes that make one frame.

::

    occluder ─ ground_key ─ ground_light ─┐
    depth ────────────────────────────────┤
    geometry ─ classify ──────────────────┼─ shade_whole, shade_edge ─ composite ─ luma, chroma
    prefilter (once) ─────────────────────┘
    occluder ─ ground_transfer (once)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lensora.core.scene import Scene
from services.render.core.environment import reflections
from services.render.core.film import Planes
from services.render.core.gbuffer import GBuffer
from services.render.core.gpu import Gpu
from services.render.core.ground import GroundLight, Occluder
from services.render.core.lighting import ambient_light
from services.render.core.mesh import Mesh, Triangles
from services.render.core.orient import yaw_matrix
from services.render.core.picture import Picture
from services.render.core.placement import Placement
from services.render.core.surface import KeyShadow, Shape, Surface
from services.render.core.view import around, camera_matrix, crop_matrix


class Stage:
    """A mesh placed in a scene, lit, ready to be turned and photographed."""

    def __init__(
        self, gpu: Gpu, mesh: Mesh, coarse: Triangles, scene: Scene, placement: Placement, check: Callable[[], None]
    ) -> None:
        """Upload everything and bake what does not change; ``check`` is called between the steps.

        ``coarse`` is a stand-in of ``mesh`` in few triangles that casts the shadow on the ground.
        """
        self._gpu = gpu
        self._scene = scene
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
        size = (scene.plate.shape[1], scene.plate.shape[0])
        outline = placement.outline()
        part = around(scene.camera.project(outline, *size), size, border=4)
        self._camera = crop_matrix(part, size) @ camera_matrix(scene.camera, outline, size)
        self._gbuffer = GBuffer(gpu, part[2:], self._camera)
        self._picture = Picture(gpu, scene, part, self._ground)

    def draw(self, yaw_degrees: float) -> Planes:
        """The picture with the subject turned by ``yaw_degrees`` about +Y from its front."""
        turn = yaw_matrix(yaw_degrees)
        self._ground.draw(turn)
        self._shadow.draw(turn)
        self._surface.draw(self._gbuffer.framebuffer, turn @ self._placement.matrix, self._camera)
        self._gbuffer.shade(self._light())
        return self._picture.draw(self._gbuffer.lit)

    def _light(self) -> dict[str, Any]:
        """Everything that ``shaders/lighting.glsl`` asks for."""
        light = self._scene.key_light
        return {
            "reflections": self._reflections,
            "ground": self._ground.texture,
            "key_depth": self._shadow.texture,
            "eye": self._scene.camera.position,
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
