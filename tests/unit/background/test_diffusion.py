"""Scenes around a picture that was painted from words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lensora.core.engines import NullContext
from lensora.core.errors import InvalidArgument
from services.background.core.sentences import Encoder
from services.background.core.surround import picture_framing
from services.background.engine import PromptBackdrop, SceneRequest, SceneResult, StudioBackdrop
from services.background.engines.diffusion import MULTIPLE, PIXELS, STYLE, Diffusion, painted_size
from services.background.engines.embedded import EmbeddedEngine


class Painter:
    """Paints the depth map it is given, in blue."""

    def __init__(self, *, guided: bool = True) -> None:
        self.guided, self.prompt = guided, ""
        self.parameters: dict[str, Any] = {}
        self.shape: tuple[int, ...] = ()

    def stream(self, inputs: Any, parameters: Any, context: Any, share_of: Any) -> dict[str, Any]:
        context.progress(share_of.last, share_of.phase)
        self.prompt, self.parameters, self.shape = inputs["prompt"][0].decode(), parameters, inputs["depth"].shape
        picture = np.zeros((*self.shape, 3), np.uint8)
        picture[..., 2] = inputs["depth"]
        return {"picture": picture, "guided": np.array([self.guided])}


def build(painter: Painter, letters: Encoder, prompt: str = "on a table", seed: int = 0) -> SceneResult:
    request = SceneRequest(PromptBackdrop(prompt), 640, 360, seed)
    made = Diffusion(painter, EmbeddedEngine(letters)).run(request, NullContext())
    assert isinstance(made, SceneResult)
    return made


def test_ground_and_camera_agree(letters: Encoder) -> None:
    painter = Painter()
    made = build(painter, letters)
    assert made.scene.camera == picture_framing(640 / 360).camera
    assert painter.shape == (352, 640)
    # what was painted as near is where the camera sees ground
    blue = made.scene.plate[..., 2].astype(int)
    foot = made.scene.camera.project(np.zeros((1, 3)), 640, 360)[0]
    assert blue[int(foot[1]), int(foot[0])] > 150 and not blue[:120].any()
    assert made.note == "The background was painted from your words."


def test_who_was_not_guided_says_so(letters: Encoder) -> None:
    assert "nothing told it where the ground is" in build(Painter(guided=False), letters).note


def test_words_and_seed_are_passed_on(letters: Encoder) -> None:
    painter = Painter()
    build(painter, letters, "x" * 1000, seed=-1)
    assert painter.prompt.endswith(STYLE) and len(painter.prompt) <= 1000
    assert painter.parameters == {"seed": 2**63 - 1}


def test_other_backdrops_are_not_painted(letters: Encoder) -> None:
    painter = Painter()
    made = Diffusion(painter, EmbeddedEngine(letters)).run(SceneRequest(StudioBackdrop(), 256, 256), NullContext())
    assert isinstance(made, SceneResult) and made.scene.name == "studio" and not painter.prompt


def test_size_is_checked_before_anything_is_painted(letters: Encoder) -> None:
    painter = Painter()
    with pytest.raises(InvalidArgument):
        Diffusion(painter, EmbeddedEngine(letters)).run(
            SceneRequest(PromptBackdrop("a table"), 641, 360), NullContext()
        )
    assert not painter.prompt


@pytest.mark.parametrize("size", [(1920, 1920), (1920, 256), (256, 256), (1280, 720), (258, 1918)])
def test_painted_sizes(size: tuple[int, int]) -> None:
    width, height = painted_size(*size)
    assert width % MULTIPLE == height % MULTIPLE == 0
    assert width * height <= 1.05 * PIXELS
    assert size[0] / size[1] <= width / height < 1.2 * size[0] / size[1]
