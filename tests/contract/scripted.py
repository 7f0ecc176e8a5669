"""Scripted stage services: small real gRPC servers that speak the stages' protos and do what a test tells them.

Every result's bytes follow from the request alone (never from where its blobs lie), so another input gives another
result and the same input the same one; every input blob is really read, under the real rules of ``BlobAccess``.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from lensora.background.v1 import background_pb2
from lensora.core.blobs import BlobAccess
from lensora.core.errors import LensoraError
from lensora.detect.v1 import detect_pb2
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.render.v1 import render_pb2
from lensora.runtime.convert import box_from_proto, box_to_proto
from lensora.runtime.interceptors import REQUEST_ID, Border
from lensora.runtime.stage import NOTICE
from lensora.segment.v1 import segment_pb2
from lensora.type.v1 import blob_pb2, engine_pb2, engine_pb2_grpc, geometry_pb2, mesh_pb2, scene_pb2

PATIENCE = 20.0
"""No test waits longer for anything, seconds."""

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class Call:
    """One call that a service got."""

    request: Any
    request_id: str
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    cancelled: bool = False
    """Whether the caller went away before the service was done."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service is done with it, however."""

    async def gone(self) -> Call:
        """Wait until the service is done with it."""
        async with asyncio.timeout(PATIENCE):
            await self.left.wait()
        return self


class Method:
    """One RPC: what it did, and what it does on its next calls."""

    def __init__(self, service: Service, package: Any, name: str, make: Callable[[Method, Any], Message]) -> None:
        self.service, self.name, self._make = service, name, make
        self.request_type: Any = getattr(package, f"{name}Request")
        self.response_type: Any = getattr(package, f"{name}Response")
        self._news = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Forget all calls, and do the plain thing again."""
        self.calls: list[Call] = []
        self.phases: Sequence[tuple[float, str]] = ((0.5, ""),)
        """Progress before the result."""
        self.hold: asyncio.Event | None = None
        """What to wait for before the result."""
        self.error: LensoraError | None = None
        """Raised in place of the result."""
        self.tweak: Callable[[Any], None] | None = None
        """Changes the result."""
        self.notice = ""
        """Said beside the result."""
        self.size = 0
        """Pad the result's bytes to so many."""
        self.to_target = False
        """Write the result's bytes to the target, whatever their size."""
        self.script: Callable[[Call], AsyncIterator[Any]] | None = None
        """Yields the responses, in place of all the above."""

    async def begun(self, count: int = 1) -> Call:
        """Wait for call number ``count``, from 1."""
        async with asyncio.timeout(PATIENCE):
            while len(self.calls) < count:
                self._news.clear()
                await self._news.wait()
        return self.calls[count - 1]

    def held(self) -> asyncio.Event:
        """Hold the result back until the event that is returned is set."""
        self.hold = asyncio.Event()
        return self.hold

    def progress(self, fraction: float, phase: str = "") -> Any:
        """A progress response."""
        response = self.response_type()
        response.progress.fraction, response.progress.phase = fraction, phase
        return response

    def result(self, request: Any) -> Any:
        """The response with the result."""
        result = self._make(self, request)
        if self.tweak is not None:
            self.tweak(result)
        return self.response_type(result=result)

    def blob(self, request: Any, name: str, media_type: str) -> blob_pb2.Blob:
        """Bytes that follow from the request, inline or written to the target ``<name>_target``."""
        head = f"{self.name}.{name} {digest(request)} ".encode()
        data = head + random.Random(head).randbytes(max(0, self.size - len(head)))  # noqa: S311
        blob = blob_pb2.Blob(sha256=hashlib.sha256(data).hexdigest(), size=len(data), media_type=media_type)
        if self.to_target:
            blob.url = getattr(request, f"{name}_target").url
            self.service.access.write(blob.url, data, name)
        else:
            blob.inline = data
        return blob

    async def serve(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """The RPC's behaviour."""
        metadata = dict(context.invocation_metadata() or ())
        call = Call(request, str(metadata.get(REQUEST_ID, "")))
        self.calls.append(call)
        self._news.set()
        try:
            for blob in blobs_of(request):
                self.service.access.read(blob.url, blob.sha256, blob.size, "input")
            async for response in (self.script or self._play)(call):
                yield response
            if self.notice:
                context.set_trailing_metadata(((NOTICE, self.notice),))
        except (asyncio.CancelledError, GeneratorExit):
            call.cancelled = True
            raise
        finally:
            call.ended = time.monotonic()
            call.left.set()

    async def _play(self, call: Call) -> AsyncIterator[Any]:
        for fraction, phase in self.phases:
            yield self.progress(fraction, phase)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        yield self.result(call.request)


class Service(engine_pb2_grpc.EngineServiceServicer):
    """One stage service on a loopback port of its own."""

    def __init__(self, package: Any, access: BlobAccess, **makers: Callable[[Method, Any], Message]) -> None:
        _, self.name, version = package.DESCRIPTOR.package.split(".")
        self._proto = f"lensora.{self.name}.{version}.{self.name.capitalize()}Service"
        self.access = access
        self.version = "1"
        """Of the engine that results come from."""
        self.advertised: str | None = None
        """Version that GetEngine answers, where it is another."""
        self.asked = 0
        """How often GetEngine was called."""
        self.methods = {name: Method(self, package, name, make) for name, make in makers.items()}
        self.address = "127.0.0.1:0"
        self._server: grpc.aio.Server | None = None

    def engine(self, version: str | None = None) -> engine_pb2.EngineInfo:
        """What makes its results."""
        version = version or self.version
        fingerprint = f"{self.name}/scripted@{version}"
        return engine_pb2.EngineInfo(service=self.name, name="scripted", version=version, fingerprint=fingerprint)

    async def GetEngine(  # noqa: N802
        self,
        request: engine_pb2.GetEngineRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> engine_pb2.GetEngineResponse:
        """See the proto."""
        self.asked += 1
        return engine_pb2.GetEngineResponse(engine=self.engine(self.advertised))

    async def start(self) -> None:
        """Listen, on the address it had before if it was stopped."""
        server = grpc.aio.server(interceptors=[Border()], options=[("grpc.so_reuseport", 0)])
        handlers = {
            name: grpc.unary_stream_rpc_method_handler(
                method.serve, method.request_type.FromString, method.response_type.SerializeToString
            )
            for name, method in self.methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self._proto, handlers),))
        engine_pb2_grpc.add_EngineServiceServicer_to_server(self, server)
        health_pb2_grpc.add_HealthServicer_to_server(health_aio.HealthServicer(), server)
        self.address = f"127.0.0.1:{server.add_insecure_port(self.address)}"
        self._server = server
        await server.start()

    async def stop(self) -> None:
        """Go away at once, whatever runs."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


class Services:
    """All five."""

    def __init__(self, blob_prefix: str) -> None:
        access = BlobAccess(blob_prefix)
        self.detect = Service(detect_pb2, access, DetectObjects=_detect)
        self.segment = Service(segment_pb2, access, Segment=_segment)
        self.background = Service(background_pb2, access, BuildScene=_build_scene, Compose=_compose)
        self.mesh3d = Service(mesh3d_pb2, access, Reconstruct=_reconstruct)
        self.render = Service(render_pb2, access, Render=_render)

    def __iter__(self) -> Iterator[Service]:
        return iter((self.detect, self.segment, self.background, self.mesh3d, self.render))

    def __getitem__(self, method: str) -> Method:
        """The method of this name, for example ``Compose``."""
        return next(service.methods[method] for service in self if method in service.methods)

    def reset(self) -> None:
        """Forget all calls, and do the plain thing again, as engines that nobody has results of."""
        for service in self:
            service.version, service.advertised, service.asked = f"{int(service.version) + 1}", None, 0
            for method in service.methods.values():
                method.reset()

    @property
    def targets(self) -> dict[str, str]:
        """The gateway's settings to find them."""
        return {f"{service.name}_target": service.address for service in self}

    def counts(self) -> dict[str, int]:
        """How often each method was called, without those that never were."""
        methods = [method for service in self for method in service.methods.values()]
        return {method.name: len(method.calls) for method in methods if method.calls}


JOB_METHODS = ("Segment", "BuildScene", "Compose", "Reconstruct", "Render")
"""What a job calls."""


def messages(message: Message, kind: type[Any]) -> Iterator[Any]:
    """All set submessages of one type, at any depth."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for item in value if descriptor.is_repeated else (value,):
            if isinstance(item, kind):
                yield item
            yield from messages(item, kind)


def blobs_of(message: Message) -> Iterator[blob_pb2.Blob]:
    """All blobs in a message."""
    return messages(message, blob_pb2.Blob)


def digest(request: Message) -> str:
    """SHA-256 of what a request says, whatever the URLs in it."""
    bare = type(request)()
    bare.CopyFrom(request)
    for blob in blobs_of(bare):
        blob.ClearField("source")
    for target in messages(bare, blob_pb2.BlobTarget):
        target.Clear()
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _detect(method: Method, request: Any) -> Message:
    boxes = ((0.2, 0.1, 0.8, 0.9), (0.5, 0.5, 0.75, 1.0), (0.0, 0.0, 1.0, 1.0))
    labels = ("reflex camera", "object", "entire image (no crop)")
    categories = ("product", "object", "full_frame")
    return detect_pb2.DetectObjectsResult(
        photo=method.blob(request, "photo", "image/png"),
        width=640,
        height=480,
        proposals=[
            detect_pb2.Proposal(
                index=index,
                label=labels[index],
                category=categories[index],
                bbox=geometry_pb2.Box(x1=box[0], y1=box[1], x2=box[2], y2=box[3]),
                score=1.0 - index / 10,
            )
            for index, box in enumerate(boxes)
        ],
        engine=method.service.engine(),
    )


def _segment(method: Method, request: Any) -> Message:
    return segment_pb2.SegmentResult(
        cutout=method.blob(request, "cutout", "image/png"),
        crop_bbox=box_to_proto(box_from_proto(request.box, "box").grown(0.12)),
        engine=method.service.engine(),
    )


def _build_scene(method: Method, request: Any) -> Message:
    scene = scene_pb2.Scene(
        name="scripted",
        plate=method.blob(request, "plate", "image/png"),
        environment=method.blob(request, "environment", "image/x-exr"),
        subject_height=1.0,
        exposure=1.0,
    )
    note = f"a scene for {request.backdrop.prompt or 'no words'}"
    return background_pb2.BuildSceneResult(scene=scene, exact=True, note=note, engine=method.service.engine())


def _compose(method: Method, request: Any) -> Message:
    return background_pb2.ComposeResult(
        still=method.blob(request, "still", "image/png"), engine=method.service.engine()
    )


def _reconstruct(method: Method, request: Any) -> Message:
    report = mesh_pb2.MeshReport(
        thin_axis_ratio=0.5, verdict=mesh_pb2.VERDICT_VOLUME, watertight=True, triangles=12, method="lathe"
    )
    glb = method.blob(request, "mesh", "model/gltf-binary")
    return mesh3d_pb2.ReconstructResult(mesh=glb, report=report, engine=method.service.engine())


def _render(method: Method, request: Any) -> Message:
    alpha = method.blob(request, "alpha_video", "video/webm") if request.HasField("alpha_video_target") else None
    return render_pb2.RenderResult(
        alpha_video=alpha,
        video=method.blob(request, "video", "video/mp4"),
        camera=scene_pb2.CameraReport(preset=request.camera_preset, arc_degrees=180.0, clamped=False),
        front_yaw_degrees=12.5,
        frames=round(24 * request.duration_s),
        engine=method.service.engine(),
    )
