"""``SegmentService``: proto to domain and back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from lensora.core.imaging import decode_png, encode_png
from lensora.runtime.convert import box_from_proto, box_to_proto
from lensora.runtime.stage import Stage
from lensora.segment.v1 import segment_pb2, segment_pb2_grpc
from lensora.type.v1 import engine_pb2
from services.segment.engine import SegmentRequest, SegmentResult


class SegmentServicer(segment_pb2_grpc.SegmentServiceServicer):
    """See the proto for the contract."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def Segment(
        self, request: segment_pb2.SegmentRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[segment_pb2.SegmentResponse]:
        """See the proto."""

        def decode() -> SegmentRequest:
            box = box_from_proto(request.box, "box")
            photo = decode_png(self._stage.read(request.photo, "photo"), "photo", channels=3)
            return SegmentRequest(photo, box, request.keep_all_parts)

        def encode(result: SegmentResult, engine: engine_pb2.EngineInfo) -> segment_pb2.SegmentResult:
            cutout = encode_png(result.cutout)
            return segment_pb2.SegmentResult(
                cutout=self._stage.write(cutout, "image/png", request.cutout_target, "cutout_target"),
                crop_bbox=box_to_proto(result.crop),
                engine=engine,
            )

        async for response in self._stage.stream(context, segment_pb2.SegmentResponse, decode, encode):
            yield response
