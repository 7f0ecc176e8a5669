"""Films by rasterising: physically based light from the scene, drawn headless by OpenGL, encoded by x264.

Runs on any OpenGL 4.5 that EGL offers without a display: a GPU, or Mesa's software rasteriser on a CPU.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from lensora.core.engines import Context
from lensora.core.errors import InvalidArgument
from lensora.core.geometry import thin_axis_ratio
from services.render.core.arc import footprint_ratio, is_slab
from services.render.core.film import MP4, WEBM_ALPHA, FilmWriter
from services.render.core.glb import load_glb
from services.render.core.gpu import Gpu
from services.render.core.moves import camera_move
from services.render.core.orient import front_yaw_degrees
from services.render.core.placement import place
from services.render.core.simplify import simplified
from services.render.core.stage import Stage
from services.render.engine import FRAMES_PER_SECOND, RenderRequest, RenderResult
from services.render.settings import Settings

MEASURED_TRIANGLES = 20_000
"""Of the mesh whose oriented box is measured: all of what our own engines make, at most two seconds of any other."""

COARSE_TRIANGLES = 1000
"""Of the stand-in that casts the ground's shadow: its error stays within a texel of the ground's texture."""


def create(settings: Settings) -> EmbeddedEngine:
    """Make the OpenGL context and compile the shaders; call ``run`` on the same thread."""
    os.environ["LP_NUM_THREADS"] = str(settings.engine_threads)  # Mesa's software rasteriser asks nowhere else
    return EmbeddedEngine()


class EmbeddedEngine:
    """``RenderEngine`` on moderngl and PyAV; one run at a time, on the thread that created it."""

    name = "embedded"
    version = "1"

    def __init__(self) -> None:
        self._gpu = Gpu()

    def run(self, request: RenderRequest, context: Context) -> RenderResult:
        """See ``RenderEngine``."""
        _check(request)
        try:
            return self._film(request, context)
        finally:
            self._gpu.collect()

    def _film(self, request: RenderRequest, context: Context) -> RenderResult:
        mesh = load_glb(request.glb)
        context.check()
        vertices = mesh.vertices()
        yaw = front_yaw_degrees(mesh.triangles())
        frames = round(FRAMES_PER_SECOND * request.duration_s)
        context.check()
        measured = simplified(*mesh.merged(), MEASURED_TRIANGLES)
        coarse = simplified(*measured, COARSE_TRIANGLES)
        context.check()
        slab = is_slab(thin_axis_ratio(measured[0]), footprint_ratio(vertices))
        context.check()
        placement = place(vertices, request.scene, yaw)
        move = camera_move(request.preset, frames, request.scene, placement, vertices, slab=slab)
        stage = Stage(self._gpu, mesh, coarse, request.scene, placement, move, context.check, alpha=request.alpha)
        with ExitStack() as stack:
            formats = (MP4, WEBM_ALPHA) if request.alpha else (MP4,)
            films = [stack.enter_context(FilmWriter(request.width, request.height, form)) for form in formats]
            for number in range(frames):
                for film, planes in zip(films, stage.draw(number), strict=True):
                    film.add(planes)
                context.progress((number + 1) / frames, "rendering-video")
        video, *alpha_video = (film.result() for film in films)
        return RenderResult(video, frames, move.arc.degrees, move.arc.clamped, yaw, *alpha_video)


def _check(request: RenderRequest) -> None:
    """Refuse what this engine cannot film, before any work."""
    rows, columns = request.scene.plate.shape[:2]
    if (columns, rows) != (request.width, request.height):
        message = f"its plate is {columns} x {rows} pixels and the film {request.width} x {request.height}"
        raise InvalidArgument.of("scene", message, reason="PLATE_SIZE")
