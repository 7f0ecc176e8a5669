"""The proto's side: presets by their names, and a film with alpha only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lensora.core.blobs import BlobAccess
from lensora.core.errors import InvalidArgument
from lensora.render.v1 import render_pb2
from lensora.runtime.runners import EngineId
from lensora.runtime.scenes import scene_to_proto
from lensora.runtime.stage import Stage
from lensora.type.v1 import blob_pb2, geometry_pb2, scene_pb2
from services.render.engine import CameraPreset, RenderRequest, RenderResult
from services.render.servicer import RenderServicer


class Films:
    """A runner whose engine keeps what it was asked."""

    engine = EngineId("render", "films", "1")

    def __init__(self) -> None:
        self.asked: list[RenderRequest] = []

    async def run(
        self, request: RenderRequest, progress: Callable[[float, str], None], _deadline: float | None
    ) -> RenderResult:
        self.asked.append(request)
        progress(1.0, "rendering-video")
        return RenderResult(b"mp4", 24, 180.0, False, 0.0, b"webm" if request.alpha else None)


@pytest.fixture
def films() -> Films:
    return Films()


async def _render(kit: SimpleNamespace, films: Films, **fields: Any) -> render_pb2.RenderResult:
    runner: Any = films
    stage = Stage(runner, BlobAccess("file:///nowhere/"))
    nowhere = blob_pb2.BlobTarget()
    request = render_pb2.RenderRequest(
        mesh=blob_pb2.Blob(inline=b"glTF"),
        scene=scene_to_proto(kit.make_scene(), stage, nowhere, nowhere),
        size=geometry_pb2.Size(width=256, height=256),
        duration_s=1.0,
        **fields,
    )
    context: Any = SimpleNamespace(time_remaining=lambda: None)
    responses = [response async for response in RenderServicer(stage).Render(request, context)]
    return responses[-1].result


@pytest.mark.parametrize("preset", ["turntable", "dolly", "cinematic"])
async def test_presets_reach_the_engine_and_come_back(kit: SimpleNamespace, films: Films, preset: CameraPreset) -> None:
    code = scene_pb2.CameraPreset.Value(f"CAMERA_PRESET_{preset.upper()}")
    result = await _render(kit, films, camera_preset=code)
    assert (films.asked[0].preset, films.asked[0].alpha) == (preset, False)
    assert (result.camera.preset, result.camera.arc_degrees) == (code, 180.0)
    assert not result.HasField("alpha_video")


async def test_an_unknown_preset_is_refused(kit: SimpleNamespace, films: Films) -> None:
    with pytest.raises(InvalidArgument, match="turntable, dolly, cinematic"):
        await _render(kit, films)


async def test_a_target_for_the_film_with_alpha_asks_for_it(kit: SimpleNamespace, films: Films) -> None:
    result = await _render(
        kit, films, camera_preset=scene_pb2.CAMERA_PRESET_DOLLY, alpha_video_target=blob_pb2.BlobTarget()
    )
    assert films.asked[0].alpha
    assert (result.video.inline, result.video.media_type) == (b"mp4", "video/mp4")
    assert (result.alpha_video.inline, result.alpha_video.media_type) == (b"webm", "video/webm")
