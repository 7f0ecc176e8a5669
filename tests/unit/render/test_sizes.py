"""Films of every aspect that callers may ask for: of that very size, and with the whole subject in them."""

from __future__ import annotations

import io
from types import SimpleNamespace

import av
import pytest

from lensora.core.engines import NullContext
from services.background.core.build import build_scene
from services.background.core.catalogue import STUDIO
from services.render.engine import FRAMES_PER_SECOND, CameraPreset, RenderRequest
from services.render.engines.embedded import EmbeddedEngine

RED = (0.8, 0.05, 0.05)


@pytest.mark.parametrize(
    ("width", "height", "preset"),
    [
        (256, 256, "turntable"),
        (256, 1920, "turntable"),
        (1920, 256, "cinematic"),
        (258, 1080, "cinematic"),
        (1080, 258, "turntable"),
    ],
)
def test_a_film_of_any_size_shows_the_whole_subject(
    kit: SimpleNamespace, engine: EmbeddedEngine, width: int, height: int, preset: CameraPreset
) -> None:
    glb = kit.make_glb(kit.box(1.0, 1.2, 0.8, {f"{sign}{axis}": RED for sign in "+-" for axis in "xyz"}))
    scene = build_scene(STUDIO, width, height, 0, lambda _: None)
    request = RenderRequest(glb, scene, preset, width, height, 2 / FRAMES_PER_SECOND)
    video = engine.run(request, NullContext()).video
    with av.open(io.BytesIO(video), "r") as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(height, width, 3)] * 2
    for frame in frames:
        red = frame[..., 0] - frame[..., 1:].max(axis=2) > 60
        assert red.mean() > 0.03
        assert not any(edge.any() for edge in (red[0], red[-1], red[:, 0], red[:, -1])), "it reaches over no edge"
