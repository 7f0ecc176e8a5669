"""Scripted detect, segment and mesh3d, as far as a canary is judged by them: real pictures, real meshes, no thought."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import cv2
import grpc
import numpy as np
import trimesh

from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.mesh3d.v1 import mesh3d_pb2, mesh3d_pb2_grpc
from lensora.segment.v1 import segment_pb2, segment_pb2_grpc
from lensora.type.v1 import blob_pb2, engine_pb2, geometry_pb2, mesh_pb2
from tests.mesh.world import Instance, World

Context = grpc.aio.ServicerContext[Any, Any]
BOX = geometry_pb2.Box(x1=0.25, y1=0.25, x2=0.75, y2=0.75)


def blob(data: bytes, media_type: str) -> blob_pb2.Blob:
    """Inline, as all here is small."""
    sha256 = hashlib.sha256(data).hexdigest()
    return blob_pb2.Blob(inline=data, sha256=sha256, size=len(data), media_type=media_type)


def photo() -> bytes:
    """PNG of a red disc on green."""
    canvas = np.full((96, 96, 3), (60, 160, 60), np.uint8)
    cv2.circle(canvas, (48, 48), 22, (40, 40, 200), -1)
    return cv2.imencode(".png", canvas)[1].tobytes()


class Detect(detect_pb2_grpc.DetectServiceServicer):
    """The disc, and the whole."""

    async def DetectObjects(  # noqa: N802
        self,
        request: detect_pb2.DetectObjectsRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[detect_pb2.DetectObjectsResponse]:
        """See the proto."""
        whole = geometry_pb2.Box(x2=1, y2=1)
        proposals = [
            detect_pb2.Proposal(index=0, label="ball", category="object", bbox=BOX, score=0.9),
            detect_pb2.Proposal(index=1, label="all of it", category="full_frame", bbox=whole),
        ]
        yield detect_pb2.DetectObjectsResponse(
            result=detect_pb2.DetectObjectsResult(photo=request.image, width=96, height=96, proposals=proposals)
        )


class Segment(segment_pb2_grpc.SegmentServiceServicer):
    """The disc."""

    async def Segment(  # noqa: N802
        self,
        request: segment_pb2.SegmentRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[segment_pb2.SegmentResponse]:
        """See the proto."""
        read = cv2.imdecode(np.frombuffer(request.photo.inline, np.uint8), cv2.IMREAD_COLOR)
        assert read is not None
        alpha = np.zeros((48, 48), np.uint8)
        cv2.circle(alpha, (24, 24), 22, 255, -1)
        cutout = cv2.imencode(".png", np.dstack([read[24:72, 24:72], alpha]))[1].tobytes()
        yield segment_pb2.SegmentResponse(
            result=segment_pb2.SegmentResult(cutout=blob(cutout, "image/png"), crop_bbox=BOX)
        )


class Mesh3d(mesh3d_pb2_grpc.Mesh3dServiceServicer):
    """A box: as deep as it is wide, or a slab."""

    def __init__(self, version: str, depth: Callable[[], float]) -> None:
        self._version, self._depth = version, depth
        self.slabs = 0

    async def Reconstruct(  # noqa: N802
        self,
        request: mesh3d_pb2.ReconstructRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[mesh3d_pb2.ReconstructResponse]:
        """See the proto."""
        depth = self._depth()
        slab = depth < 0.2
        self.slabs += slab
        glb = trimesh.creation.box((1.0, 1.0, depth)).export(file_type="glb")
        report = mesh_pb2.MeshReport(
            thin_axis_ratio=depth,
            verdict=mesh_pb2.VERDICT_SLAB if slab else mesh_pb2.VERDICT_VOLUME,
            watertight=True,
            triangles=12,
            method="scripted",
        )
        engine = engine_pb2.EngineInfo(service="mesh3d", fingerprint=f"mesh3d/scripted@{self._version}")
        yield mesh3d_pb2.ReconstructResponse(
            result=mesh3d_pb2.ReconstructResult(mesh=blob(glb, "model/gltf-binary"), report=report, engine=engine)
        )


async def serve(world: World, service: str, version: str, add: Callable[[grpc.aio.Server], None]) -> Instance:
    """An instance that serves one of them beside its engine's name."""
    made = Instance(version, world.certificates(service))
    made.add = add
    await made.start()
    world.stack.push_async_callback(lambda: made.listener.stop())
    return made


async def before_mesh3d(world: World) -> None:
    """Detect and segment, in the mesh."""
    detect = await serve(
        world, "detect", "1", lambda server: detect_pb2_grpc.add_DetectServiceServicer_to_server(Detect(), server)
    )
    segment = await serve(
        world, "segment", "1", lambda server: segment_pb2_grpc.add_SegmentServiceServicer_to_server(Segment(), server)
    )
    world.configure("detect", [detect])
    world.configure("segment", [segment])


async def mesh3d(world: World, version: str, depth: Callable[[], float]) -> tuple[Instance, Mesh3d]:
    """An instance of mesh3d."""
    servicer = Mesh3d(version, depth)
    add = mesh3d_pb2_grpc.add_Mesh3dServiceServicer_to_server
    return await serve(world, "mesh3d", version, lambda server: add(servicer, server)), servicer
