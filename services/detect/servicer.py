"""``DetectService``: proto to domain and back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from lensora.core.imaging import encode_png
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.runtime.convert import box_to_proto
from lensora.runtime.stage import Stage
from lensora.type.v1 import engine_pb2
from services.detect.engine import DEFAULT_OBJECTS, DetectRequest, DetectResult, Proposal


class DetectServicer(detect_pb2_grpc.DetectServiceServicer):
    """See the proto for the contract."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def DetectObjects(
        self, request: detect_pb2.DetectObjectsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[detect_pb2.DetectObjectsResponse]:
        """See the proto."""

        def decode() -> DetectRequest:
            image = self._stage.read(request.image, "image")
            return DetectRequest(image, request.max_objects or DEFAULT_OBJECTS)

        def encode(result: DetectResult, engine: engine_pb2.EngineInfo) -> detect_pb2.DetectObjectsResult:
            photo = encode_png(result.photo, compression=1)
            height, width = result.photo.shape[:2]
            return detect_pb2.DetectObjectsResult(
                photo=self._stage.write(photo, "image/png", request.photo_target, "photo_target"),
                width=width,
                height=height,
                proposals=[_proposal(index, proposal) for index, proposal in enumerate(result.proposals)],
                engine=engine,
            )

        async for response in self._stage.stream(context, detect_pb2.DetectObjectsResponse, decode, encode):
            yield response


def _proposal(index: int, proposal: Proposal) -> detect_pb2.Proposal:
    return detect_pb2.Proposal(
        index=index,
        label=proposal.label,
        category=proposal.category,
        bbox=box_to_proto(proposal.box),
        score=proposal.score,
    )
