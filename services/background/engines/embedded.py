"""Scenes from our own code, chosen by the words, or around a picture; stills by projecting the cut-out. CPU only."""

from __future__ import annotations

import cv2

from lensora.core import models
from lensora.core.engines import Context
from lensora.core.errors import InvalidArgument
from lensora.core.photo import decode
from services.background.core.build import build_scene
from services.background.core.catalogue import PROMPTED, STUDIO, SceneSpec
from services.background.core.compose import compose
from services.background.core.sentences import Encoder, MiniLm
from services.background.core.surround import scene_around
from services.background.core.words import Chooser
from services.background.engine import (
    BackgroundEngine,
    ComposeRequest,
    ComposeResult,
    PictureBackdrop,
    PromptBackdrop,
    SceneRequest,
    SceneResult,
)
from services.background.settings import Settings

MIN_SIDE, MAX_SIDE = 256, 1920
"""Bounds of a plate's width and height, pixels."""


class EmbeddedEngine:
    """Procedural scenes and card-like stills."""

    name = "embedded"
    version = "1"

    def __init__(self, encoder: Encoder) -> None:
        """Embed the catalogue's phrases; ``encoder`` also embeds the prompts."""
        self._chooser = Chooser(encoder, (STUDIO, *PROMPTED))

    def run(self, request: SceneRequest | ComposeRequest, context: Context) -> SceneResult | ComposeResult:
        """Build a scene, or a still in one.

        Raises:
            InvalidArgument: a prompt, a picture, a size or a cut-out out of bounds.
            FailedPrecondition: reason ``NO_SUBJECT``; the cut-out is empty.
        """
        if isinstance(request, SceneRequest):
            return self._scene(request, context)
        return _still(request, context)

    def _scene(self, request: SceneRequest, context: Context) -> SceneResult:
        check_size(request.width, request.height)
        context.progress(0.0, "generating-bg")
        if isinstance(request.backdrop, PictureBackdrop):
            return _around(request.backdrop, request, context)
        spec, exact, note = self._choose(request.backdrop)
        scene = build_scene(
            spec, request.width, request.height, request.seed, lambda done: context.progress(done, "generating-bg")
        )
        context.progress(1.0, "generating-bg")
        return SceneResult(scene, exact, note)

    def _choose(self, backdrop: object) -> tuple[SceneSpec, bool, str]:
        if isinstance(backdrop, PromptBackdrop):
            choice = self._chooser.choose(backdrop.prompt)
            return choice.spec, choice.exact, choice.note
        return STUDIO, True, f"The background is {STUDIO.title}."


def _around(backdrop: PictureBackdrop, request: SceneRequest, context: Context) -> SceneResult:
    picture = decode(backdrop.data, context, backdrop.field)
    context.progress(0.5, "generating-bg")
    width, height = request.width, request.height
    scene = scene_around(picture, width, height, lambda done: context.progress(0.5 + 0.5 * done, "generating-bg"))
    context.progress(1.0, "generating-bg")
    tall, wide = picture.shape[:2]
    fitted = "" if wide * height == width * tall else f", its middle cropped to {width} x {height}"
    soft = "; it is smaller than the film, so it looks soft" if wide < width or tall < height else ""
    return SceneResult(scene, True, f"The background is {backdrop.title} ({wide} x {tall}){fitted}{soft}.")


def _still(request: ComposeRequest, context: Context) -> ComposeResult:
    shape = request.cutout.shape
    if len(shape) != 3 or shape[2] != 4 or request.cutout.dtype != "uint8":
        raise InvalidArgument.of("cutout", f"an 8-bit RGBA picture expected, not {shape} {request.cutout.dtype}")
    context.progress(0.0, "compositing")
    still = compose(request.cutout, request.scene, lambda done: context.progress(done, "compositing"))
    context.progress(1.0, "compositing")
    return ComposeResult(still)


def check_size(width: int, height: int) -> None:
    """Raise ``InvalidArgument`` unless both are even and within ``MIN_SIDE`` to ``MAX_SIDE``."""
    for field, side in (("output.width", width), ("output.height", height)):
        if side % 2 or not MIN_SIDE <= side <= MAX_SIDE:
            raise InvalidArgument.of(field, f"an even number from {MIN_SIDE} to {MAX_SIDE}, not {side}")


def create(settings: Settings) -> BackgroundEngine:
    """The engine with MiniLM loaded, about 0.7 s.

    Raises:
        ModelMissing, ModelAltered: see ``lensora.core.models.path``.
    """
    cv2.setNumThreads(settings.engine_threads)
    return EmbeddedEngine(MiniLm(models.path("minilm"), models.path("minilm-tokenizer")))
