"""The services' engines over the heavy models, from a picture to the stage's result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lensora.core import engines
from lensora.core.engines import Made, NullContext
from lensora.core.errors import Unavailable
from lensora.core.geometry import Box
from lensora.core.imaging import encode_png
from lensora.runtime.triton import Client
from services.background.engine import ComposeRequest, PromptBackdrop, SceneRequest, StudioBackdrop
from services.background.settings import Settings as BackgroundSettings
from services.detect.engine import DetectRequest
from services.detect.settings import Settings as DetectSettings
from services.mesh3d.engine import ReconstructRequest
from services.mesh3d.settings import Settings as Mesh3dSettings
from services.segment.engine import SegmentRequest
from services.segment.settings import Settings as SegmentSettings
from tests.heavy.conftest import Triton
from tests.heavy.test_models import SECONDS, cutout, photo

SETTINGS = {
    "detect": DetectSettings,
    "segment": SegmentSettings,
    "background": BackgroundSettings,
    "mesh3d": Mesh3dSettings,
}


@pytest.fixture
def load(triton: Triton) -> Callable[..., engines.Engine[Any, Any]]:
    """An engine over a model that is loaded, as its service makes it."""

    async def have(model: str) -> None:
        client = Client(triton.address, retry_seconds=0)
        try:
            if not await client.is_ready(model):
                await client.load(model)
        finally:
            await client.close()

    def make(service: str, engine: str, model: str = "", **more: Any) -> engines.Engine[Any, Any]:
        if model:
            asyncio.run(have(model))
        settings = {"engine": engine, "triton_address": triton.address, "triton_seconds": SECONDS} | more
        return engines.load(f"services.{service}.engines", engine, SETTINGS[service](**settings))

    return make


class Told(NullContext):
    """Remembers the progress."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, str]] = []

    def progress(self, fraction: float, phase: str = "") -> None:
        self.reports.append((fraction, phase))


Load = Callable[..., engines.Engine[Any, Any]]


def made(engine: engines.Engine[Any, Any], request: Any) -> Made[Any]:
    """The result, its progress checked."""
    told = Told()
    answer = engine.run(request, told)
    assert isinstance(answer, Made)
    fractions = [fraction for fraction, _ in told.reports]
    assert fractions == sorted(fractions) and fractions[-1] <= 1
    return answer


def test_words_for_labels(load: Load) -> None:
    engine = load("detect", "open_vocabulary", "detect_open_vocabulary")
    answer = made(engine, DetectRequest(encode_png(photo(300, 400)), 4))
    assert (answer.name, answer.version, answer.instead_of) == ("open_vocabulary", "1-1", "")
    *found, whole = answer.result.proposals
    assert whole.category == "full_frame" and answer.result.photo.shape == (300, 400, 3)
    assert len(found) <= 4 and [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_matte_to_cut_along(load: Load) -> None:
    engine = load("segment", "birefnet", "matte_birefnet")
    picture = photo(600, 900)
    answer = made(engine, SegmentRequest(picture, Box(0.25, 0.1, 0.75, 0.9)))
    assert (answer.name, answer.version) == ("birefnet", "1-1")
    cut = answer.result.cutout
    left, top, right, bottom = answer.result.crop.pixels(900, 600)
    assert cut.shape == (bottom - top, right - left, 4)
    truth = picture[top:bottom, left:right, 0] > 128
    solid = cut[..., 3] > 127
    assert (solid & truth).sum() / (solid | truth).sum() > 0.94  # at 64 pixels a side
    assert (cut[..., :3] == picture[top:bottom, left:right])[cut[..., 3] == 255].all()


def test_a_painted_plate_with_a_ground_to_stand_on(load: Load) -> None:
    engine = load("background", "diffusion", "scene_text_to_image")
    request = SceneRequest(PromptBackdrop("on a marble table"), 512, 288, seed=3)
    answer = made(engine, request)
    assert (answer.name, answer.version) == ("diffusion", "1-1")
    scene = answer.result.scene
    assert scene.plate.shape == (288, 512, 3) and scene.plate.std() > 1
    assert answer.result.note == "The background was painted from your words."
    assert (made(engine, request).result.scene.plate == scene.plate).all()
    other = SceneRequest(PromptBackdrop("on a marble table"), 512, 288, seed=4)
    assert (made(engine, other).result.scene.plate != scene.plate).any()
    still = made(engine, ComposeRequest(cutout(), scene)).result.still
    assert still.shape == scene.plate.shape and (still != scene.plate).any()
    assert made(engine, SceneRequest(StudioBackdrop(), 512, 288)).result.scene.name == "studio"


@pytest.mark.parametrize(
    ("name", "method"), [("trellis", "trellis-2"), ("trellis2", "trellis2-2"), ("stable_fast_3d", "stable_fast_3d")]
)
def test_a_slab_is_tried_again(load: Load, name: str, method: str) -> None:
    engine = load("mesh3d", name, f"mesh_{name}")
    answer = made(engine, ReconstructRequest(cutout(), seed=1))
    assert (answer.name, answer.version) == (name, "1-1")
    result = answer.result
    assert (result.method, result.verdict, result.watertight) == (method, "volume", True)
    assert result.thin_axis_ratio >= 0.4 and result.glb[:4] == b"glTF"


def test_who_stands_in_is_named(load: Load) -> None:
    """A model that is not in the repository, as after a release that forgot it."""
    absent: dict[str, Any] = {"triton_retry_seconds": 0, "triton_versions": {"mesh_trellis": "7"}}
    engine = load("mesh3d", "trellis", **absent, triton_fallback=True)
    answer = made(engine, ReconstructRequest(cutout(), seed=1))
    assert (answer.name, answer.instead_of, answer.reason) == ("embedded", "trellis", "MODEL_NOT_LOADED")
    strict = load("mesh3d", "trellis", **absent)
    with pytest.raises(Unavailable):
        strict.run(ReconstructRequest(cutout(), seed=1), NullContext())
