"""``BackgroundService``: proto to domain and back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from lensora.background.v1 import background_pb2, background_pb2_grpc
from lensora.core.errors import InvalidArgument
from lensora.core.imaging import decode_png, encode_png
from lensora.core.links import parse
from lensora.runtime.convert import size_from_proto
from lensora.runtime.scenes import scene_from_proto, scene_to_proto
from lensora.runtime.stage import Stage
from lensora.type.v1 import engine_pb2, progress_pb2
from services.background.core.fetch import FIELD, Fetcher
from services.background.engine import (
    ComposeRequest,
    ComposeResult,
    PictureBackdrop,
    PromptBackdrop,
    SceneRequest,
    SceneResult,
    StudioBackdrop,
)


class BackgroundServicer(background_pb2_grpc.BackgroundServiceServicer):
    """See the proto for the contract."""

    def __init__(self, stage: Stage, fetcher: Fetcher) -> None:
        self._stage, self._fetcher = stage, fetcher

    async def BuildScene(
        self, request: background_pb2.BuildSceneRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[background_pb2.BuildSceneResponse]:
        """See the proto."""
        fetched = b""
        if request.backdrop.WhichOneof("kind") == "url":
            yield background_pb2.BuildSceneResponse(progress=progress_pb2.Progress(phase="generating-bg"))
            fetched = await self._fetcher.fetch(request.backdrop.url)

        def decode() -> SceneRequest:
            width, height = size_from_proto(request.size, "size")
            return SceneRequest(self._backdrop(request.backdrop, fetched), width, height, request.seed)

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

    def _backdrop(
        self, backdrop: background_pb2.Backdrop, fetched: bytes
    ) -> StudioBackdrop | PromptBackdrop | PictureBackdrop:
        match backdrop.WhichOneof("kind"):
            case "studio":
                return StudioBackdrop()
            case "prompt":
                return PromptBackdrop(backdrop.prompt)
            case "url":
                host = parse(backdrop.url, FIELD).host
                return PictureBackdrop(fetched, FIELD, f"the picture linked at {host}")
            case "picture":
                data = self._stage.read(backdrop.picture, "background.picture")
                return PictureBackdrop(data, "background.picture", "your own picture")
            case _:
                raise InvalidArgument.of("backdrop", "required: studio, prompt, url or picture")
