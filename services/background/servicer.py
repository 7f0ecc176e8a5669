"""``BackgroundService``: proto to domain and back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from lensora.background.v1 import background_pb2, background_pb2_grpc
from lensora.core.errors import InvalidArgument, Unimplemented
from lensora.core.imaging import decode_png, encode_png
from lensora.runtime.convert import size_from_proto
from lensora.runtime.scenes import scene_from_proto, scene_to_proto
from lensora.runtime.stage import Stage
from lensora.type.v1 import engine_pb2
from services.background.engine import (
    ComposeRequest,
    ComposeResult,
    PromptBackdrop,
    SceneRequest,
    SceneResult,
    StudioBackdrop,
)


class BackgroundServicer(background_pb2_grpc.BackgroundServiceServicer):
    """See the proto for the contract."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def BuildScene(
        self, request: background_pb2.BuildSceneRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[background_pb2.BuildSceneResponse]:
        """See the proto."""

        def decode() -> SceneRequest:
            width, height = size_from_proto(request.size, "size")
            return SceneRequest(_backdrop(request.backdrop), width, height, request.seed)

        def encode(result: SceneResult, engine: engine_pb2.EngineInfo) -> background_pb2.BuildSceneResult:
            scene = scene_to_proto(result.scene, self._stage, request.plate_target, request.environment_target)
            return background_pb2.BuildSceneResult(scene=scene, exact=result.exact, note=result.note, engine=engine)

        async for response in self._stage.stream(context, background_pb2.BuildSceneResponse, decode, encode):
            yield response

    async def Compose(
        self, request: background_pb2.ComposeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[background_pb2.ComposeResponse]:
        """See the proto."""

        def decode() -> ComposeRequest:
            cutout = decode_png(self._stage.read(request.cutout, "cutout"), "cutout", channels=4)
            return ComposeRequest(cutout, scene_from_proto(request.scene, self._stage, "scene"))

        def encode(result: ComposeResult, engine: engine_pb2.EngineInfo) -> background_pb2.ComposeResult:
            still = self._stage.write(encode_png(result.still), "image/png", request.still_target, "still_target")
            return background_pb2.ComposeResult(still=still, engine=engine)

        async for response in self._stage.stream(context, background_pb2.ComposeResponse, decode, encode):
            yield response


def _backdrop(backdrop: background_pb2.Backdrop) -> StudioBackdrop | PromptBackdrop:
    match backdrop.WhichOneof("kind"):
        case "studio":
            return StudioBackdrop()
        case "prompt":
            return PromptBackdrop(backdrop.prompt)
        case None:
            raise InvalidArgument.of("backdrop", "required: studio, prompt, url or picture")
        case kind:
            raise Unimplemented(f"backdrop.{kind}: this build has no such background", reason="BACKDROP_UNIMPLEMENTED")
