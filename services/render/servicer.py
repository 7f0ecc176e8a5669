"""``RenderService``: proto to domain and back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from lensora.core.errors import InvalidArgument
from lensora.render.v1 import render_pb2, render_pb2_grpc
from lensora.runtime.convert import size_from_proto
from lensora.runtime.scenes import scene_from_proto
from lensora.runtime.stage import Stage
from lensora.type.v1 import engine_pb2, scene_pb2
from services.render.engine import MAX_SECONDS, MIN_SECONDS, CameraPreset, RenderRequest, RenderResult


class RenderServicer(render_pb2_grpc.RenderServiceServicer):
    """See the proto for the contract."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def Render(
        self, request: render_pb2.RenderRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[render_pb2.RenderResponse]:
        """See the proto."""

        def decode() -> RenderRequest:
            width, height = size_from_proto(request.size, "size")
            return RenderRequest(
                glb=self._stage.read(request.mesh, "mesh"),
                scene=scene_from_proto(request.scene, self._stage, "scene"),
                preset=_preset(request.camera_preset),
                width=width,
                height=height,
                duration_s=_duration(request.duration_s),
                seed=request.seed,
                alpha=request.HasField("alpha_video_target"),
            )

        def encode(result: RenderResult, engine: engine_pb2.EngineInfo) -> render_pb2.RenderResult:
            response = render_pb2.RenderResult(
                video=self._stage.write(result.video, "video/mp4", request.video_target, "video_target"),
                camera=scene_pb2.CameraReport(
                    preset=request.camera_preset, arc_degrees=result.arc_degrees, clamped=result.clamped
                ),
                front_yaw_degrees=result.front_yaw_degrees,
                frames=result.frames,
                engine=engine,
            )
            if result.alpha_video is not None:
                target = request.alpha_video_target
                alpha_video = self._stage.write(result.alpha_video, "video/webm", target, "alpha_video_target")
                response.alpha_video.CopyFrom(alpha_video)
            return response

        async for response in self._stage.stream(context, render_pb2.RenderResponse, decode, encode):
            yield response


_PRESETS: dict[int, CameraPreset] = {
    scene_pb2.CAMERA_PRESET_TURNTABLE: "turntable",
    scene_pb2.CAMERA_PRESET_DOLLY: "dolly",
    scene_pb2.CAMERA_PRESET_CINEMATIC: "cinematic",
}


def _preset(preset: int) -> CameraPreset:
    if preset not in _PRESETS:
        raise InvalidArgument.of("camera_preset", f"one of {', '.join(_PRESETS.values())}")
    return _PRESETS[preset]


def _duration(seconds: float) -> float:
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:  # written so that NaN fails
        raise InvalidArgument.of("duration_s", f"{MIN_SECONDS:g} to {MAX_SECONDS:g} seconds, not {seconds}")
    return seconds
