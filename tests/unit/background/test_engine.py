"""The engine's contract: requests in, results out, progress and cancellation on the way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.engines import NullContext, available, fingerprint
from lensora.core.errors import Cancelled, InvalidArgument
from services.background.core.sentences import Encoder
from services.background.engine import (
    ComposeRequest,
    ComposeResult,
    PromptBackdrop,
    SceneRequest,
    SceneResult,
    StudioBackdrop,
)
from services.background.engines.embedded import EmbeddedEngine


class Recorder:
    """A context that keeps what it is told, and cancels once ``limit`` is reached."""

    def __init__(self, limit: float = 2.0) -> None:
        self.limit = limit
        self.reports: list[tuple[float, str]] = []

    def progress(self, fraction: float, phase: str = "") -> None:
        """Keep the report."""
        self.reports.append((fraction, phase))
        self.check()

    def check(self) -> None:
        """Cancel past the limit."""
        if self.reports and self.reports[-1][0] >= self.limit:
            raise Cancelled("enough")


@pytest.fixture(scope="module")
def engine(letters: Encoder) -> EmbeddedEngine:
    return EmbeddedEngine(letters)


def _scene(engine: EmbeddedEngine, backdrop: StudioBackdrop | PromptBackdrop) -> SceneResult:
    result = engine.run(SceneRequest(backdrop, 256, 256), NullContext())
    assert isinstance(result, SceneResult)
    return result


def test_the_engine_is_found_by_its_files_name(engine: EmbeddedEngine) -> None:
    assert engine.name in available("services.background.engines")
    assert fingerprint("background", engine) == "background/embedded@1"


def test_transparent_gives_the_studio(engine: EmbeddedEngine) -> None:
    result = _scene(engine, StudioBackdrop())
    assert result.scene.name == "studio" and result.exact


def test_words_give_their_scene_and_a_note(engine: EmbeddedEngine) -> None:
    result = _scene(engine, PromptBackdrop("on a marble countertop with soft natural light"))
    assert result.scene.name == "marble-countertop" and result.exact and "marble" in result.note


@pytest.mark.parametrize(("width", "height"), [(254, 720), (1922, 720), (1281, 720), (1280, 0), (1280, -720)])
def test_sizes_out_of_bounds_are_refused_before_any_work(engine: EmbeddedEngine, width: int, height: int) -> None:
    context = Recorder()
    with pytest.raises(InvalidArgument):
        engine.run(SceneRequest(StudioBackdrop(), width, height), context)
    assert not context.reports


def test_progress_rises_under_the_contracts_phases(engine: EmbeddedEngine, ball: NDArray[np.uint8]) -> None:
    context = Recorder()
    built = engine.run(SceneRequest(StudioBackdrop(), 640, 360), context)
    assert isinstance(built, SceneResult)
    fractions = [fraction for fraction, _ in context.reports]
    assert {phase for _, phase in context.reports} == {"generating-bg"}
    assert fractions == sorted(fractions) and len(fractions) > 8 and fractions[-1] == 1.0

    context = Recorder()
    still = engine.run(ComposeRequest(ball, built.scene), context)
    assert isinstance(still, ComposeResult)
    assert still.still.shape == built.scene.plate.shape and still.still.dtype == np.uint8
    assert {phase for _, phase in context.reports} == {"compositing"}
    assert context.reports[-1][0] == 1.0


def test_a_cancel_ends_the_work(engine: EmbeddedEngine) -> None:
    context = Recorder(limit=0.5)
    with pytest.raises(Cancelled):
        engine.run(SceneRequest(StudioBackdrop(), 256, 256), context)
    assert context.reports[-1][0] < 0.95


@pytest.mark.parametrize(
    "cutout", [np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.float32)]
)
def test_a_cut_out_must_be_rgba(engine: EmbeddedEngine, cutout: NDArray[np.uint8]) -> None:
    scene = _scene(engine, StudioBackdrop()).scene
    with pytest.raises(InvalidArgument, match="cutout"):
        engine.run(ComposeRequest(cutout, scene), NullContext())
