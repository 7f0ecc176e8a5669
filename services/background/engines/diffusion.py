"""Scenes painted from the words: SDXL-Turbo or FLUX.1-schnell in Triton, all else as the embedded engine has it.

The picture is guided by the depth of the ground that the scene's camera sees, and the scene is then built around it
with that very camera: so the subject stands on the ground that was painted.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lensora.core.engines import Context, Engine
from lensora.runtime.hosted import Hosted, Share, Streaming, connect
from services.background.core.guidance import inverse_depth
from services.background.core.surround import picture_framing, scene_around
from services.background.engine import (
    ComposeRequest,
    ComposeResult,
    PromptBackdrop,
    SceneRequest,
    SceneResult,
)
from services.background.engines import embedded
from services.background.settings import Settings

NAME = "diffusion"
MODEL = "scene_text_to_image"

PIXELS = 1024 * 1024
"""What is painted; the models learnt from up to a megapixel."""

MULTIPLE = 16
"""Of which the sides of the painted picture are, as the model asks."""

MAX_PROMPT = 1000
"""Characters that the model takes."""

STYLE = "empty scene, nobody, clear ground in front, eye-level photograph"
"""Behind a person's own words: the subject is put in later, and must not be painted too."""


class Diffusion:
    """Paints prompts; studio, pictures and stills are the embedded engine's."""

    name = NAME
    version = "1"

    def __init__(self, network: Streaming, others: Engine[Any, Any]) -> None:
        self._network, self._others = network, others

    def run(self, request: SceneRequest | ComposeRequest, context: Context) -> SceneResult | ComposeResult:
        """See ``BackgroundEngine``."""
        if isinstance(request, SceneRequest) and isinstance(request.backdrop, PromptBackdrop):
            embedded.check_size(request.width, request.height)
            return self._painted(request.backdrop.prompt, request, context)
        made: SceneResult | ComposeResult = self._others.run(request, context)
        return made

    def _painted(self, prompt: str, request: SceneRequest, context: Context) -> SceneResult:
        width, height = painted_size(request.width, request.height)
        camera = picture_framing(request.width / request.height).camera
        inputs = {
            "prompt": np.array([f"{prompt[: MAX_PROMPT - len(STYLE) - 2]}, {STYLE}".encode()], dtype=object),
            "depth": inverse_depth(camera, width, height),
        }
        seed = {"seed": request.seed % 2**63}
        said = self._network.stream(inputs, seed, context, Share("generating-bg", 0.0, 0.6))
        scene = scene_around(
            np.asarray(said["picture"], np.uint8),
            request.width,
            request.height,
            lambda done: context.progress(0.6 + 0.4 * done, "generating-bg"),
        )
        on = "" if bool(said["guided"][0]) else "; nothing told it where the ground is, so it may not lie flat"
        return SceneResult(scene, True, f"The background was painted from your words{on}.")


def painted_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture to paint for a plate of this size, about ``PIXELS`` at most.

    It is no taller for its width than the plate: what is cut off to make it fit is cut off at the sides, and the ground
    stays at the rows where the camera has it.
    """
    scale = min(1.0, math.sqrt(PIXELS / (width * height)))
    wide, high = math.ceil(width * scale / MULTIPLE), max(1, math.floor(height * scale / MULTIPLE))
    return wide * MULTIPLE, high * MULTIPLE


def create(settings: Settings) -> Hosted:
    """Connect; Triton need not be there yet.

    Raises:
        ModelMissing, ModelAltered: a model of the embedded engine is not there or not whole.
    """
    network = connect(settings)(MODEL, "", "")
    others = embedded.create(settings)
    return Hosted(Diffusion(network, others), (network,), others if settings.triton_fallback else None, NAME)
